// Flows are killed by the workers that have them, while they work.
#include "dataplane/main/requests.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "src/base/random.h"
#include "tests/support/instance.h"

namespace shunt::test {
namespace {

using dataplane::ForgetList;
using dataplane::Requests;

struct Ipv4 {
    static constexpr const char* client = "203.0.113.";
    static constexpr const char* vip = "198.18.0.10";
    static constexpr const char* first = "198.18.2.11";
    static constexpr const char* second = "198.18.2.12";
};
struct Ipv6 {
    static constexpr const char* client = "2001:db8:c::";
    static constexpr const char* vip = "2001:db8::10";
    static constexpr const char* first = "2001:db8:2::11";
    static constexpr const char* second = "2001:db8:2::12";
};

template <class Addresses>
class KillsOf : public testing::Test {
  protected:
    KillsOf()
        : instance_({make_service("web", {address_and_port(*IpAddress::parse(Addresses::vip), 80) + "/tcp"},
                                  {Addresses::first, Addresses::second})},
                    2),
          requests_(header_, instance_.state(),
                    {&instance_.worker(0).forget_list(), &instance_.worker(1).forget_list()}) {}

    static Packet packet(std::uint32_t client, std::uint8_t flags) {
        return {.source = *IpAddress::parse(Addresses::client + std::to_string(client)),
                .destination = *IpAddress::parse(Addresses::vip),
                .source_port = 40000,
                .destination_port = 80,
                .tcp_flags = flags};
    }
    // The reply of whichever backend got the client's packet.
    static Packet reply(const Seen& to_backend) {
        return {.source = to_backend.destination,
                .destination = to_backend.source,
                .source_port = to_backend.destination_port,
                .destination_port = to_backend.source_port,
                .tcp_flags = tcp_ack};
    }
    Seen open(std::uint32_t client, std::size_t worker = 0) {
        instance_.forward(packet(client, tcp_syn), worker);
        return instance_.forward(packet(client, tcp_ack), worker);
    }
    // Opens flows until one goes to the first backend, and says whose.
    std::uint32_t open_one_at_the_first() {
        std::uint32_t client = 1;
        while (!(open(client).destination == *IpAddress::parse(Addresses::first))) ++client;
        return client;
    }
    // Where the client's next packet goes.
    IpAddress next(std::uint32_t client, std::size_t worker = 0) {
        return instance_.forward(packet(client, tcp_ack), worker).destination;
    }
    void ask(const shm::FlowFilter& filter) {
        const std::uint64_t number = header_.requested.load() + 1;
        header_.requests[number % shm::request_ring] = {number, shm::RequestKind::kill_flows, 0, filter};
        header_.requested.store(number);
    }
    void ask_to_wedge(std::uint64_t workers, std::uint32_t milliseconds) {
        const std::uint64_t number = header_.requested.load() + 1;
        shm::FlowFilter filter;
        filter.workers = workers;
        header_.requests[number % shm::request_ring] = {number, shm::RequestKind::wedge_worker, milliseconds, filter};
        header_.requested.store(number);
    }
    bool answered() { return instance_.state().header().answered.load() == header_.requested.load(); }
    const shm::RequestAnswer& answer() {
        return instance_.state().header().answers[header_.requested.load() % shm::request_ring];
    }
    Tick now() const { return Tick::at(instance_.clock.now()); }
    void turn() { requests_.turn(instance_.tables(), now()); }
    std::uint64_t finish() {
        for (int i = 0; i < 1000 && !answered(); ++i) {
            turn();
            instance_.worker(0).poll_once();
            instance_.worker(1).poll_once();
        }
        EXPECT_TRUE(answered());
        EXPECT_EQ(answer().number, header_.requested.load());
        return answer().flows;
    }
    // The flows that hold, on how many workers each.
    std::map<std::string, int> flows(const shm::FlowFilter& filter = {}) {
        std::map<std::string, int> found;
        shm::FlowScan scan(filter);
        while (!scan.step(instance_.state(), instance_.tables(), now(), 100,
                          [&](const shm::Flow& flow) { ++found[flow.key.peer.text()]; })) {
        }
        return found;
    }
    // Every later choice is the second backend.
    void drain_first() {
        instance_.services()[0].backends[0].state = config::BackendState::drain;
        instance_.publish();
    }

    Instance instance_;
    shm::TablesHeader header_{};
    Requests requests_;
};
using Families = testing::Types<Ipv4, Ipv6>;
TYPED_TEST_SUITE(KillsOf, Families);

TYPED_TEST(KillsOf, WhatTheFilterMeansIsForgottenEverywhereAndTheRestStays) {
    const std::string prefix = TypeParam::client;
    for (std::uint32_t client = 1; client <= 9; ++client) {
        const Seen seen = this->open(client, client % 2);
        this->instance_.forward(this->reply(seen), 1 - client % 2);  // so that both have it
    }
    ASSERT_EQ(this->flows().size(), 9U);
    EXPECT_EQ(this->flows().at(prefix + "7"), 2);
    shm::FlowFilter filter;
    filter.client = *IpAddress::parse(prefix + "4");
    filter.client_length = filter.client.is_v4() ? 31 : 127;  // 4 and 5
    this->ask(filter);
    EXPECT_EQ(this->finish(), 2U);
    EXPECT_EQ(this->answer().outcome, shm::RequestOutcome::done);
    const auto left = this->flows();
    EXPECT_EQ(left.size(), 7U);
    EXPECT_FALSE(left.contains(prefix + "4") || left.contains(prefix + "5"));
    EXPECT_FALSE(this->requests_.busy());
}

TYPED_TEST(KillsOf, TheNextPacketChoosesAgain) {
    const std::uint32_t client = this->open_one_at_the_first();
    this->drain_first();
    EXPECT_EQ(this->next(client), *IpAddress::parse(TypeParam::first));
    this->ask({});
    EXPECT_EQ(this->finish(), client);
    EXPECT_EQ(this->next(client), *IpAddress::parse(TypeParam::second));
}

// Copies must not leapfrog: one worker has forgotten a flow, gets a packet of it, and finds it with the other, which
// has not yet.
TYPED_TEST(KillsOf, NobodyGetsAFlowBackFromAWorkerThatHasNotForgottenIt) {
    const std::uint32_t client = this->open_one_at_the_first();
    this->drain_first();
    EXPECT_EQ(this->next(client, 1), *IpAddress::parse(TypeParam::first));  // copied
    this->ask({});
    this->turn();  // finds it
    this->turn();  // tells both
    EXPECT_EQ(this->next(client, 0), *IpAddress::parse(TypeParam::second));
    EXPECT_EQ(this->next(client, 1), *IpAddress::parse(TypeParam::second));
    this->finish();
    EXPECT_EQ(this->next(client, 0), *IpAddress::parse(TypeParam::second));
    EXPECT_EQ(this->next(client, 1), *IpAddress::parse(TypeParam::second));
}

// The same at random: packets of both directions on both workers, in any order with the turns of the main thread.
TYPED_TEST(KillsOf, UnderTrafficInBothDirectionsEveryFlowLeavesItsBackend) {
    constexpr std::uint32_t clients = 250;  // half of them are more than one list
    std::vector<Packet> replies;
    for (std::uint32_t client = 1; client <= clients; ++client) replies.push_back(this->reply(this->open(client)));
    this->drain_first();
    Random random(11);
    const auto traffic = [&] {
        const auto n = static_cast<std::uint32_t>(random.below(clients));
        const bool to_backend = random.below(2) == 0;
        const Packet packet = to_backend ? this->packet(n + 1, tcp_ack) : replies[n];
        this->instance_.burst({packet.build()}, random.below(2));
    };
    for (int i = 0; i < 1000; ++i) traffic();
    this->ask({.backend = *IpAddress::parse(TypeParam::first)});
    for (int i = 0; i < 20'000 && !this->answered(); ++i) {
        traffic();
        if (random.below(3) == 0) this->turn();
    }
    ASSERT_TRUE(this->answered());
    EXPECT_GT(this->answer().flows, 10U);
    EXPECT_EQ(this->flows({.backend = *IpAddress::parse(TypeParam::first)}).size(), 0U);
    for (int i = 0; i < 1000; ++i) traffic();
    EXPECT_EQ(this->flows({.backend = *IpAddress::parse(TypeParam::first)}).size(), 0U);
}

TYPED_TEST(KillsOf, AStateOrAnIdleTimeIsTheFlowsAndNotACopys) {
    const Seen seen = this->open(1, 0);
    this->instance_.forward(this->reply(seen), 1);  // this worker never hears that the handshake is over
    this->ask({.states = 1U << static_cast<unsigned>(shm::FlowState::embryonic)});
    EXPECT_EQ(this->finish(), 0U);
    this->instance_.clock.advance(Duration::seconds(40));
    this->instance_.forward(this->packet(1, tcp_ack), 0);  // alive on one worker, idle on the other
    this->ask({.idle_above = to_ticks(Duration::seconds(30))});
    EXPECT_EQ(this->finish(), 0U);
    this->ask({.idle_below = to_ticks(Duration::seconds(30))});
    EXPECT_EQ(this->finish(), 1U);
    EXPECT_EQ(this->flows().size(), 0U);
}

TYPED_TEST(KillsOf, WhatWasAskedOfAPredecessorIsPassedOver) {
    this->open(1);
    this->ask({});
    Requests successor(this->header_, this->instance_.state(), {&this->instance_.worker(0).forget_list()});
    EXPECT_TRUE(this->answered());
    EXPECT_NE(this->answer().number, this->header_.requested.load());
    successor.turn(this->instance_.tables(), this->now());
    EXPECT_FALSE(successor.busy());
    EXPECT_EQ(this->flows().size(), 1U);
}

TYPED_TEST(KillsOf, AWedgeIsRefusedWithoutTestHooks) {
    this->ask_to_wedge(1, 100);
    this->turn();
    EXPECT_TRUE(this->answered());
    EXPECT_EQ(this->answer().outcome, shm::RequestOutcome::refused);
}

TYPED_TEST(KillsOf, AWedgeIsDrivenIntoTheWorkersNamed) {
    std::array<dataplane::Wedge, 2> wedges;
    Requests requests(this->header_, this->instance_.state(), {&this->instance_.worker(0).forget_list()},
                      {&wedges[0], &wedges[1]});
    this->ask_to_wedge(2, 100);
    requests.turn(this->instance_.tables(), this->now());
    EXPECT_EQ(this->answer().outcome, shm::RequestOutcome::done);
    EXPECT_EQ(wedges[0].take(), Duration{});
    EXPECT_EQ(wedges[1].take(), Duration::milliseconds(100));
    EXPECT_EQ(wedges[1].take(), Duration{}) << "once";
}

TYPED_TEST(KillsOf, AnUnknownKindIsAnsweredAsSuch) {
    this->open(1);
    this->header_.requests[1] = {1, static_cast<shm::RequestKind>(99), 0, {}};
    this->header_.requested.store(1);
    this->turn();
    EXPECT_TRUE(this->answered());
    EXPECT_EQ(this->answer().outcome, shm::RequestOutcome::unknown);
    EXPECT_EQ(this->flows().size(), 1U);
}

}  // namespace
}  // namespace shunt::test
