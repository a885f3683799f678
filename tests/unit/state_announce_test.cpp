// Which VIPs a node announces: quorum, the data plane's pulse, a drained node; and the core that keeps it so.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "controlplane/state/core.h"
#include "src/base/clock.h"
#include "tests/support/fake_outside.h"

namespace shunt::controlplane {
namespace {

constexpr const char* web4 = "198.18.0.10";
constexpr const char* web6 = "2001:db8::10";

Vip vip(const char* address, std::uint16_t port = 80) {
    return {*IpAddress::parse(address), Be16(port), Protocol::tcp};
}

config::Backend backend(const char* address) { return {.address = *IpAddress::parse(address)}; }

config::Service web() {
    return {.name = "web",
            .vips = {vip(web4), vip(web6)},
            .table_size = 1021,
            .quorum = {.up = 2, .hysteresis = 1},
            .check = config::Check{},
            .backends = {backend("198.18.2.11"), backend("198.18.2.12"), backend("198.18.2.13"),
                         backend("2001:db8:2::11"), backend("2001:db8:2::12")}};
}

// ------------------------------------------------------------------------------------------------ quorum

class QuorumTest : public testing::Test {
  protected:
    QuorumTest() { state_.services = {web()}; }

    // Counts with these verdicts of the check of each backend.
    std::vector<QuorumChange> count(std::vector<Verdict> verdicts) {
        verdicts_ = Verdicts{}.reconfigured(state_);
        for (std::size_t i = 0; i < verdicts.size(); ++i) {
            if (verdicts[i] != Verdict::unknown) verdicts_.apply(*verdicts_.check(0, i), verdicts[i]);
        }
        return quorums_.count(state_, verdicts_);
    }
    QuorumCount ipv4() const { return *quorums_.of(0)[0]; }
    QuorumCount ipv6() const { return *quorums_.of(0)[1]; }

    static constexpr Verdict up = Verdict::up, down = Verdict::down, unknown = Verdict::unknown;
    config::DesiredState state_{};
    Verdicts verdicts_{};
    Quorums quorums_{};
};

TEST_F(QuorumTest, CountsWhoIsUpByFamily) {
    EXPECT_TRUE(count({up, down, up, up, down}).empty()) << "the first count is no change";
    EXPECT_EQ(ipv4(), (QuorumCount{2, true}));
    EXPECT_EQ(ipv6(), (QuorumCount{1, false}));
}

TEST_F(QuorumTest, WhatWasNeverCheckedIsNotUpButWhatHasNoCheckIs) {
    count({unknown, unknown, up, up, up});
    EXPECT_EQ(ipv4(), (QuorumCount{1, false}));
    state_.services[0].check.reset();
    count({});
    EXPECT_EQ(ipv4().up, 3U);
}

TEST_F(QuorumTest, CountsTheDrainedButNotThoseInMaintenance) {
    state_.services[0].backends[0].state = config::BackendState::drain;
    state_.services[0].backends[1].weight = 0;
    count({up, up, down});
    EXPECT_EQ(ipv4(), (QuorumCount{2, true})) << "their flows need the VIP";
    state_.services[0].backends[0].state = config::BackendState::maint;
    count({up, up, down});
    EXPECT_EQ(ipv4(), (QuorumCount{1, false}));
}

TEST_F(QuorumTest, OnceLostNeedsMore) {
    count({up, up, down});
    const auto lost = count({up, down, down});
    ASSERT_EQ(lost.size(), 1U);
    EXPECT_EQ(lost[0].family, Family::ipv4);
    EXPECT_FALSE(lost[0].now.held);
    EXPECT_TRUE(count({up, up, down}).empty()) << "two were enough before";
    EXPECT_FALSE(ipv4().held);
    const auto found = count({up, up, up});
    ASSERT_EQ(found.size(), 1U);
    EXPECT_TRUE(found[0].now.held);
    EXPECT_TRUE(count({up, up, down}).empty());
    EXPECT_TRUE(ipv4().held);
}

TEST_F(QuorumTest, KeepsWhatItKnowsWhenServicesMove) {
    count({up, up, down});
    count({up, down, down});
    state_.services.insert(state_.services.begin(), config::Service{.name = "dns", .vips = {vip("198.18.0.53", 53)}});
    verdicts_ = verdicts_.reconfigured(state_);
    verdicts_.apply(*verdicts_.check(1, 1), up);
    quorums_.count(state_, verdicts_);
    EXPECT_EQ(*quorums_.of(1)[0], (QuorumCount{2, false}));
    EXPECT_EQ(*quorums_.of(0)[0], (QuorumCount{0, false}));
    EXPECT_FALSE(quorums_.of(0)[1]) << "it has no IPv6 VIP";
}

TEST_F(QuorumTest, ZeroIsAlwaysThere) {
    state_.services[0].quorum = {.up = 0};
    count({down, down, down, down, down});
    EXPECT_TRUE(ipv4().held);
}

// ------------------------------------------------------------------------------------------------ pulse

constexpr Instant at(std::int64_t milliseconds) { return Instant{} + Duration::milliseconds(milliseconds); }

TEST(PulseTest, StopsWithTheHeartbeat) {
    Pulse pulse(Core::gone_limit);
    std::int64_t now = 0;
    for (; now <= 1000; now += 50) pulse.look(at(now), at(now));
    EXPECT_TRUE(pulse.beats());
    std::int64_t silent_since = now;
    for (; pulse.beats() && now < 2000; now += 50) pulse.look(at(1000), at(now));
    EXPECT_LE(now - silent_since, 550);
    EXPECT_GE(now - silent_since, 500);
    pulse.look(at(now), at(now));
    EXPECT_TRUE(pulse.beats());
}

TEST(PulseTest, OneThatIsGoneIsHeldDeadSooner) {
    Pulse pulse(Core::gone_limit);
    pulse.look(at(0), at(0));
    for (std::int64_t now = 50; now <= 300; now += 50) pulse.look(std::nullopt, at(now));
    EXPECT_FALSE(pulse.beats());
}

TEST(PulseTest, WhoDidNotRunHimselfAccusesNobody) {
    Pulse pulse(Core::gone_limit);
    pulse.look(at(10), at(10));
    pulse.look(at(10), at(5000));  // both were kept from running
    EXPECT_TRUE(pulse.beats());
    for (std::int64_t now = 5050; now <= 5500; now += 50) pulse.look(at(10), at(now));
    EXPECT_FALSE(pulse.beats());
}

// ------------------------------------------------------------------------------------------------ announcements

class AnnouncementTest : public QuorumTest {
  protected:
    std::string text(Fitness fitness, const std::vector<Announced>& before = {}) {
        std::string all;
        for (const Announced& one : announcements(state_, quorums_, fitness, before)) {
            all += one.address.text() + " " + std::string(to_string(one.withheld)) + "\n";
        }
        return all;
    }
    static constexpr Fitness well{.drained = false, .beats = true, .serves = true};
};

TEST_F(AnnouncementTest, AreForWhoHasAQuorum) {
    count({up, up, up, up, down});
    EXPECT_EQ(text(well), "198.18.0.10 announced\n2001:db8::10 no quorum\n");
}

TEST_F(AnnouncementTest, AnAddressStaysForAnyServiceThatHasIts) {
    config::Service other = web();
    other.name = "other";
    other.vips = {vip(web4, 443)};
    other.quorum = {.up = 0};
    state_.services.push_back(other);
    count({down, down, down});
    EXPECT_EQ(text(well), "198.18.0.10 announced\n2001:db8::10 no quorum\n");
}

TEST_F(AnnouncementTest, StopForADrainedNodeAndASilentDataPlane) {
    count({up, up, up, up, up});
    EXPECT_EQ(text({.drained = true, .beats = true, .serves = true}),
              "198.18.0.10 the node is drained\n2001:db8::10 the node is drained\n");
    EXPECT_EQ(text({.drained = false, .beats = false, .serves = true}),
              "198.18.0.10 the data plane does not move\n2001:db8::10 the data plane does not move\n");
}

TEST_F(AnnouncementTest, BeginOnlyWhenTheTablesAreInUseAndDoNotEndForThat) {
    count({up, up, up, up, up});
    constexpr Fitness not_yet{.drained = false, .beats = true, .serves = false};
    EXPECT_EQ(text(not_yet, {{*IpAddress::parse(web4), Withheld::no}, {*IpAddress::parse(web6), Withheld::drained}}),
              "198.18.0.10 announced\n2001:db8::10 the data plane does not use its tables yet\n");
}

// ------------------------------------------------------------------------------------------------ the core

class AnnouncingCoreTest : public testing::Test {
  protected:
    AnnouncingCoreTest() {
        clock_.advance(Duration::seconds(100));
        config::Service service = web();
        service.check.reset();
        state_.services = {service};
        state_.announce_device = "shunt-vip";
    }
    void start() {
        core_ = std::make_unique<Core>(outside_, events_, Wanted{.desired = state_}, NetworkSnapshot{}, ReadBack{}, 1,
                                       now());
        ASSERT_TRUE(core_->start(now()));
    }
    void data_plane_serves() {
        Progress& progress = outside_.now_at;
        progress.alive = true;
        progress.accepted = progress.steered = progress.published;
    }
    // With a heartbeat every millisecond, unless it has stopped.
    void pass(std::int64_t milliseconds) {
        for (std::int64_t i = 0; i < milliseconds; i += 10) {
            clock_.advance(Duration::milliseconds(10));
            if (beats_) outside_.now_at.heartbeat = clock_.now();
            core_->advance(now());
        }
    }
    std::size_t announced() const { return outside_.announced.addresses.size(); }
    Answer ask(const Request& request) {
        Answer given;
        core_->request(request, {.wait = {}}, now(), [&](Answer answer) { given = std::move(answer); });
        return given;
    }
    static SetOverride node(config::BackendState state) {
        return {Override{.kind = OverrideKind::node, .state = state, .owner = "uid 0"}};
    }
    bool said(std::string_view text) const {
        return std::ranges::any_of(events_.all(),
                                   [&](const Event& event) { return event.text.find(text) != std::string::npos; });
    }
    Now now() const { return {clock_.now(), clock_.now().nanoseconds / 1'000'000}; }

    config::DesiredState state_{};
    ManualClock clock_{};
    FakeOutside outside_{};
    Events events_{};
    std::unique_ptr<Core> core_{};
    bool beats_{true};
};

TEST_F(AnnouncingCoreTest, AnnouncesOnceTheDataPlaneServes) {
    start();
    pass(100);
    EXPECT_EQ(announced(), 0U);
    data_plane_serves();
    pass(60);
    EXPECT_EQ(outside_.announced.device, "shunt-vip");
    EXPECT_EQ(announced(), 2U);
    EXPECT_TRUE(said("198.18.0.10 is announced"));
}

TEST_F(AnnouncingCoreTest, WithdrawsWhenTheHeartbeatStopsAndComesBackWithIt) {
    start();
    data_plane_serves();
    pass(100);
    beats_ = false;
    pass(480);
    EXPECT_EQ(announced(), 2U);
    pass(90);
    EXPECT_EQ(announced(), 0U);
    EXPECT_TRUE(said("198.18.0.10 is withdrawn: the data plane does not move"));
    beats_ = true;
    pass(60);
    EXPECT_EQ(announced(), 2U);
}

TEST_F(AnnouncingCoreTest, ARestartLeavesWhatIsThere) {
    outside_.announced = {"shunt-vip", {*IpAddress::parse(web4), *IpAddress::parse(web6)}};
    start();
    outside_.now_at.alive = true;  // it lags: the newest tables are not in use
    pass(1000);
    EXPECT_EQ(announced(), 2U);
    EXPECT_FALSE(said("is announced"));
    beats_ = false;
    outside_.now_at = Progress{};
    pass(400);
    EXPECT_EQ(announced(), 0U);
}

TEST_F(AnnouncingCoreTest, WithdrawsSoonerWhenNobodyHoldsTheRegion) {
    start();
    data_plane_serves();
    pass(100);
    beats_ = false;
    const Generation published = outside_.now_at.published;
    outside_.now_at = Progress{.published = published};
    pass(70);
    EXPECT_EQ(announced(), 2U);
    pass(100);
    EXPECT_EQ(announced(), 0U);
}

TEST_F(AnnouncingCoreTest, BelievesADataPlaneThatSaysThatItCannotServe) {
    using shm::NodeFault;
    using shm::NodeHealth;
    start();
    data_plane_serves();
    pass(100);
    outside_.now_at.health = {.state = NodeHealth::State::unfit, .fault = NodeFault::starting};
    pass(100);
    EXPECT_EQ(announced(), 2U) << "it may be about to take over from another";
    outside_.now_at.health = {.state = NodeHealth::State::unfit, .fault = NodeFault::worker_still};
    pass(60);
    EXPECT_EQ(announced(), 0U);
    outside_.now_at.health = {.state = NodeHealth::State::held};
    pass(60);
    EXPECT_EQ(announced(), 2U);
}

TEST_F(AnnouncingCoreTest, TakesLeftoversAway) {
    outside_.announced = {"shunt-vip", {*IpAddress::parse("198.18.0.99")}};
    start();
    pass(60);
    EXPECT_EQ(announced(), 0U);
    EXPECT_TRUE(said("198.18.0.99 is withdrawn: no service has it"));
}

TEST_F(AnnouncingCoreTest, ADataPlaneThatCannotBeUnderstoodIsNotHeldDead) {
    start();
    data_plane_serves();
    pass(100);
    outside_.now_at = Progress{};
    outside_.now_at.problem = "another layout";
    pass(2000);
    EXPECT_EQ(announced(), 2U);
}

TEST_F(AnnouncingCoreTest, DrainingTheNodeWithdrawsAndSurvives) {
    start();
    data_plane_serves();
    pass(100);
    EXPECT_TRUE(std::get<ChangeReply>(ask(node(config::BackendState::drain))).changed);
    pass(60);
    EXPECT_EQ(announced(), 0U);
    EXPECT_EQ(outside_.saved.back().overrides.at(0).id(), "node");
    EXPECT_TRUE(std::get<ChangeReply>(ask(ApplyConfig{state_})).changes.empty());
    pass(60);
    EXPECT_EQ(announced(), 0U);
    EXPECT_FALSE(std::get<ChangeReply>(ask(node(config::BackendState::drain))).changed);
    EXPECT_TRUE(std::get<ChangeReply>(ask(node(config::BackendState::ready))).changed);
    pass(60);
    EXPECT_EQ(announced(), 2U);
}

TEST_F(AnnouncingCoreTest, CannotBeDrainedIfNobodyWouldHear) {
    state_.announce_device.clear();
    start();
    const Answer answer = ask(node(config::BackendState::drain));
    EXPECT_TRUE(std::get<Rejection>(answer).error.message.find("nothing would tell anybody") != std::string::npos);
    EXPECT_FALSE(std::get<ChangeReply>(ask(node(config::BackendState::ready))).changed);
    state_.ha.emplace();
    start();
    EXPECT_TRUE(std::get<ChangeReply>(ask(node(config::BackendState::drain))).changed);
}

TEST_F(AnnouncingCoreTest, LooksAgainWhenTheNetworkChangesAndNowAndThen) {
    start();
    data_plane_serves();
    pass(100);
    const int before = outside_.announces;
    pass(200);
    EXPECT_EQ(outside_.announces, before);
    NetworkSnapshot other;
    other.links.push_back({.ifindex = 7, .name = "shunt-vip"});
    core_->network_changed(other);
    pass(60);
    EXPECT_EQ(outside_.announces, before + 1);
    pass(5100);
    EXPECT_EQ(outside_.announces, before + 2);
}

TEST_F(AnnouncingCoreTest, AFailureIsAProblemAndIsTriedAgain) {
    outside_.cannot_announce = true;
    start();
    data_plane_serves();
    pass(500);
    EXPECT_EQ(outside_.announces, 1);
    ASSERT_EQ(core_->problems().size(), 1U);
    EXPECT_TRUE(core_->problems()[0].find("cannot make the device") != std::string::npos);
    outside_.cannot_announce = false;
    pass(1000);
    EXPECT_TRUE(core_->problems().empty());
    EXPECT_EQ(announced(), 2U);
}

TEST_F(AnnouncingCoreTest, WithoutADeviceNothingIsTouched) {
    state_.announce_device.clear();
    start();
    data_plane_serves();
    pass(500);
    EXPECT_EQ(outside_.announces, 0);
}

}  // namespace
}  // namespace shunt::controlplane
