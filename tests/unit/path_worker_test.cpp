// The whole packet path on in-memory ports: what comes in, what goes out.
#include <gtest/gtest.h>

#include <set>

#include "src/base/random.h"

#include "tests/support/path_families.h"

namespace shunt::test {
namespace {

using shm::DropReason;

template <class F>
class WorkerOf : public testing::Test {
  protected:
    Instance instance{web(F::vip, F::backends())};

    Packet request(std::uint32_t n, Protocol protocol = Protocol::tcp) {
        return packet(F::client(n), F::vip, protocol);
    }
    Packet opening(std::uint32_t n) {
        Packet p = request(n);
        p.tcp_flags = tcp_syn;
        return p;
    }
    static Packet reply(const Seen& forwarded) { return packet(forwarded.to(), forwarded.from(), forwarded.protocol); }
    config::Backend& backend_of(Instance& where, const Seen& forwarded) {
        for (auto& b : where.services()[0].backends) {
            if (b.address == forwarded.destination) return b;
        }
        throw std::runtime_error("no such backend");
    }
};
TYPED_TEST_SUITE(WorkerOf, Families);

TYPED_TEST(WorkerOf, APacketReachesABackendAndItsReplyTheClient) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const Packet sent = this->request(1, protocol);
        const Seen there = this->instance.forward(sent);
        EXPECT_EQ(there.source, sent.source);
        EXPECT_EQ(there.source_port, sent.source_port);
        EXPECT_EQ(there.destination_port, 8080);
        EXPECT_EQ(there.hop_limit, 63);
        EXPECT_EQ(there.mac_source, port_mac);
        EXPECT_EQ(there.mac_destination, backend_mac(there.destination));
        EXPECT_EQ(there.payload, sent.payload);
        EXPECT_TRUE(there.checksums_right);

        const Seen back = this->instance.forward(this->reply(there));
        EXPECT_EQ(back.from(), TypeParam::vip);
        EXPECT_EQ(back.to(), there.from());
        EXPECT_EQ(back.mac_destination, gateway_mac);
        EXPECT_EQ(back.hop_limit, 63);
        EXPECT_TRUE(back.checksums_right);
    }
    this->instance.expect_conservation();
}

TYPED_TEST(WorkerOf, EveryBackendGetsItsShare) {
    std::map<std::string, int> counts;
    for (std::uint32_t n = 0; n < 3000; ++n) ++counts[this->instance.forward(this->opening(n)).to()];
    ASSERT_EQ(counts.size(), 3U);
    for (const auto& [backend, count] : counts) EXPECT_NEAR(count, 1000, 150) << backend;
}

TYPED_TEST(WorkerOf, TwoPacketsOfOneNewFlowInABurstAreOneFlow) {
    std::vector<Bytes> packets;
    for (int i = 0; i < 4; ++i) packets.push_back(this->opening(7).build());
    const auto output = this->instance.burst(packets);
    ASSERT_EQ(output.sent.size(), 4U);
    std::set<std::string> backends;
    for (const Bytes& bytes : output.sent) backends.insert(read(bytes).to());
    EXPECT_EQ(backends.size(), 1U);
    EXPECT_EQ(this->instance.state().workers()[0].flows_inserted.read(), 1U);
}

TYPED_TEST(WorkerOf, AFlowKeepsItsBackendWhenOthersComeAndGo) {
    std::vector<Seen> flows;
    for (std::uint32_t n = 0; n < 300; ++n) {
        this->instance.forward(this->opening(n));
        flows.push_back(this->instance.forward(this->request(n)));
    }
    auto& backends = this->instance.services()[0].backends;
    auto fourth = backends[0];
    auto bytes = fourth.address.bytes();
    bytes[15] = 0x44;
    fourth.address = IpAddress::v6(bytes);
    fourth.weight = 1000;
    backends.push_back(fourth);
    backends[1].weight = 0;
    backends[2].weight = 1;
    this->instance.publish();
    for (std::uint32_t n = 0; n < 300; ++n) {
        EXPECT_EQ(this->instance.forward(this->request(n)).to(), flows[n].to());
        EXPECT_EQ(this->instance.forward(this->reply(flows[n])).from(), TypeParam::vip);
    }
    // A drained backend takes nothing new.
    for (std::uint32_t n = 1000; n < 1300; ++n) {
        EXPECT_NE(this->instance.forward(this->opening(n)).destination, backends[1].address);
    }
}

TYPED_TEST(WorkerOf, ABackendThatIsDownKeepsTcpAndLosesUdp) {
    const Seen tcp = this->instance.forward(this->request(1));
    Seen udp{};
    std::uint32_t n = 0;
    do udp = this->instance.forward(this->request(n++, Protocol::udp));
    while (udp.destination != tcp.destination);
    this->instance.services()[0].check = config::Check{};
    this->instance.set_verdict("web", tcp.to(), shm::Verdict::down);
    this->instance.publish();
    EXPECT_EQ(this->instance.forward(this->request(1)).to(), tcp.to());
    EXPECT_NE(this->instance.forward(this->request(n - 1, Protocol::udp)).to(), tcp.to());
    // A new connection of the same five-tuple does not go there.
    EXPECT_NE(this->instance.forward(this->opening(1)).to(), tcp.to());
}

TYPED_TEST(WorkerOf, RemovalAndMaintenanceLetFlowsChooseAgain) {
    const Seen first = this->instance.forward(this->request(1));
    this->backend_of(this->instance, first).state = config::BackendState::maint;
    this->instance.publish();
    const Seen second = this->instance.forward(this->request(1));
    EXPECT_NE(second.to(), first.to());
    auto& backends = this->instance.services()[0].backends;
    std::erase_if(backends, [&](const auto& b) { return b.address == second.destination; });
    this->instance.publish();
    const Seen third = this->instance.forward(this->request(1));
    EXPECT_NE(third.to(), first.to());
    EXPECT_NE(third.to(), second.to());
}

TYPED_TEST(WorkerOf, AReplyWithoutAFlowIsDerivedFromTheTable) {
    // Another instance chose the backend: the node that took over knows nothing of the flow.
    Instance other{web(TypeParam::vip, TypeParam::backends())};
    for (std::uint32_t n = 0; n < 50; ++n) {
        const Seen there = other.forward(this->request(n));
        const Seen back = this->instance.forward(this->reply(there));
        EXPECT_EQ(back.from(), TypeParam::vip);
        EXPECT_TRUE(back.checksums_right);
    }
    EXPECT_EQ(this->instance.state().workers()[0].flows_derived.read(), 50U);
}

TYPED_TEST(WorkerOf, AReplyThatBelongsToNobodyIsDropped) {
    const Seen there = this->instance.forward(this->opening(1));
    Packet strange = this->reply(there);
    for (const std::string& backend : TypeParam::backends()) {
        if (backend == there.to()) continue;
        const auto at = *parse_address_and_port(backend);
        strange.source = at.address;
        EXPECT_EQ(this->instance.fate(strange.build()), "return_unknown");
    }
}

TYPED_TEST(WorkerOf, ALateReplyTakesNoFlowFromAnotherBackend) {
    Instance two{web(TypeParam::vip, TypeParam::backends()), 2};
    const Seen first = two.forward(this->opening(1));
    this->backend_of(two, first).state = config::BackendState::maint;
    two.publish();
    const Seen second = two.forward(this->request(1));
    ASSERT_NE(second.to(), first.to());
    this->backend_of(two, first).state = config::BackendState::ready;  // so the table gives it this client again
    two.publish();
    for (const std::size_t worker : {1U, 0U}) {
        EXPECT_EQ(two.fate(this->reply(first).build(), worker), "return_unknown");
        EXPECT_EQ(two.forward(this->request(1), worker).to(), second.to());
        EXPECT_EQ(two.forward(this->reply(second), worker).from(), TypeParam::vip);
    }
}

TYPED_TEST(WorkerOf, WithDirectAccessSuchAReplyIsTheKernels) {
    this->instance.services()[0].direct_access = true;
    this->instance.publish();
    const Seen there = this->instance.forward(this->opening(1));
    Packet strange = this->reply(there);
    for (const std::string& backend : TypeParam::backends()) {
        if (backend == there.to()) continue;
        strange.source = parse_address_and_port(backend)->address;
        EXPECT_EQ(this->instance.fate(strange.build()), "punted");
    }
}

TYPED_TEST(WorkerOf, WhatIsNotOursIsTheKernels) {
    EXPECT_EQ(this->instance.fate(packet(TypeParam::client(1), TypeParam::other_vip).build()), "punted");
    Packet other_port = this->request(1);
    other_port.destination_port = 444;
    EXPECT_EQ(this->instance.fate(other_port.build()), "punted");
    // A reply to this host's own health check comes from a backend's endpoint.
    EXPECT_EQ(this->instance.fate(packet(TypeParam::backends()[0], TypeParam::own).build()), "punted");
    this->instance.allow_punt(false);
    EXPECT_EQ(this->instance.fate(other_port.build()), "punt_refused");
    this->instance.expect_conservation();
}

TYPED_TEST(WorkerOf, EveryWayOutHasItsReason) {
    Packet p = this->request(1);
    p.hop_limit = 1;
    EXPECT_EQ(this->instance.fate(p.build()), "hop_limit_exceeded");
    this->instance.port().limit_transmit(0);
    EXPECT_EQ(this->instance.fate(this->request(1).build()), "transmit_refused");
    this->instance.port().limit_transmit(1000);
    for (auto& b : this->instance.services()[0].backends) b.weight = 0;
    this->instance.publish();
    EXPECT_EQ(this->instance.fate(this->opening(99).build()), "no_backend");
    this->instance.expect_conservation();
}

TYPED_TEST(WorkerOf, BackendsAreCountedInBothDirections) {
    const Seen there = this->instance.forward(this->request(1));
    this->instance.forward(this->reply(there));
    this->instance.forward(this->reply(there));
    std::uint64_t packets = 0;
    std::uint64_t replies = 0;
    for (const auto& counters : this->instance.state().backends(WorkerIndex(0))) {
        packets += counters.forth.packets.read();
        replies += counters.back.packets.read();
    }
    EXPECT_EQ(packets, 1U);
    EXPECT_EQ(replies, 2U);
}

TYPED_TEST(WorkerOf, FlowsAreForgottenAfterTheirTime) {
    const Packet datagram = this->request(5, Protocol::udp);
    const Seen first = this->instance.forward(datagram);
    // The table no longer gives this backend to the flow.
    this->backend_of(this->instance, first).weight = 0;
    this->instance.publish();
    this->instance.clock.advance(Duration::seconds(59));
    EXPECT_EQ(this->instance.forward(datagram).to(), first.to());
    this->instance.clock.advance(Duration::seconds(61));
    EXPECT_NE(this->instance.forward(datagram).to(), first.to());
}

TYPED_TEST(WorkerOf, HandshakesAreForgottenSoonerThanConnections) {
    const Seen opened = this->instance.forward(this->opening(1));
    const Seen connected = this->instance.forward(this->opening(2));
    this->instance.forward(this->request(2));
    for (auto& b : this->instance.services()[0].backends) {
        if (b.address == opened.destination || b.address == connected.destination) b.weight = 0;
    }
    this->instance.publish();
    this->instance.clock.advance(Duration::seconds(11));
    EXPECT_NE(this->instance.forward(this->request(1)).to(), opened.to());
    EXPECT_EQ(this->instance.forward(this->request(2)).to(), connected.to());
}

TYPED_TEST(WorkerOf, ServicesWithoutFlowsAreDerivedBothWays) {
    auto service = make_service("dns", {std::string(TypeParam::vip) + "/udp"}, TypeParam::backends());
    service.flows = false;
    Instance own{{service}};
    for (std::uint32_t n = 0; n < 100; ++n) {
        const Seen there = own.forward(this->request(n, Protocol::udp));
        EXPECT_EQ(own.forward(this->reply(there)).from(), TypeParam::vip);
    }
    EXPECT_EQ(own.state().workers()[0].flows_inserted.read(), 0U);
}

// Two, four and eight workers: the directions of every flow on different workers, in any order.
TYPED_TEST(WorkerOf, WorkersThatSeeHalfAFlowAgree) {
    for (const auto workers : std::array<std::uint16_t, 3>{2, 4, 8}) {
        Instance own{web(TypeParam::vip, TypeParam::backends()), workers};
        Random random(workers);
        std::vector<Seen> flows;
        for (std::uint32_t n = 0; n < 200; ++n) flows.push_back(own.forward(this->opening(n), n % workers));
        // Now the table would choose otherwise: only the flow tables know.
        auto& backends = own.services()[0].backends;
        backends[0].weight = 1;
        backends[1].weight = 1000;
        backends[2].weight = 10;
        own.publish();
        for (int step = 0; step < 4000; ++step) {
            const auto n = static_cast<std::uint32_t>(random.below(flows.size()));
            const std::size_t worker = random.below(workers);
            if (random.below(2)) {
                ASSERT_EQ(own.forward(this->request(n), worker).to(), flows[n].to());
            } else {
                const Seen back = own.forward(this->reply(flows[n]), worker);
                ASSERT_EQ(back.from(), TypeParam::vip);
                ASSERT_TRUE(back.checksums_right);
            }
        }
        own.expect_conservation();
    }
}

TYPED_TEST(WorkerOf, TheLookAsideHasABudgetPerBurstThatIsSavedUp) {
    using Budget = dataplane::LookAsideBudget;
    Instance own{web(TypeParam::vip, TypeParam::backends()), 2};
    std::uint32_t next = 0;
    const auto burst_of_strangers = [&](Protocol protocol) {
        std::vector<Bytes> packets;
        for (std::size_t n = 0; n < dataplane::burst_size; ++n)
            packets.push_back(this->request(next++, protocol).build());
        return own.burst(packets).sent.size();
    };
    // As after a takeover: many bursts on end, before it comes to what each gets.
    std::uint32_t whole = 0;
    while (burst_of_strangers(Protocol::tcp) == dataplane::burst_size) ++whole;
    EXPECT_GE(whole, Budget::most / dataplane::burst_size);
    EXPECT_EQ(own.drops(DropReason::look_aside_busy), dataplane::burst_size - Budget::per_burst);
    EXPECT_EQ(burst_of_strangers(Protocol::tcp), Budget::per_burst);
    // Datagrams beyond it go by the table, unremembered: another worker may know better.
    const auto before = own.state().workers()[0].flows_inserted.read();
    EXPECT_EQ(burst_of_strangers(Protocol::udp), dataplane::burst_size);
    EXPECT_EQ(own.state().workers()[0].flows_inserted.read() - before, Budget::per_burst);
    const std::uint32_t known = next - 1;
    own.forward(this->opening(known));
    for (std::uint32_t n = 0; n < Budget::most / Budget::per_burst; ++n) own.forward(this->request(known));
    std::uint32_t again = 0;
    while (burst_of_strangers(Protocol::tcp) == dataplane::burst_size) ++again;
    EXPECT_EQ(again, whole);
    own.expect_conservation();
}

TYPED_TEST(WorkerOf, WhenTheTableIsFullFlowsGoByTheTable) {
    Instance own{web(TypeParam::vip, TypeParam::backends()), 1, 2};
    std::map<std::uint32_t, std::string> flows;
    for (std::uint32_t n = 0; n < 100; ++n) flows[n] = own.forward(this->request(n)).to();
    for (const auto& [n, backend] : flows) EXPECT_EQ(own.forward(this->request(n)).to(), backend);
    EXPECT_GT(own.state().workers()[0].flows_not_remembered.read(), 0U);
    EXPECT_EQ(own.state().workers()[0].flows_evicted.read(), 0U);
}

// The kernel can route to a backend that the packet names, not to one that only its link address would name.
TEST(Worker, WithoutALinkAddressThePacketIsTheKernelsIfItNamesTheBackend) {
    for (const auto& traits : forwarding_modes) {
        config::DesiredState state;
        state.node.source = {*IpAddress::parse("198.18.1.2")};
        state.dataplane.ports.emplace_back().name = "lan0";
        state.services = {make_service("web", {V4::vip + std::string("/tcp")}, {"198.18.2.11"})};
        state.services[0].mode = traits.mode;
        Instance instance{state};
        instance.add_neighbours("198.18.2.0/24");
        const bool names_backend = traits.translates || traits.encapsulates || traits.needs_dscp;
        EXPECT_EQ(instance.fate(packet(V4::client(1), V4::vip).build()), names_backend ? "punted" : "link_unknown");
        instance.expect_conservation();
    }
}

TEST(Worker, WithoutARouteThePacketIsDropped) {
    config::DesiredState state;
    state.dataplane.ports.emplace_back().name = "lan0";
    state.services = web(V4::vip, V4::backends());
    Instance instance{state};
    EXPECT_EQ(instance.fate(packet(V4::client(1), V4::vip).build()), "no_route");
    instance.expect_conservation();
}

TEST(Worker, SourcesThatCannotBeAreDropped) {
    Instance four{web(V4::vip, V4::backends())};
    for (const char* source : {"224.0.0.1", "127.0.0.1", "0.0.0.0", "255.255.255.255"}) {
        Packet p = packet(V4::client(1), V4::vip);
        p.source = *IpAddress::parse(source);
        EXPECT_EQ(four.fate(p.build()), "source_invalid") << source;
    }
    Instance six{web(V6::vip, V6::backends())};
    for (const char* source : {"::", "::1", "ff02::1"}) {
        Packet p = packet(V6::client(1), V6::vip);
        p.source = *IpAddress::parse(source);
        EXPECT_EQ(six.fate(p.build()), "source_invalid") << source;
    }
}

TEST(Worker, AUdpChecksumOfZeroStaysZero) {
    Instance instance{web(V4::vip, V4::backends())};
    Packet p = packet(V4::client(1), V4::vip, Protocol::udp);
    p.udp_checksum = false;
    const auto output = instance.burst({p.build()});
    ASSERT_EQ(output.sent.size(), 1U);
    EXPECT_EQ(output.sent[0][40], std::byte{0});
    EXPECT_EQ(output.sent[0][41], std::byte{0});
}

TEST(Worker, AWrongTransportChecksumStaysWrong) {
    Instance instance{web(V4::vip, V4::backends())};
    Bytes bytes = packet(V4::client(1), V4::vip).build();
    bytes.back() ^= std::byte{1};
    const auto output = instance.burst({bytes});
    ASSERT_EQ(output.sent.size(), 1U);
    EXPECT_FALSE(read(output.sent[0]).checksums_right);
}

// Both families and protocols, thousands of random packets, damaged ones among them: each counted once.
TEST(Worker, NothingIsLostOrCountedTwice) {
    auto service = make_service("web", {"198.18.0.10:443/tcp", "198.18.0.10:443/udp", "[2001:db8::10]:443/tcp"},
                                {"198.18.2.11", "198.18.2.12", "2001:db8:2::11"});
    Instance instance{{service}, 2};
    Random random(3);
    std::uint64_t injected = 0;
    for (int round = 0; round < 2000; ++round) {
        std::vector<Bytes> packets;
        for (std::uint64_t i = random.below(dataplane::burst_size); i > 0; --i) {
            const auto n = static_cast<std::uint32_t>(random.below(500));
            Bytes bytes = random.below(2)
                              ? packet(V4::client(n), V4::vip, random.below(2) ? Protocol::tcp : Protocol::udp).build()
                              : packet(V6::client(n), V6::vip).build();
            if (random.below(4) == 0) bytes.resize(random.below(bytes.size()));
            if (random.below(4) == 0 && !bytes.empty())
                bytes[random.below(bytes.size())] = static_cast<std::byte>(random());
            packets.push_back(std::move(bytes));
        }
        injected += packets.size();
        instance.burst(packets, random.below(2));
    }
    std::uint64_t received = 0;
    for (const auto& worker : instance.state().workers()) received += worker.received.read();
    EXPECT_EQ(received, injected);
    instance.expect_conservation();
}

}  // namespace
}  // namespace shunt::test
