// The deciding core, driven by scripted events and a clock moved by hand.
#include "controlplane/state/core.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "src/base/clock.h"
#include "src/shm/state.h"
#include "tests/support/fake_outside.h"

namespace shunt::controlplane {
namespace {

config::Backend backend(const char* address, std::uint16_t port = 0) {
    return {.address = *IpAddress::parse(address), .port = port};
}

Vip vip(const char* address, std::uint16_t port) { return {*IpAddress::parse(address), Be16(port), Protocol::tcp}; }

config::Service web() {
    return {.name = "web",
            .vips = {vip("198.18.0.10", 80)},
            .check = config::Check{},
            .backends = {backend("198.18.2.11"), backend("198.18.2.12"), backend("198.18.2.13")}};
}

config::Service dns() {
    return {.name = "dns", .vips = {vip("198.18.0.53", 53)}, .backends = {backend("198.18.3.11")}};
}

class CoreTest : public testing::Test {
  protected:
    CoreTest() { start({web(), dns()}); }

    void start(std::vector<config::Service> services, const ReadBack& read_back = {}) {
        Wanted wanted;
        wanted.desired.services = std::move(services);
        config_of(wanted);
        core_.reset();
        core_ = std::make_unique<Core>(outside_, events_, std::move(wanted), NetworkSnapshot{}, read_back, 1, now());
        ASSERT_TRUE(core_->start(now()));
        answers_.clear();
    }
    static void config_of(Wanted& wanted) {
        for (auto& service : wanted.desired.services) service.table_size = 1021;
    }
    Now now() const { return {clock_.now(), unix_offset_ms_ + clock_.now().nanoseconds / 1'000'000}; }
    void pass(Duration time) {
        clock_.advance(time);
        for (const auto& probe : core_->advance(now())) probes_.push_back(probe);
    }
    void ask(const Request& request, WriteOptions options = {}) {
        core_->request(request, options, now(), [this](Answer answer) { answers_.push_back(std::move(answer)); });
    }
    const ChangeReply& reply(std::size_t n = 0) { return std::get<ChangeReply>(answers_.at(n)); }
    const Rejection& rejection(std::size_t n = 0) { return std::get<Rejection>(answers_.at(n)); }
    Generation generation() const { return outside_.now_at.published; }

    // The probe of this backend, answered.
    void answer(const char* address, Outcome outcome, const char* text = "") {
        const auto found = std::find_if(probes_.begin(), probes_.end(), [&](const ProbeRequest& probe) {
            return probe.spec.address == *IpAddress::parse(address);
        });
        ASSERT_NE(found, probes_.end()) << address;
        core_->probe_finished({found->id, outcome, text, clock_.now(), Duration::milliseconds(1)}, now());
        probes_.erase(found);
    }
    shm::Verdict published_verdict(std::size_t service, std::size_t member) const {
        return outside_.published.verdicts.at(service).at(member);
    }
    void data_plane_with(std::size_t workers) {
        outside_.now_at.alive = true;
        outside_.now_at.workers.assign(workers, {.online = true, .passed = generation()});
        outside_.now_at.accepted = generation();
    }
    bool said(std::string_view text) const {
        return std::any_of(events_.all().begin(), events_.all().end(),
                           [&](const Event& event) { return event.text.find(text) != std::string::npos; });
    }

    const std::int64_t unix_offset_ms_{1'700'000'000'000};
    ManualClock clock_{};
    FakeOutside outside_{};
    Events events_{};
    std::unique_ptr<Core> core_{};
    std::vector<Answer> answers_{};
    std::vector<ProbeRequest> probes_{};
};

SetOverride drain(const char* backend_name) {
    return {{.service = "web", .backend = backend_name, .state = config::BackendState::drain, .owner = "uid 0"}};
}

TEST_F(CoreTest, StartPublishesOnceAndGuards) {
    EXPECT_EQ(generation(), Generation(1));
    EXPECT_EQ(outside_.guarded.listeners.size(), 2u);
    EXPECT_EQ(outside_.guarded.nat_backends.size(), 4u);
    EXPECT_TRUE(outside_.saved.empty());
}

TEST_F(CoreTest, AChangeWithoutADataPlaneIsAnsweredAtOnce) {
    ask(DeleteBackend{"web", "198.18.2.13"});
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_TRUE(reply().changed);
    EXPECT_EQ(reply().generation, Generation(2));
    EXPECT_EQ(reply().workers.of, 0u);
    EXPECT_FALSE(reply().timed_out);
    EXPECT_EQ(reply().revision, 2u);
    ASSERT_EQ(outside_.saved.size(), 1u);
    EXPECT_EQ(outside_.saved.back().desired.services[0].backends.size(), 2u);
}

TEST_F(CoreTest, AChangeWaitsForEveryWorker) {
    data_plane_with(2);
    ask(DeleteBackend{"web", "198.18.2.13"});
    EXPECT_TRUE(answers_.empty());
    outside_.now_at.accepted = Generation(2);
    outside_.now_at.workers[0].passed = Generation(2);
    pass(Core::publication_poll);
    EXPECT_TRUE(answers_.empty());
    outside_.workers_pass(Generation(2));
    pass(Core::publication_poll);
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_EQ(reply().workers.workers, 2u);
    EXPECT_EQ(reply().workers.of, 2u);
}

TEST_F(CoreTest, AStalledWorkerMeansATimeoutAndTheChangeStays) {
    data_plane_with(2);
    ask(DeleteBackend{"web", "198.18.2.13"}, {.wait = Duration::seconds(3)});
    outside_.now_at.accepted = Generation(2);
    outside_.now_at.workers[1].passed = Generation(2);
    pass(Duration::milliseconds(2999));
    EXPECT_TRUE(answers_.empty());
    pass(Duration::milliseconds(1));
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_TRUE(reply().timed_out);
    EXPECT_EQ(reply().workers.workers, 1u);
    EXPECT_EQ(core_->wanted().desired.services[0].backends.size(), 2u);
}

TEST_F(CoreTest, DryRunTouchesNothing) {
    const auto before = core_->wanted();
    ask(DeleteBackend{"web", "198.18.2.13"}, {.dry_run = true});
    ASSERT_EQ(answers_.size(), 1u);
    EXPECT_TRUE(reply().changed);
    EXPECT_TRUE(reply().dry_run);
    ASSERT_EQ(reply().changes.size(), 1u);
    EXPECT_EQ(reply().changes[0].kind, ChangeKind::remove);
    EXPECT_EQ(core_->wanted(), before);
    EXPECT_EQ(generation(), Generation(1));
    EXPECT_TRUE(outside_.saved.empty());
}

TEST_F(CoreTest, TheSameAgainChangesNothing) {
    ask(PutService{core_->wanted().desired.services[0]});
    EXPECT_FALSE(reply().changed);
    EXPECT_EQ(generation(), Generation(1));
}

TEST_F(CoreTest, AnInvalidStateIsRefusedWithASentence) {
    auto service = web();
    service.backends[0].weight = 5000;
    ask(PutService{service});
    EXPECT_EQ(rejection().why, Rejection::Why::refused);
    EXPECT_FALSE(rejection().error.message.empty());
    EXPECT_EQ(core_->wanted().revision, 1u);
    EXPECT_TRUE(outside_.saved.empty());
}

TEST_F(CoreTest, WhatCannotBeCompiledIsRefusedBeforeItIsSaved) {
    outside_.inexpressible = true;
    ask(DeleteBackend{"web", "198.18.2.13"});
    EXPECT_EQ(rejection().why, Rejection::Why::refused);
    EXPECT_TRUE(outside_.saved.empty());
    EXPECT_EQ(core_->wanted().desired.services[0].backends.size(), 3u);
}

TEST_F(CoreTest, AFullDiskRefusesTheChangeAndTouchesNothing) {
    outside_.disk_full = true;
    ask(DeleteBackend{"web", "198.18.2.13"});
    EXPECT_EQ(rejection().why, Rejection::Why::storage);
    EXPECT_EQ(generation(), Generation(1));
    EXPECT_EQ(core_->wanted().desired.services[0].backends.size(), 3u);
    EXPECT_FALSE(core_->problems().empty());

    outside_.disk_full = false;
    ask(DeleteBackend{"web", "198.18.2.13"});
    EXPECT_TRUE(reply(1).changed);
    EXPECT_TRUE(core_->problems().empty());
}

TEST_F(CoreTest, WhatCannotBePublishedIsTakenBack) {
    outside_.no_memory = true;
    ask(DeleteBackend{"web", "198.18.2.13"});
    EXPECT_EQ(rejection().why, Rejection::Why::storage);
    EXPECT_EQ(core_->wanted().desired.services[0].backends.size(), 3u);
    ASSERT_FALSE(outside_.saved.empty());
    EXPECT_EQ(outside_.saved.back().desired.services[0].backends.size(), 3u);
    outside_.no_memory = false;
    pass(Core::retry);
    EXPECT_EQ(generation(), Generation(1));
    EXPECT_TRUE(core_->problems().empty());
}

TEST_F(CoreTest, WhileTheRingIsFullChangesAreKeptAndCoalesce) {
    data_plane_with(1);
    outside_.busy = true;
    ask(DeleteBackend{"web", "198.18.2.13"});
    ask(DeleteBackend{"web", "198.18.2.12"});
    EXPECT_TRUE(answers_.empty());
    EXPECT_EQ(generation(), Generation(1));
    outside_.busy = false;
    pass(Core::publication_poll);
    EXPECT_EQ(generation(), Generation(2));
    outside_.workers_pass(Generation(2));
    pass(Core::publication_poll);
    ASSERT_EQ(answers_.size(), 2u);
    EXPECT_EQ(reply(0).generation, Generation(2));
    EXPECT_EQ(reply(1).generation, Generation(2));
}

TEST_F(CoreTest, AStaleRevisionIsRefused) {
    ask(DeleteBackend{"web", "198.18.2.13"});
    ask(DeleteBackend{"web", "198.18.2.12"}, {.if_revision = 1});
    EXPECT_EQ(rejection(1).why, Rejection::Why::stale);
    ask(DeleteBackend{"web", "198.18.2.12"}, {.if_revision = 2});
    EXPECT_TRUE(reply(2).changed);
}

// ------------------------------------------------------------------------------------------------ overrides

TEST_F(CoreTest, AnOverrideLiesAboveAndSurvivesAReload) {
    ask(drain("198.18.2.12"));
    EXPECT_EQ(outside_.published.state.services[0].backends[1].state, config::BackendState::drain);
    EXPECT_EQ(core_->wanted().desired.services[0].backends[1].state, config::BackendState::ready);

    auto desired = core_->wanted().desired;
    desired.services[0].backends[0].weight = 7;
    ask(ApplyConfig{desired, Origin::file, 1});
    EXPECT_EQ(outside_.published.state.services[0].backends[0].weight, 7u);
    EXPECT_EQ(outside_.published.state.services[0].backends[1].state, config::BackendState::drain);
}

TEST_F(CoreTest, AnOverrideGoesWithItsBackend) {
    ask(drain("198.18.2.12"));
    ask(DeleteBackend{"web", "198.18.2.12"});
    EXPECT_TRUE(core_->wanted().overrides.empty());
    EXPECT_EQ(reply(1).changes.size(), 2u);  // both are shown
}

TEST_F(CoreTest, AnOverrideEndsByItself) {
    auto wanted = drain("198.18.2.12");
    wanted.wanted.expires = clock_.now() + Duration::seconds(60);
    ask(wanted);
    pass(Duration::milliseconds(59'999));
    EXPECT_EQ(core_->wanted().overrides.size(), 1u);
    pass(Duration::milliseconds(1));
    EXPECT_TRUE(core_->wanted().overrides.empty());
    EXPECT_EQ(outside_.published.state.services[0].backends[1].state, config::BackendState::ready);
    EXPECT_TRUE(outside_.saved.back().overrides.empty());
    EXPECT_TRUE(said("override web/198.18.2.12:0/state expired: drain"));
}

TEST_F(CoreTest, ReadyTakesOverridesAwayOrOverridesTheConfiguration) {
    ask(drain("198.18.2.12"));
    auto ready = drain("198.18.2.12");
    ready.wanted.state = config::BackendState::ready;
    ask(ready);
    EXPECT_TRUE(core_->wanted().overrides.empty());

    auto service = core_->wanted().desired.services[0];
    service.backends[1].state = config::BackendState::maint;
    ask(PutService{service});
    ask(ready);
    EXPECT_EQ(core_->wanted().overrides.size(), 1u);
    EXPECT_EQ(outside_.published.state.services[0].backends[1].state, config::BackendState::ready);
}

TEST_F(CoreTest, ARepeatedOverrideKeepsWhatIsNotSaidAgain) {
    auto wanted = drain("198.18.2.12");
    wanted.wanted.reason = "new disks";
    wanted.wanted.expires = clock_.now() + Duration::seconds(7200);
    ask(wanted);
    EXPECT_EQ(reply(0).changes.at(0).after, "drain (new disks) for 2h");
    auto again = drain("198.18.2.12");
    again.keep_reason = again.keep_end = true;
    again.wanted.owner = "uid 7";
    ask(again);
    EXPECT_FALSE(reply(1).changed);
    again.keep_end = false;
    ask(again);
    EXPECT_EQ(reply(2).changes.at(0).before, "drain (new disks) for 2h");
    EXPECT_EQ(reply(2).changes.at(0).after, "drain (new disks)");
    again.wanted.state = config::BackendState::maint;
    ask(again);
    EXPECT_EQ(core_->wanted().overrides.at(0).reason, "new disks");
}

TEST_F(CoreTest, TheLastBackendThatGoesIsWarnedAbout) {
    for (const char* address : {"198.18.2.11", "198.18.2.12"}) ask(drain(address));
    EXPECT_TRUE(reply(1).warnings.empty());
    ask(drain("198.18.2.13"), {.dry_run = true});
    const std::vector<std::string> told{"web: no backend takes new flows of 198.18.0.10:80/tcp"};
    EXPECT_EQ(reply(2).warnings, told);
    ask(drain("198.18.2.13"));
    EXPECT_EQ(reply(3).warnings, told);
    ask(DeleteBackend{"web", "198.18.2.13"});
    EXPECT_TRUE(reply(4).warnings.empty());  // nothing new
}

TEST_F(CoreTest, TheAuditSaysWhatWasDone) {
    ask(drain("198.18.2.12"), {.who = "uid 0"});
    EXPECT_TRUE(said("uid 0 changed + override.web/198.18.2.12:0/state drain"));
    auto service = core_->wanted().desired.services[0];
    service.backends[1].weight = 7;
    service.check->rise = 9;
    ask(PutService{service}, {.who = "uid 0"});
    EXPECT_TRUE(said("uid 0 changed ~ service.web.check.rise 2 -> 9, and 1 more"));
}

TEST_F(CoreTest, ABackendIsNamedByAddressOnlyWhereThatSaysEnough) {
    auto service = core_->wanted().desired.services[0];
    service.backends.push_back(backend("198.18.2.11", 8080));
    ask(PutService{service});
    ask(drain("198.18.2.11"));
    EXPECT_EQ(rejection(1).why, Rejection::Why::refused);
    ask(drain("198.18.2.11:8080"));
    EXPECT_TRUE(reply(2).changed);
    ask(drain("198.18.2.11:80"));  // the VIP's port, which it follows
    EXPECT_EQ(reply(3).changes.at(0).key, "override.web/198.18.2.11:0/state");
    ask(drain("198.18.2.11:81"));
    EXPECT_EQ(rejection(4).why, Rejection::Why::refused);
}

// ------------------------------------------------------------------------------------------------ health

TEST_F(CoreTest, TheFirstTransitionIsPublishedAtOnceAndTheRestTogether) {
    pass(Duration::milliseconds(1));
    ASSERT_EQ(probes_.size(), 3u);
    pass(Duration::milliseconds(20));
    answer("198.18.2.11", Outcome::ok);
    pass({});
    EXPECT_EQ(generation(), Generation(2));
    EXPECT_EQ(published_verdict(0, 0), shm::Verdict::up);
    answer("198.18.2.12", Outcome::refused, "connection refused");
    answer("198.18.2.13", Outcome::ok);
    pass(Duration::milliseconds(1));
    EXPECT_EQ(generation(), Generation(2));
    EXPECT_LE(core_->next_wakeup(now()), clock_.now() + Core::health_pacing);
    pass(Core::health_pacing);
    EXPECT_EQ(generation(), Generation(3));
    EXPECT_EQ(published_verdict(0, 1), shm::Verdict::down);
    EXPECT_EQ(published_verdict(0, 2), shm::Verdict::up);
    EXPECT_TRUE(said("tcp 198.18.2.12:80 is down: connection refused"));
}

TEST_F(CoreTest, AVerdictOutlivesAChangedCheck) {
    pass(Duration::milliseconds(1));
    answer("198.18.2.11", Outcome::ok);
    auto service = core_->wanted().desired.services[0];
    service.check->interval = Duration::seconds(3);
    ask(PutService{service});
    EXPECT_EQ(published_verdict(0, 0), shm::Verdict::up);
    EXPECT_EQ(published_verdict(0, 1), shm::Verdict::unchecked);
}

TEST_F(CoreTest, AServiceThatAsksTheSameKnowsTheSame) {
    pass(Duration::milliseconds(1));
    answer("198.18.2.11", Outcome::ok);
    ask(PutService{{.name = "web2",
                    .vips = {vip("198.18.0.11", 80)},
                    .check = config::Check{},
                    .backends = {backend("198.18.2.11"), backend("198.18.2.99")}}});
    EXPECT_EQ(published_verdict(2, 0), shm::Verdict::up);
    EXPECT_EQ(published_verdict(2, 1), shm::Verdict::unchecked);
    EXPECT_EQ(core_->health().size(), 4u);
}

TEST_F(CoreTest, ARestartTakesTheVerdictsFromTheTables) {
    start({web(), dns()}, [](const config::Service&, const config::Backend& member) {
        return member.address == *IpAddress::parse("198.18.2.12") ? Verdict::down : Verdict::up;
    });
    EXPECT_EQ(published_verdict(0, 0), shm::Verdict::up);
    EXPECT_EQ(published_verdict(0, 1), shm::Verdict::down);
    EXPECT_EQ(published_verdict(1, 0), shm::Verdict::unchecked);  // has no check
    // One success is not yet `rise`.
    probes_.clear();
    pass(Duration::milliseconds(1));
    answer("198.18.2.12", Outcome::ok);
    pass(Core::health_pacing);
    EXPECT_EQ(published_verdict(0, 1), shm::Verdict::down);
}

// ------------------------------------------------------------------------------------------------ the rest

TEST_F(CoreTest, NewsOfTheNetworkThatChangeNothingPublishNothing) {
    NetworkSnapshot snapshot;
    snapshot.links = {{.ifindex = 3, .name = "unrelated", .mtu = 1500, .up = true}};
    core_->network_changed(snapshot);
    pass(Duration::milliseconds(20));
    EXPECT_EQ(generation(), Generation(1));
    const int before = outside_.prepared;
    snapshot.addresses = {{*IpAddress::parse("198.18.1.1"), 24, 3}};
    core_->network_changed(snapshot);
    pass({});
    EXPECT_EQ(outside_.prepared, before + 1);
}

TEST_F(CoreTest, ADamagedTablesFileIsPublishedAgainWithOneEvent) {
    const int before = outside_.prepared;
    outside_.now_at.file_damaged = true;
    pass(Core::housekeeping);
    pass(Core::publication_poll);
    EXPECT_EQ(outside_.prepared, before + 1);
    EXPECT_EQ(generation(), Generation(1)) << "the same once more";
    outside_.now_at.file_damaged = false;
    pass(Core::housekeeping);
    pass(Core::housekeeping);
    EXPECT_EQ(outside_.prepared, before + 1);
    EXPECT_EQ(std::count_if(events_.all().begin(), events_.all().end(),
                            [](const Event& event) { return event.text.find("tables file") != std::string::npos; }),
              1);
}

TEST_F(CoreTest, SaysWhenTheDataPlaneComesRefusesAndGoes) {
    data_plane_with(1);
    pass(Core::housekeeping);
    EXPECT_TRUE(said("a data plane with 1 worker"));
    outside_.now_at.refused = Generation(7);
    pass(Core::housekeeping);
    EXPECT_TRUE(said("refused generation 7"));
    outside_.now_at.alive = false;
    pass(Core::housekeeping);
    EXPECT_TRUE(said("the data plane is gone"));
}

config::Port af_xdp(const char* name, const char* device) {
    return {.name = name, .kind = config::AfXdpPort{.device = device}, .queues = 1};
}

class PortsTest : public CoreTest {
  protected:
    PortsTest() {
        data_plane_with(1);
        outside_.now_at.ports = {{"lan0", "eth1"}};
        outside_.now_at.buckets_per_worker = shm::state_shape(1, config::Dataplane{}.flows).buckets_per_worker;
        pass(Core::housekeeping);
        config::DesiredState desired = core_->wanted().desired;
        desired.dataplane.ports = {af_xdp("lan0", "eth1")};
        apply(desired);
    }
    void apply(const config::DesiredState& desired) {
        answers_.clear();
        ask(ApplyConfig{desired}, {.wait = {}});
        ASSERT_EQ(answers_.size(), 1u);
        ASSERT_TRUE(std::holds_alternative<ChangeReply>(answers_[0])) << rejection().error.text();
    }
    std::vector<std::string> devices() const {
        std::vector<std::string> all;
        for (const auto& port : outside_.published.state.dataplane.ports) all.push_back(device_of(port));
        return all;
    }
    bool warned(std::string_view text) const {
        const auto all = core_->warnings();
        return std::any_of(all.begin(), all.end(), [&](const auto& w) { return w.find(text) != std::string::npos; });
    }
};

TEST_F(PortsTest, TablesSpeakOfThePortsThatRun) {
    EXPECT_EQ(core_->warnings(), std::vector<std::string>{});
    config::DesiredState desired = core_->wanted().desired;
    desired.dataplane.ports = {af_xdp("wan0", "eth7"), af_xdp("lan1", "eth1")};
    desired.next_hops = {
        {.address = *IpAddress::parse("198.18.2.11"), .mac = MacAddress{{2, 0, 0, 0, 0, 1}}, .port = "wan0"},
        {.address = *IpAddress::parse("198.18.2.12"), .mac = MacAddress{{2, 0, 0, 0, 0, 2}}, .port = "lan1"}};
    apply(desired);
    EXPECT_EQ(devices(), std::vector<std::string>{"eth1"});
    ASSERT_EQ(outside_.published.state.next_hops.size(), 1u);  // of the port that runs, under its new name
    EXPECT_EQ(outside_.published.state.next_hops[0].port, "lan1");
    EXPECT_EQ(outside_.guarded.interfaces, std::vector<std::string>{"eth1"});
    EXPECT_TRUE(warned("ports than [dataplane] says: lan0 on eth1, not wan0 on eth7, lan1 on eth1"));

    outside_.now_at.ports = {{"wan0", "eth7"}, {"lan1", "eth1"}};
    pass(Core::housekeeping);
    pass({});
    EXPECT_EQ(devices(), (std::vector<std::string>{"eth7", "eth1"}));
    EXPECT_EQ(outside_.guarded.interfaces.size(), 2u);
    EXPECT_EQ(outside_.published.state.next_hops.size(), 2u);
    EXPECT_EQ(core_->warnings(), std::vector<std::string>{});
}

TEST_F(PortsTest, ARestartedControlPlaneKnowsThemFromTheBeginning) {
    Wanted wanted = core_->wanted();
    wanted.desired.dataplane.ports = {af_xdp("wan0", "eth7")};
    core_ = std::make_unique<Core>(outside_, events_, wanted, NetworkSnapshot{}, nullptr, 1, now());
    ASSERT_TRUE(core_->start(now()));
    EXPECT_EQ(devices(), std::vector<std::string>{"eth1"});
}

TEST_F(PortsTest, WithoutADataPlaneTheConfigurationCounts) {
    config::DesiredState desired = core_->wanted().desired;
    desired.dataplane.ports = {af_xdp("wan0", "eth7")};
    apply(desired);
    outside_.now_at = {.published = generation()};
    pass(Core::housekeeping);
    pass({});
    EXPECT_EQ(devices(), std::vector<std::string>{"eth7"});
    EXPECT_FALSE(warned("[dataplane]"));
}

TEST_F(PortsTest, SaysWhenTheDataPlaneIsAnotherThanTheDesiredOne) {
    config::DesiredState desired = core_->wanted().desired;
    desired.dataplane.workers = 2;
    desired.dataplane.ports[0].queues = 2;
    desired.dataplane.flows = 4096;
    apply(desired);
    EXPECT_TRUE(warned("workers than [dataplane] says: 1, not 2"));
    EXPECT_TRUE(warned("flows than [dataplane] says: room for 1048576, not 4096"));
    EXPECT_EQ(reply().warnings.size(), 1u);

    desired.dataplane.timeouts.udp = Duration::seconds(5);
    apply(desired);
    EXPECT_TRUE(reply().warnings.empty());  // tables carry them
}

TEST(Ranges, TheGuardKnowsWholeAddressesAndBackendsThatAnswerFromEveryPort) {
    config::DesiredState state;
    state.services = {web()};
    state.services[0].vips = {*Vip::parse("198.18.0.10:*/tcp"), *Vip::parse("198.18.0.10:80/tcp")};
    state.services[0].backends = {backend("198.18.2.11"), backend("198.18.2.12", 8080)};
    const GuardRules rules = guard_rules(state);
    EXPECT_EQ(rules.listeners, state.services[0].vips);
    std::vector<std::string> backends;
    for (const Vip& one : rules.nat_backends) backends.push_back(one.text());
    EXPECT_EQ(backends, (std::vector<std::string>{"198.18.2.11:*/tcp", "198.18.2.12:8080/tcp", "198.18.2.11:80/tcp",
                                                  "198.18.2.12:8080/tcp"}));
}

TEST(Ranges, AServiceIsNamedByAnyOfItsVips) {
    config::DesiredState state;
    state.services = {web(), dns()};
    state.services[1].vips.push_back(*Vip::parse("[2001:db8::53]:5300-5399/udp"));
    EXPECT_EQ(name_of_service(state, "198.18.0.10:80/tcp"), "web");
    EXPECT_EQ(name_of_service(state, "[2001:db8::53]:5300-5399/udp"), "dns");
    for (const char* other : {"web", "198.18.0.10:81/tcp", "198.18.0.10:80/udp", "[2001:db8::53]:5300/udp", ""}) {
        EXPECT_EQ(name_of_service(state, other), other);
    }
}

TEST(Ranges, AChecksPortIsItsOwnTheBackendsOrThatOfTheFirstSinglePort) {
    config::Service service = web();
    service.vips = {*Vip::parse("198.18.0.10:8000-8999/tcp"), *Vip::parse("198.18.0.10:80/tcp")};
    EXPECT_EQ(check_of(service, backend("198.18.2.11"))->check.port, 80);
    EXPECT_EQ(check_of(service, backend("198.18.2.11", 8080))->check.port, 8080);
    service.check->port = 9;
    EXPECT_EQ(check_of(service, backend("198.18.2.11", 8080))->check.port, 9);
}

TEST_F(CoreTest, AGuardThatSomebodyRemovedIsPutBack) {
    const int before = outside_.guards;
    pass(Core::guard_watch);
    EXPECT_EQ(outside_.guards, before);
    outside_.guard_there = false;
    pass(Core::guard_watch);
    EXPECT_EQ(outside_.guards, before + 1);
    EXPECT_TRUE(said("guard"));
}

TEST_F(CoreTest, WakesWhenTheNextThingIsDue) {
    pass({});
    const Instant wakeup = core_->next_wakeup(now());
    EXPECT_LE(wakeup, clock_.now() + Core::housekeeping);
    data_plane_with(1);
    ask(DeleteBackend{"web", "198.18.2.13"});
    EXPECT_LE(core_->next_wakeup(now()), clock_.now() + Core::publication_poll);
}

}  // namespace
}  // namespace shunt::controlplane
