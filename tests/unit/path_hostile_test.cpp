// Packets made to mislead, and coincidences that an attacker may wait for: what must not happen.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/support/path_families.h"

namespace shunt::test {
namespace {

using shm::DropReason;

// An ICMP error that quotes nothing but an IP header of protocol 0 = any_protocol.
Bytes quoted_v4(std::uint8_t protocol, const char* from, const char* to) {
    Ipv4Header ip{};
    ip.version_and_length = 0x45;
    ip.total_length = Be16(20);
    ip.protocol = protocol;
    ip.source = IpAddress::parse(from)->as_v4();
    ip.destination = IpAddress::parse(to)->as_v4();
    ip.hop_limit = 9;
    Bytes quote(20);
    std::memcpy(quote.data(), &ip, 20);
    return quote;
}

IpAddress read_destination(const Bytes& frame) {
    const bool v4 = frame[12] == std::byte{0x08};
    return v4 ? IpAddress::load_v4(frame.data() + 30) : IpAddress::load_v6(frame.data() + 38);
}

TEST(Hostile, AnErrorThatQuotesProtocolZeroIsNoServices) {
    Instance instance{web(V4::vip, V4::backends())};
    IcmpError error;
    error.source = *IpAddress::parse("203.0.113.254");
    error.destination = *IpAddress::parse("198.18.0.10");
    error.type = 3;
    error.quote = quoted_v4(0, "198.18.0.10", "203.0.113.7");
    // Nothing behind the packet is touched either: the port has the address sanitizer watch that.
    EXPECT_EQ(instance.fate(error.build()), "punted");
    instance.expect_conservation();
}

TEST(Hostile, TheSameForAnErrorAboutARequest) {
    Instance instance{web(V4::vip, V4::backends())};
    IcmpError error;
    error.source = *IpAddress::parse("198.18.2.254");
    error.destination = *IpAddress::parse("203.0.113.7");
    error.type = 3;
    error.quote = quoted_v4(0, "203.0.113.7", "198.18.2.11");
    EXPECT_EQ(instance.fate(error.build()), "punted");
}

TEST(Hostile, AnErrorThatQuotesNineHopByHopHeadersIsNoServices) {
    Instance instance{web(V6::vip, V6::backends())};
    IcmpError error;
    error.source = *IpAddress::parse("2001:db8:ffff::1");
    error.destination = *IpAddress::parse("2001:db8::10");
    error.type = 1;
    Ipv6Header ip{};
    ip.version_class_label = Be32(6U << 28);
    ip.payload_length = Be16(64);
    ip.next_header = 0;
    ip.source = error.destination.bytes();
    ip.destination = IpAddress::parse("2001:db8:cafe::1")->bytes();
    error.quote.resize(40 + 64);
    std::memcpy(error.quote.data(), &ip, 40);
    EXPECT_EQ(instance.fate(error.build()), "punted");
}

// Two flows use the same identification (every socket counts for itself) within two seconds.
template <class F>
class HostileOf : public testing::Test {};
TYPED_TEST_SUITE(HostileOf, Families);
TYPED_TEST(HostileOf, LaterFragmentsFollowTheFirstOfTheirOwnDatagram) {
    using F = TypeParam;
    Instance instance{web(F::vip, F::backends())};
    const auto at = *parse_address_and_port(F::client(1));
    const auto pieces = [&](std::uint16_t port) {
        Packet p = packet(address_and_port(at.address, port), F::vip, Protocol::udp);
        p.payload.assign(2000, 'x');
        return fragments_of(p.build(), 1400, 77);
    };
    // To which backends these fragments, sent in one burst, go.
    const auto backends_of = [&](const std::vector<Bytes>& packets) {
        std::set<IpAddress> seen;
        auto out = instance.burst(packets).sent;
        for (int i = 0; i < 3; ++i) std::ranges::move(instance.burst({}).sent, std::back_inserter(out));
        EXPECT_EQ(out.size(), packets.size());
        for (const Bytes& b : out) seen.insert(read_destination(b));
        return seen.size();
    };
    int split = 0;
    for (std::uint16_t port = 5000; port < 5040; ++port) split += backends_of(pieces(port)) != 1;
    EXPECT_EQ(split, 0) << "of 40 datagrams arrived at two backends";
}

// Worker 1 read the clock a moment before worker 0 did, on the other side of a quarter second.
TYPED_TEST(HostileOf, AFlowThatAnotherWorkerSawAMomentLaterIsNotExpired) {
    using F = TypeParam;
    Instance instance{web(F::vip, F::backends()), 2};
    const Instant before = instance.clock.now();
    instance.clock.advance(Duration::milliseconds(250));
    const Seen there = instance.forward(packet(F::client(1), F::vip));
    for (auto& b : instance.services()[0].backends) b.weight = b.address == there.destination ? 0 : 1;
    instance.publish();
    instance.clock.set(before + Duration::milliseconds(249));
    EXPECT_EQ(instance.forward(packet(F::client(1), F::vip), 1).to(), there.to()) << "a live connection moved";
    EXPECT_EQ(instance.state().workers()[1].flows_copied.read(), 1U);
}

TEST(Hostile, PiecesThatArePuntedAreNotForwarded) {
    config::DesiredState state;
    state.dataplane.ports.emplace_back().name = "lan0";
    state.dataplane.ports[0].mtu = 600;
    state.services = {make_service("web", {V4::vip + std::string("/udp")}, {"198.18.2.11"})};
    Instance instance{state};
    instance.add_neighbours("198.18.2.0/24");  // whose link addresses are not known yet
    Packet p = packet(V4::client(1), V4::vip, Protocol::udp);
    p.payload.assign(1400, 'x');
    const auto output = instance.burst({p.build()});
    EXPECT_EQ(read(reassembled(output.punted)).payload, p.payload);
    const auto& worker = instance.state().workers()[0];
    EXPECT_EQ(worker.forwarded.read(), 0U);
    EXPECT_EQ(worker.punted.read(), 1U);
    instance.expect_conservation();
}

std::unique_ptr<Instance> tunnel(const std::string& vip, const std::string& backend) {
    auto service = make_service("web", {vip + "/tcp", vip + "/udp"}, {backend});
    service.mode = ForwardingMode::ipip;
    auto instance = std::make_unique<Instance>(std::vector<config::Service>{});
    instance->desired().node.source = {*IpAddress::parse("198.18.1.2"), *IpAddress::parse("2001:db8:1::2")};
    instance->services() = {service};
    instance->publish();
    return instance;
}

// RFC 8200 section 5, RFC 2473 section 7.1: what has 1280 bytes must get through.
TEST(Hostile, AnIpv6PacketOf1280BytesPassesEveryTunnel) {
    auto instance = tunnel("[2001:db8::10]:443", "198.18.2.11");
    IcmpError forged;
    forged.source = *IpAddress::parse("203.0.113.66");
    forged.destination = *IpAddress::parse("198.18.1.2");
    forged.type = 3;
    forged.code = 4;
    forged.rest = 0;
    forged.quote = quoted_v4(17, "198.18.1.2", "198.18.2.11");  // another protocol than the tunnel's
    forged.quote.resize(28);
    EXPECT_EQ(instance->fate(forged.build()), "punted");
    instance->hear_news();
    Packet p = packet("[2001:db8:cafe::1]:1024", "[2001:db8::10]:443");
    p.payload.assign(1280 - 60, 'x');
    Bytes sent;
    EXPECT_EQ(instance->fate(p.build(), 0, &sent), "forwarded");
    EXPECT_EQ(sent.size(), 14U + 1280 + 20);
}

// RFC 1122 section 3.2.2, RFC 1812 section 5.3.4.
TEST(Hostile, NothingIsForwardedOrAnsweredThatCameAsALinkLayerBroadcast) {
    Instance instance{web(V4::vip, V4::backends())};
    Packet p = packet(V4::client(1), V4::vip);
    p.mac_destination = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    EXPECT_NE(instance.fate(p.build()), "forwarded");
    p.hop_limit = 1;
    EXPECT_TRUE(instance.burst({p.build()}).sent.empty()) << "answered";
}

TEST(Hostile, TracingDoesNotKeepSendersFromLearningThePathMtu) {
    Instance instance{web(V4::vip, V4::backends())};
    instance.set_mtu(1400);
    instance.publish();
    Packet trace = packet(V4::client(1), V4::vip);
    trace.hop_limit = 1;
    for (int i = 0; i < 100; ++i) instance.burst({trace.build()});
    Packet p = packet(V4::client(2), V4::vip);
    p.fragment = ipv4_dont_fragment;
    p.payload.assign(1450, 'x');
    EXPECT_EQ(instance.burst({p.build()}).sent.size(), 1U);
}

// RFC 4291 section 2.5.6, RFC 3927 section 7: routers do not forward these; and the VIP itself sends nothing.
TEST(Hostile, SourcesThatNoRouterForwards) {
    Instance six{web(V6::vip, V6::backends())};
    for (const char* source : {"fe80::1", "2001:db8::10"}) {
        Packet p = packet(V6::client(1), V6::vip);
        p.source = *IpAddress::parse(source);
        EXPECT_EQ(six.fate(p.build()), "source_invalid") << source;
    }
    Instance four{web(V4::vip, V4::backends())};
    for (const char* source : {"169.254.1.1", "198.18.0.10"}) {
        Packet p = packet(V4::client(1), V4::vip);
        p.source = *IpAddress::parse(source);
        EXPECT_EQ(four.fate(p.build()), "source_invalid") << source;
    }
}

// A flood through one worker leaves room for what others hand over.
TEST(Hostile, OneWorkersFragmentsDoNotStarveAnothers) {
    Instance many{web(V4::vip, V4::backends()), 3, 4096};
    // Worker 2 is home; find identifications that live there.
    const auto first = [&](std::uint32_t client, std::uint32_t id) {
        Packet p = packet(V4::client(client), V4::vip, Protocol::udp);
        p.payload.assign(2000, 'x');
        return fragments_of(p.build(), 1400, id)[0];
    };
    const auto& seed = many.state().header().flow_seed;
    std::vector<Bytes> at_home;
    for (std::uint32_t id = 1; at_home.size() < 120; ++id) {
        const dataplane::DatagramKey key{parse_address_and_port(V4::client(1))->address,
                                         parse_address_and_port(V4::vip)->address, id, 17};
        if (scale_hash(key.hash(seed), 3) == 2) at_home.push_back(first(1, id));
    }
    many.burst({at_home[100]}, 1);
    std::size_t next = 0;
    bool seen = false;
    for (int turn = 0; turn < 3 && !seen; ++turn) {
        // Worker 0 hands over a full burst between any two polls of worker 2.
        std::vector<Bytes> flood(at_home.begin() + static_cast<std::ptrdiff_t>(next),
                                 at_home.begin() + static_cast<std::ptrdiff_t>(next + 32));
        next += 32;
        many.burst(flood, 0);
        const auto out = many.burst({}, 2);
        for (const Bytes& b : out.sent) seen |= std::equal(b.begin() + 18, b.begin() + 20, at_home[100].begin() + 18);
    }
    EXPECT_TRUE(seen) << "worker 1's ring is not looked at while worker 0's is full";
    many.settle();
}

// Protocol 51 is no extension header of IPv4: what a later fragment of it is for, nobody needs to wait to learn.
TEST(Hostile, LaterFragmentsOfOtherProtocolsArePuntedAtOnce) {
    Instance instance{web(V4::vip, V4::backends())};
    Packet p = packet(V4::client(1), V4::vip, Protocol::udp);
    p.protocol = static_cast<Protocol>(51);
    p.fragment = 100;
    EXPECT_EQ(instance.fate(p.build()), "punted");
    instance.settle();
}

// A SYN is short; what it announces is not.
TEST(Hostile, SegmentsFitThePathMtuThatWasLearnt) {
    auto instance = tunnel("198.18.0.10:443", "198.18.2.11");
    dataplane::PathMtus mtus(instance->state().path_mtus(), instance->state().header().path_mtus_known);
    mtus.lower(*IpAddress::parse("198.18.2.11"), 1300, Tick::at(instance->clock.now()));
    Packet p = packet(V4::client(1), V4::vip);
    p.tcp_flags = tcp_syn;
    p.payload = std::string("\x02\x04\x05\xb4", 4);
    Bytes syn = p.build();
    syn[14 + 20 + 12] = std::byte{6 << 4};  // the option is part of the header
    Bytes sent;
    ASSERT_EQ(instance->fate(syn, 0, &sent), "forwarded");
    EXPECT_EQ(std::to_integer<int>(sent[14 + 20 + 40 + 2]) << 8 | std::to_integer<int>(sent[14 + 20 + 40 + 3]),
              1300 - 20 - 40);
}

}  // namespace
}  // namespace shunt::test
