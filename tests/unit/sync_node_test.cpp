// Flow sync between whole balancers: who knows what, over a network that is not kind.
#include <gtest/gtest.h>

#include "tests/support/path_families.h"
#include "tests/support/sync_group.h"

namespace shunt::test {
namespace {

using sync::PeerState;

// Four backends in both families; of every four flows about one is pinned once `change` was made.
std::vector<config::Service> services() {
    return {make_service("web", {"198.18.0.10:443/tcp", "198.18.0.10:443/udp", "[2001:db8::10]:443/tcp"},
                         {"198.18.2.11:8080", "198.18.2.12:8080", "198.18.2.13:8080", "198.18.2.14:8080",
                          "[2001:db8:2::11]:8080", "[2001:db8:2::12]:8080", "[2001:db8:2::13]:8080"}),
            make_service("ports", {"198.18.0.20:8000-8099/tcp"}, {"198.18.3.11", "198.18.3.12", "198.18.3.13"})};
}

class SyncTest : public testing::Test {
  protected:
    struct Opened {
        Packet packet;
        std::string backend;
    };

    // Flows of all kinds through the first node.
    void open(std::uint32_t count, std::size_t at = 0) {
        for (std::uint32_t i = 0; i < count; ++i, ++next_) {
            const std::uint32_t kind = next_ % 4;
            const std::string client = kind == 3 ? V6::client(next_) : V4::client(next_);
            const std::string vips[] = {V4::vip, V4::vip, "198.18.0.20:80" + std::to_string(10 + next_ % 80), V6::vip};
            Packet p = packet(client, vips[kind], kind == 1 ? Protocol::udp : Protocol::tcp);
            if (kind != 1) {
                p.tcp_flags = tcp_syn;
                group[at].balancer.forward(p, next_ % 2);
                p.tcp_flags = tcp_ack;
            }
            flows.push_back({p, group[at].balancer.forward(p, next_ % 2).to()});
        }
    }
    // The first backend of each list drained, on every node.
    void change() {
        for (std::size_t i = 0; i < group.size(); ++i) change(i);
    }
    void change(std::size_t i) {
        auto& all = group[i].balancer.services();
        all[0].backends[0].state = config::BackendState::drain;
        all[0].backends[4].state = config::BackendState::drain;
        all[1].backends[0].state = config::BackendState::drain;
        group[i].balancer.publish();
    }
    // Of the flows, how many another node would send elsewhere, packets and replies alike.
    std::size_t broken_at(std::size_t node) {
        std::size_t broken = 0;
        for (std::size_t i = 0; i < flows.size(); ++i) {
            const Seen there = group[node].balancer.forward(flows[i].packet, (i + 1) % 2);
            broken += there.to() != flows[i].backend;
        }
        return broken;
    }
    std::uint64_t pinned(std::size_t node = 0) { return group[node].node->report(group.now()).flows_to_tell; }
    sync::PeerReport peer(std::size_t node, std::size_t n = 0) {
        return group[node].node->report(group.now()).peers.at(n);
    }

    SyncGroup group{services()};
    std::vector<Opened> flows;
    std::uint32_t next_{};
};

TEST_F(SyncTest, FlowsGoOnAtTheOtherNodeAfterAChange) {
    group.start();
    open(400);
    change();
    group.run(Duration::seconds(2));
    EXPECT_GT(pinned(), 80U);
    EXPECT_EQ(group[1].table.entries(), pinned());
    EXPECT_EQ(broken_at(1), 0U);
    EXPECT_GE(group[1].balancer.state().workers()[0].flows_from_peers.read() +
                  group[1].balancer.state().workers()[1].flows_from_peers.read(),
              pinned());
    EXPECT_LE(group.largest, sync::most_bytes);
}

TEST_F(SyncTest, WithoutSyncTheyWouldNot) {
    open(400);
    change();
    EXPECT_GT(broken_at(1), 80U);
}

TEST_F(SyncTest, ARightAwayFailoverFindsThemThere) {
    group.start();
    open(400);
    group.run(Duration::seconds(4));
    change(0);
    group.run(Duration::milliseconds(50));
    change(1);
    group.run(Duration::milliseconds(150));
    EXPECT_EQ(broken_at(1), 0U);
}

TEST_F(SyncTest, RepliesFindTheirFlowsToo) {
    group.start();
    open(200);
    change();
    group.run(Duration::seconds(2));
    for (const Opened& flow : flows) {
        const Packet& p = flow.packet;
        const Packet reply = packet(flow.backend, address_and_port(p.source, p.source_port), p.protocol);
        EXPECT_EQ(group[1].balancer.forward(reply).from(), address_and_port(p.destination, p.destination_port));
    }
}

TEST_F(SyncTest, ThirtyPercentLossHeals) {
    group.weather = {.loss = 0.3, .repeated = 0.1, .reordered = 0.3};
    group.start();
    open(400);
    change();
    group.run(Duration::seconds(45));
    EXPECT_GT(peer(1).records_lost, 0U);
    EXPECT_EQ(group[1].table.entries(), pinned());
    EXPECT_EQ(broken_at(1), 0U);
    EXPECT_EQ(peer(1).unused.replayed > 0, true);
    for (const std::uint64_t refused : peer(1).unused.refused) EXPECT_EQ(refused, 0U);
}

TEST_F(SyncTest, ANewNodeGetsEverythingBeforeItIsInSync) {
    group.weather = {.loss = 0.2};
    group.start(0);
    open(600);
    change();
    group.run(Duration::seconds(5));
    group.start(1);
    const Instant began = group.now();
    EXPECT_FALSE(group[1].node->in_sync(group.now()));
    for (int i = 0; i < 2000 && !group[1].node->in_sync(group.now()); ++i) group.run(Duration::milliseconds(5));
    EXPECT_TRUE(peer(1).pulled);
    EXPECT_LT(group.now() - began, Duration::seconds(5));
    EXPECT_EQ(group[1].table.entries(), pinned());
    EXPECT_EQ(broken_at(1), 0U);
}

// Silent through failover and failback: what node 1 lost comes back from what node 2 heard of it.
TEST_F(SyncTest, FlowsThatWereSilentComeBackWithTheFailback) {
    group.start();
    open(400);
    change();
    const auto changed = group[0].balancer.services();
    group.run(Duration::seconds(2));
    group.reboot(0, changed);
    EXPECT_FALSE(group[0].node->in_sync(group.now()));
    group.run(Duration::seconds(3));
    EXPECT_TRUE(group[0].node->in_sync(group.now()));
    EXPECT_EQ(broken_at(0), 0U);
}

TEST_F(SyncTest, ANodeAloneIsInSyncSoonAndOneWithDeafPeersInTheEnd) {
    group.start(0);
    EXPECT_FALSE(group[0].node->in_sync(group.now()));
    group.run(sync::Node::nobody_answers);
    EXPECT_TRUE(group[0].node->in_sync(group.now()));

    group.start(1);
    group.run(Duration::milliseconds(20));  // hellos
    group.weather.loss = 1.0;
    group[0].down = true;
    group.run(Duration::milliseconds(500));
    EXPECT_FALSE(group[1].node->in_sync(group.now()));
}

TEST_F(SyncTest, ThreeNodesTellEachOther) {
    SyncGroup three(services(), 3);
    std::swap(group, three);
    group.start();
    open(100, 0);
    open(100, 1);
    open(100, 2);
    change();
    group.run(Duration::seconds(2));
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(broken_at(i), 0U) << i;
}

TEST_F(SyncTest, AMulticastGroupNeedsNoList) {
    SyncGroup three(services(), 3);
    std::swap(group, three);
    group.multicast = true;
    group.start();
    open(300);
    change();
    group.run(Duration::seconds(4));
    ASSERT_EQ(group[1].node->report(group.now()).peers.size(), 2U);
    for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(broken_at(i), 0U) << i;
    EXPECT_EQ(peer(1).state, PeerState::usable);
}

TEST_F(SyncTest, AllFlowsIfAskedFor) {
    group[0].which = sync::Which::all;
    group.start();
    open(400);
    group.run(Duration::seconds(2));
    EXPECT_EQ(pinned(), 400U);
    EXPECT_EQ(group[1].table.entries(), 400U);
}

// A scheduler places flows where the table would not: they are told from birth, within the lag that the node states.
TEST_F(SyncTest, WhatASchedulerPlacedIsToldWithinTheStatedLag) {
    auto least = services();
    least[0].scheduler = Scheduler::least_connections;
    SyncGroup other(least);
    std::swap(group, other);
    group.start();
    group.run(Duration::seconds(4));
    for (int i = 0; i < 20; ++i) {
        open(20);
        group.run(group[0].node->report(group.now()).lag + Duration::milliseconds(5));  // and the way
    }
    EXPECT_GT(pinned(), 150U);
    EXPECT_EQ(broken_at(1), 0U);
    group.run(Duration::seconds(1));
    EXPECT_EQ(group[0].node->report(group.now()).coverage, 1.0);
}

TEST_F(SyncTest, WhereTablesDifferAllFlowsAreTold) {
    group.start();
    open(200);
    auto& backends = group[1].balancer.services()[0].backends;
    backends[1].weight = 1;  // there alone
    backends[5].weight = 1;
    group[1].balancer.publish();
    group.run(Duration::seconds(4));
    EXPECT_FALSE(peer(0).tables_same);
    EXPECT_EQ(broken_at(1), 0U);
}

TEST_F(SyncTest, WhatAWorkerKnowsIsNotOverridden) {
    group.start();
    open(200);
    change();
    group.run(Duration::seconds(2));
    // The same flows began anew at the second node, at other backends: that node's workers know better.
    std::vector<std::string> there;
    for (Opened& flow : flows) {
        flow.packet.tcp_flags = tcp_syn;
        group[1].balancer.forward(flow.packet);
        flow.packet.tcp_flags = tcp_ack;
        there.push_back(group[1].balancer.forward(flow.packet).to());
    }
    group.run(Duration::seconds(12));
    std::size_t others = 0;
    for (std::size_t i = 0; i < flows.size(); ++i) {
        if (flows[i].packet.protocol == Protocol::udp) continue;
        EXPECT_EQ(group[1].balancer.forward(flows[i].packet).to(), there[i]);
        others += there[i] != flows[i].backend;
    }
    EXPECT_GT(others, 10U);
}

TEST_F(SyncTest, EntriesAgeByTheTimeoutsOfTheirService) {
    group.start();
    open(200);
    change();
    group.run(Duration::seconds(2));
    const std::uint64_t all = group[1].table.entries();
    group[0].down = true;
    group.run(Duration::seconds(75));  // UDP: 60 s
    EXPECT_LT(group[1].table.entries(), all);
    EXPECT_GT(group[1].table.entries(), all / 2);
    EXPECT_EQ(peer(1).state, PeerState::silent);
    std::erase_if(flows, [](const Opened& flow) { return flow.packet.protocol == Protocol::udp; });
    EXPECT_EQ(broken_at(1), 0U);
}

TEST_F(SyncTest, KilledFlowsAreForgottenHereToo) {
    group.start();
    open(200);
    change();
    group.run(Duration::seconds(2));
    shm::FlowFilter udp;
    udp.protocol = Protocol::udp;
    const std::uint64_t before = group[1].table.entries();
    const std::uint64_t erased = group[1].table.erase(udp, group[1].balancer.tables(), Tick::at(group.now()));
    EXPECT_GT(erased, 0U);
    EXPECT_EQ(group[1].table.entries(), before - erased);
}

// ------------------------------------------------------------------------------------------------ who is not believed

class SyncRefusal : public SyncTest {
  protected:
    void expect_unused(PeerState state) {
        open(200);
        change();
        group.run(Duration::seconds(4));
        EXPECT_EQ(peer(1).state, state);
        EXPECT_EQ(group[1].table.entries(), 0U);
    }
};

TEST_F(SyncRefusal, AnotherSeed) {
    group[0].seed_fingerprint = 2;
    group.start();
    expect_unused(PeerState::other_seed);
    EXPECT_EQ(group[1].told.back(), "peer lb1 at 198.18.1.11:7400: its hash seed is another: its records are not used");
}

TEST_F(SyncRefusal, AnotherConfiguration) {
    group[0].balancer.services()[0].backends.push_back(backend("198.18.2.19:8080"));
    group[0].balancer.publish();
    group.start();
    expect_unused(PeerState::other_configuration);
}

TEST_F(SyncRefusal, AnotherConfigurationForAWhileCostsNoFlow) {
    group.start();
    for (std::size_t i : {0, 1}) {
        if (i == 1) open(200);
        group[i].balancer.services()[1].backends.push_back(backend("198.18.3.19"));
        change(i);
        group.run(Duration::milliseconds(500));
    }
    EXPECT_EQ(peer(1).state, PeerState::usable);
    EXPECT_EQ(broken_at(1), 0U);
}

TEST_F(SyncRefusal, AnotherKey) {
    group[0].key = sync_key('x');
    group.start();
    expect_unused(PeerState::wrong_key);
    EXPECT_GT(peer(1).unused.refused[static_cast<std::size_t>(sync::Refusal::forged)], 0U);
    EXPECT_TRUE(group[1].node->in_sync(group.now()));  // nobody to wait for
}

TEST_F(SyncRefusal, ReplayedDatagramsOfThisAndOfEarlierStarts) {
    group.start();
    group.recording = true;
    open(200);
    change();
    group.run(Duration::seconds(2));
    group.recording = false;
    const auto old = std::move(group.recorded);
    const auto replay = [&] {
        for (const auto& datagram : old) {
            if (datagram.to == group[1].address) group.hand(1, datagram.from, datagram.bytes);
        }
    };
    const auto used = [&] { return peer(1).records_received; };

    std::uint64_t before = used();
    replay();
    EXPECT_EQ(used(), before);
    EXPECT_GT(peer(1).unused.replayed, 0U);

    // The receiver started anew: what was sent to its predecessor is not for it.
    group.start(1);
    group.run(Duration::milliseconds(1));
    replay();
    EXPECT_EQ(used(), 0U);
    group.run(Duration::seconds(2));
    EXPECT_GT(used(), 0U);

    // The sender started anew: its earlier start can not be proven again.
    group.start(0);
    group.run(Duration::seconds(2));
    before = used();
    const std::uint64_t unproven = peer(1).unused.unproven;
    replay();
    EXPECT_EQ(used(), before);
    EXPECT_GT(peer(1).unused.unproven + peer(1).unused.misaddressed, unproven);
    EXPECT_EQ(peer(1).state, PeerState::usable);
}

TEST_F(SyncRefusal, ReflectedAndMisdirectedDatagrams) {
    SyncGroup three(services(), 3);
    std::swap(group, three);
    group.start();
    group.recording = true;
    open(200);
    change();
    group.run(Duration::seconds(2));
    const auto all = std::move(group.recorded);
    group.recording = false;
    const auto entries = group[2].table.entries(), at_sender = group[0].table.entries();
    for (const auto& datagram : all) {
        if (datagram.to != group[1].address) continue;
        group.hand(2, datagram.from, datagram.bytes);     // for another node
        group.hand(0, group[1].address, datagram.bytes);  // back to who sent it
    }
    EXPECT_EQ(group[0].table.entries(), at_sender);
    EXPECT_EQ(group[2].table.entries(), entries);
    EXPECT_GT(peer(2).unused.misaddressed, 0U);
    EXPECT_EQ(peer(2).state, PeerState::usable);
}

// Every byte of every kind of datagram, changed; every length; from a peer's address. Nothing of it is believed.
TEST_F(SyncRefusal, MutatedDatagrams) {
    group.start();
    group.recording = true;
    open(100);
    change();
    group.run(Duration::seconds(2));
    const auto all = std::move(group.recorded);
    group.recording = false;
    const auto before = peer(1);
    const auto entries = group[1].table.entries();
    Random random(1);
    std::uint64_t handed = 0;
    for (int i = 0; i < 20'000; ++i) {
        const auto& datagram = all[random.below(all.size())];
        auto bytes = datagram.bytes;
        for (std::uint64_t n = 1 + random.below(4); n > 0; --n) {
            if (random.below(4) == 0) bytes.resize(random.below(bytes.size() + 1));
            if (bytes.empty()) break;
            bytes[random.below(bytes.size())] ^= static_cast<std::byte>(1 + random.below(255));
        }
        if (bytes == datagram.bytes) continue;
        ++handed;
        group.hand(1, group[0].address, bytes);
    }
    const auto after = peer(1);
    std::uint64_t refused = 0;
    for (const std::uint64_t count : after.unused.refused) refused += count;
    for (const std::uint64_t count : before.unused.refused) refused -= count;
    EXPECT_EQ(refused, handed);
    EXPECT_EQ(after.records_received, before.records_received);
    EXPECT_EQ(group[1].table.entries(), entries);
    EXPECT_EQ(after.state, PeerState::usable);
}

TEST_F(SyncRefusal, Strangers) {
    group.start();
    group.run(Duration::seconds(1));
    group.hand(1, {IpAddress::v4(198, 18, 1, 99), 7400}, SyncGroup::Bytes(100));
    EXPECT_EQ(group[1].node->report(group.now()).strangers, 1U);
}

}  // namespace
}  // namespace shunt::test
