// shunt-decap's program as the kernel runs it: frames go through BPF_PROG_TEST_RUN, on an interface of a network
// namespace of the test's own. Needs root.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/decap/decap.h"
#include "dataplane/xdp/steering.h"
#include "src/base/random.h"
#include "src/net/checksum.h"
#include "tests/support/network_namespace.h"
#include "tests/support/packets.h"

namespace shunt::dataplane::decap {
namespace {

using test::Bytes;
using test::NetworkNamespace;

constexpr std::size_t ip_at = sizeof(EthernetHeader);
constexpr std::uint8_t ce = 3, not_ect = 0;
constexpr std::uint16_t usual_gue_port = 6080;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

struct Hosts {
    IpAddress balancer, stranger, backend, neighbour;  // outer addresses; the neighbour is behind the backend
    const char *client, *vip, *at_backend;             // of the packet inside
};
const Hosts& hosts(Family family) {
    static const Hosts v4{address("198.18.1.11"), address("198.18.1.12"), address("198.18.2.11"), address("198.18.3.1"),
                          "203.0.113.7:40000",    "198.18.0.10:443",      "198.18.2.11:443"};
    static const Hosts v6{address("2001:db8:1::11"), address("2001:db8:1::12"), address("2001:db8:2::11"),
                          address("2001:db8:3::1"),  "[2001:db8:c::7]:40000",   "[2001:db8::10]:443",
                          "[2001:db8:2::11]:443"};
    return family == Family::ipv4 ? v4 : v6;
}

Bytes operator+(Bytes front, const Bytes& back) {
    front.insert(front.end(), back.begin(), back.end());
    return front;
}
Bytes bytes_of(std::initializer_list<unsigned> values) {
    Bytes bytes;
    for (const unsigned value : values) bytes.push_back(static_cast<std::byte>(value));
    return bytes;
}
Bytes be16(std::size_t value) {
    return bytes_of({static_cast<unsigned>(value >> 8), static_cast<unsigned>(value & 0xff)});
}
Bytes from(const Bytes& bytes, std::size_t begin) {
    return {bytes.begin() + static_cast<std::ptrdiff_t>(begin), bytes.end()};
}
template <class Header>
Header& header(Bytes& frame, std::size_t at = ip_at) {
    return *reinterpret_cast<Header*>(frame.data() + at);
}

bool is_v4(const Bytes& frame) { return frame[12] == std::byte{0x08}; }

void finish_ipv4(Bytes& frame) {
    auto& ip = header<Ipv4Header>(frame);
    ip.checksum = 0;
    ip.checksum = internet_checksum(&ip, std::size_t{4} * (ip.version_and_length & 15));
}

Bytes with_class(Bytes frame, std::uint8_t traffic_class) {
    if (is_v4(frame)) {
        header<Ipv4Header>(frame).dscp_and_ecn = traffic_class;
        finish_ipv4(frame);
    } else {
        auto& word = header<Ipv6Header>(frame).version_class_label;
        word = Be32((word.host() & 0xf00fffff) | static_cast<std::uint32_t>(traffic_class) << 20);
    }
    return frame;
}

// An IP packet around `payload`, with the Ethernet header of the frame that it came from.
Bytes outer(const IpAddress& source, const IpAddress& destination, std::uint8_t protocol, const Bytes& payload) {
    auto shell = test::packet(source.is_v4() ? "198.18.0.1:1" : "[2001:db8::1]:1",
                              source.is_v4() ? "198.18.0.2:2" : "[2001:db8::2]:2", Protocol::udp);
    shell.source = source;
    shell.destination = destination;
    Bytes frame = shell.build();
    frame.resize(ip_at + (source.is_v4() ? sizeof(Ipv4Header) : sizeof(Ipv6Header)));
    if (source.is_v4()) {
        auto& ip = header<Ipv4Header>(frame);
        ip.protocol = protocol;
        ip.total_length = Be16(static_cast<std::uint16_t>(sizeof ip + payload.size()));
        finish_ipv4(frame);
    } else {
        auto& ip = header<Ipv6Header>(frame);
        ip.next_header = protocol;
        ip.payload_length = Be16(static_cast<std::uint16_t>(payload.size()));
    }
    return frame + payload;
}

// What the balancer puts between the outer IP header and the packet.
struct Tunnel {
    ForwardingMode mode{};
    bool key{};
    std::uint16_t port{usual_gue_port};

    std::uint8_t protocol(bool inner_is_v4) const {
        if (mode == ForwardingMode::gre) return 47;
        if (mode == ForwardingMode::gue) return 17;
        return inner_is_v4 ? 4 : 41;
    }
    Bytes head(bool inner_is_v4, std::size_t length) const {
        if (mode == ForwardingMode::gre) {
            const Bytes start = bytes_of({key ? 0x20U : 0U, 0}) + be16(inner_is_v4 ? 0x0800 : 0x86dd);
            return key ? start + bytes_of({0, 0, 0, 7}) : start;
        }
        if (mode != ForwardingMode::gue) return {};
        return be16(0xc123) + be16(port) + be16(12 + length) + be16(0) + bytes_of({0, inner_is_v4 ? 4U : 41U, 0, 0});
    }
};

struct Case {
    Tunnel tunnel;
    Family outside, inside;
};

std::vector<Case> cases() {
    std::vector<Case> all;
    for (const Family outside : {Family::ipv4, Family::ipv6}) {
        for (const Family inside : {Family::ipv4, Family::ipv6}) {
            for (const auto& tunnel :
                 {Tunnel{ForwardingMode::ipip}, Tunnel{ForwardingMode::gre}, Tunnel{ForwardingMode::gre, true},
                  Tunnel{ForwardingMode::gue}, Tunnel{ForwardingMode::gue, false, 7777}}) {
                all.push_back({tunnel, outside, inside});
            }
        }
    }
    return all;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
    const auto& c = info.param;
    const auto number = [](Family family) { return family == Family::ipv4 ? "4" : "6"; };
    return std::string(to_string(c.tunnel.mode)) + (c.tunnel.key ? "key" : "") +
           (c.tunnel.port != usual_gue_port ? "port" : "") + number(c.inside) + "in" + number(c.outside);
}

struct Outcome {
    std::uint32_t action{};
    Bytes frame;
    bool operator==(const Outcome&) const = default;
};
Outcome passed(const Bytes& frame) { return {XDP_PASS, frame}; }

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
    out << "action " << outcome.action << ", " << outcome.frame.size() << " bytes";
    return out;
}

// The backend: a host that forwards, so that only what is addressed to it is its own.
class Backend {
  public:
    Backend() {
        NetworkNamespace::run(
            "sysctl -qw net.ipv6.conf.default.accept_dad=0 && ip link add v0 type veth peer name v1 && "
            "ip link set v0 up && ip link set v1 up && ip addr add 198.18.2.11/24 dev v0 && "
            "ip addr add 2001:db8:2::11/64 dev v0 nodad && ip route add default via 198.18.2.1 && "
            "ip route add default via 2001:db8:2::1 && "
            "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
        interface_ = *xdp::find_interface("v0");
    }

    void place(const Settings& settings) {
        const auto placed = decap::place(interface_, settings);
        ASSERT_TRUE(placed) << placed.error().text();
        program_ = *xdp::attached_program(interface_);
    }

    // A frame that arrives at the interface.
    Outcome receive(const Bytes& frame) const {
        xdp_md context{};
        context.data_end = static_cast<std::uint32_t>(frame.size());
        context.ingress_ifindex = static_cast<std::uint32_t>(interface_.index);
        std::array<std::byte, 4096> out{};
        LIBBPF_OPTS(bpf_test_run_opts, options);
        options.data_in = frame.data();
        options.data_size_in = static_cast<std::uint32_t>(frame.size());
        options.data_out = out.data();
        options.data_size_out = out.size();
        options.ctx_in = &context;
        options.ctx_size_in = sizeof context;
        EXPECT_EQ(bpf_prog_test_run_opts(program_.descriptor.get(), &options), 0) << std::strerror(errno);
        return {options.retval, Bytes(out.begin(), out.begin() + options.data_size_out)};
    }

    const xdp::Interface& interface() const { return interface_; }

  private:
    NetworkNamespace namespace_;
    xdp::Interface interface_;
    xdp::Program program_;
};

class DecapTunnel : public testing::TestWithParam<Case> {
  protected:
    void SetUp() override {
        const auto& tunnel = GetParam().tunnel;
        backend_.place(
            {.mode = tunnel.mode,
             .port = tunnel.port,
             .sources = {Prefix{hosts(Family::ipv4).balancer, 32}, Prefix{hosts(Family::ipv6).balancer, 128}},
             .vips = {}});
    }

    Bytes inner(Protocol protocol = Protocol::tcp) const {
        const auto& h = hosts(GetParam().inside);
        return test::packet(h.client, h.vip, protocol).build();
    }
    Bytes wrapped(const Bytes& inside, const IpAddress& source, const IpAddress& destination) const {
        const auto& tunnel = GetParam().tunnel;
        const Bytes packet = from(inside, ip_at);
        return outer(source, destination, tunnel.protocol(is_v4(inside)),
                     tunnel.head(is_v4(inside), packet.size()) + packet);
    }
    Bytes wrapped(const Bytes& inside) const {
        const auto& h = hosts(GetParam().outside);
        return wrapped(inside, h.balancer, h.backend);
    }
    std::size_t transport_at() const {
        return ip_at + (GetParam().outside == Family::ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header));
    }

    Backend backend_;
};

TEST_P(DecapTunnel, TheInnerPacketIsAsItWas) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const Bytes packet = inner(protocol);
        EXPECT_EQ(backend_.receive(wrapped(packet)), passed(packet));
        const Bytes padded = wrapped(packet) + Bytes(9);
        EXPECT_EQ(backend_.receive(padded), passed(packet + Bytes(9)));
        for (const Bytes& piece : test::fragments_of(packet, 16)) {
            EXPECT_EQ(backend_.receive(wrapped(piece)), passed(piece));
        }
    }
    const auto report = decap::report(backend_.interface());
    ASSERT_TRUE(report && *report);
    EXPECT_EQ((*report)->mode, xdp::Mode::native);
    EXPECT_GE((*report)->undone, 4U);
    EXPECT_EQ((*report)->congested, 0U);
}

TEST_P(DecapTunnel, OnlyFromTheConfiguredSourcesToThisHost) {
    const auto& h = hosts(GetParam().outside);
    for (const Bytes& frame : {wrapped(inner(), h.stranger, h.backend), wrapped(inner(), h.balancer, h.neighbour),
                               wrapped(inner(), h.backend, h.balancer), inner()}) {
        EXPECT_EQ(backend_.receive(frame), passed(frame));
    }
    NetworkNamespace::run("sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0");
    EXPECT_EQ(backend_.receive(wrapped(inner(), h.balancer, h.backend)), passed(inner()));
}

// RFC 6040, figure 4; rows are the inner, columns the outer: Not-ECT, ECT(1), ECT(0), CE.
TEST_P(DecapTunnel, CongestionMarksComeThrough) {
    constexpr std::uint8_t dropped = 0xff;
    constexpr std::uint8_t becomes[4][4] = {{0, 0, 0, dropped}, {1, 1, 1, 3}, {2, 1, 2, 3}, {3, 3, 3, 3}};
    std::uint64_t drops = 0;
    for (std::uint8_t in = 0; in < 4; ++in) {
        for (std::uint8_t out = 0; out < 4; ++out) {
            const auto dscp = static_cast<std::uint8_t>(0xb8);
            const Bytes packet = with_class(inner(), dscp | in);
            const Outcome outcome = backend_.receive(with_class(wrapped(packet), 0x48 | out));
            if (becomes[in][out] == dropped) {
                EXPECT_EQ(outcome.action, XDP_DROP);
                ++drops;
            } else {
                EXPECT_EQ(outcome, passed(with_class(packet, dscp | becomes[in][out]))) << int{in} << int{out};
            }
        }
    }
    EXPECT_EQ((*decap::report(backend_.interface()))->congested, drops);
    EXPECT_EQ(drops, 1U);
}

TEST_P(DecapTunnel, WhatIsCutShortPassesAsItCame) {
    const Bytes packet = inner(), frame = wrapped(packet);
    const std::size_t inner_at = frame.size() - (packet.size() - ip_at);
    const std::size_t ip_header = GetParam().inside == Family::ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    for (std::size_t length = ip_at; length < frame.size(); ++length) {
        const Bytes cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
        // Whether the rest of the inner packet is there is for the kernel to find out, as of any packet.
        const bool undone = length >= inner_at + ip_header;
        const Bytes rest = from(cut, undone ? inner_at - ip_at : 0);
        const Outcome outcome = backend_.receive(cut);
        EXPECT_EQ(outcome.action, XDP_PASS);
        EXPECT_EQ(from(outcome.frame, ip_at), from(rest, ip_at)) << length;
    }
}

TEST_P(DecapTunnel, WhatIsMalformedPassesAsItCame) {
    const Bytes good = wrapped(inner());
    std::vector<Bytes> all;
    const auto spoil = [&](std::size_t at, unsigned value) {
        Bytes frame = good;
        frame[at] = static_cast<std::byte>(value);
        all.push_back(frame);
    };
    const std::size_t inner_at = good.size() - (inner().size() - ip_at);
    spoil(12, 0x81);  // a tag, ARP, anything
    spoil(ip_at, GetParam().outside == Family::ipv4 ? 0x55 : 0x50);
    spoil(inner_at, GetParam().inside == Family::ipv4 ? 0x65 : 0x40);
    if (GetParam().inside == Family::ipv4) spoil(inner_at, 0x44);
    spoil(inner_at + (GetParam().inside == Family::ipv4 ? 2 : 4), 0x08);  // longer than the outer packet
    if (GetParam().outside == Family::ipv4) {
        spoil(ip_at + 6, 0x20);  // a fragment
        spoil(ip_at + 7, 0x01);
        spoil(ip_at + 3, 20);  // no room for an inner packet
    } else {
        spoil(ip_at + 5, 7);
        spoil(ip_at + 6, 44);
    }
    if (GetParam().tunnel.mode == ForwardingMode::gre) {
        for (const unsigned flags : {0x80U, 0x90U, 0x40U}) spoil(transport_at(), flags);
        spoil(transport_at() + 1, 1);     // version
        spoil(transport_at() + 3, 0x58);  // bridged Ethernet and others
    }
    if (GetParam().tunnel.mode == ForwardingMode::gue) {
        spoil(transport_at() + 2, 0x99);  // another port
        for (const unsigned first : {0x40U, 0x20U, 0x01U})
            spoil(transport_at() + 8, first);  // version, control, length
        spoil(transport_at() + 9, 17);
        spoil(transport_at() + 11, 1);
    }
    for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(backend_.receive(all[i]), passed(all[i])) << i;
}
INSTANTIATE_TEST_SUITE_P(All, DecapTunnel, testing::ValuesIn(cases()), name_of);

class DecapL3dsr : public testing::TestWithParam<Family> {
  protected:
    static constexpr std::uint8_t dscp = 10, other_dscp = 12, ect0 = 2;

    void SetUp() override {
        backend_.place({.mode = ForwardingMode::l3dsr,
                        .sources = {*Prefix::parse("203.0.113.0/24"), *Prefix::parse("2001:db8:c::/64")},
                        .vips = {{dscp, address("198.18.0.10")},
                                 {dscp, address("2001:db8::10")},
                                 {63, address("198.18.0.63")},
                                 {63, address("2001:db8::63")}}});
    }

    test::Packet packet(Protocol protocol, bool to_vip) const {
        const auto& h = hosts(GetParam());
        return test::packet(h.client, to_vip ? h.vip : h.at_backend, protocol);
    }
    static Bytes marked(const Bytes& frame, std::uint8_t with = dscp) {
        return with_class(frame, static_cast<std::uint8_t>(with << 2 | ect0));
    }
    // Both were computed in full: the one that the balancer's must be, the other what the client sent.
    void expect_undone(const Bytes& at_backend, const Bytes& at_vip) const {
        EXPECT_EQ(backend_.receive(marked(at_backend)), passed(with_class(at_vip, ect0)));
    }

    Backend backend_;
};

TEST_P(DecapL3dsr, TheVipComesBackByTheMark) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        auto at_backend = packet(protocol, false), at_vip = packet(protocol, true);
        expect_undone(at_backend.build(), at_vip.build());
        for (auto* p : {&at_backend, &at_vip}) p->payload = std::string(1333, 'x');
        expect_undone(at_backend.build(), at_vip.build());
        if (GetParam() == Family::ipv6) continue;
        for (auto* p : {&at_backend, &at_vip}) p->ipv4_options = 40;
        expect_undone(at_backend.build(), at_vip.build());
        for (auto* p : {&at_backend, &at_vip}) p->udp_checksum = false;
        expect_undone(at_backend.build(), at_vip.build());
    }
    EXPECT_EQ((*decap::report(backend_.interface()))->undone, GetParam() == Family::ipv4 ? 8U : 4U);
}

TEST_P(DecapL3dsr, AChecksumThatBecomesZeroIsWrittenAsOnes) {
    const auto checksum_of = [](Bytes frame) {
        return header<UdpHeader>(frame, frame.size() - sizeof(UdpHeader) - 2).checksum;
    };
    auto at_backend = packet(Protocol::udp, false), at_vip = packet(Protocol::udp, true);
    bool found = false;
    for (unsigned word = 0; word < 0x10000 && !found; ++word) {
        const std::string payload{static_cast<char>(word >> 8), static_cast<char>(word)};
        at_backend.payload = at_vip.payload = payload;
        found = checksum_of(at_vip.build()) == 0xffff;
    }
    ASSERT_TRUE(found);
    expect_undone(at_backend.build(), at_vip.build());
}

TEST_P(DecapL3dsr, FragmentsToo) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        auto at_backend = packet(protocol, false), at_vip = packet(protocol, true);
        for (auto* p : {&at_backend, &at_vip}) p->payload = std::string(100, 'x');
        const auto ours = test::fragments_of(at_backend.build(), 40), theirs = test::fragments_of(at_vip.build(), 40);
        ASSERT_GE(ours.size(), 3U);
        for (std::size_t i = 0; i < ours.size(); ++i) expect_undone(ours[i], theirs[i]);
    }
}

TEST_P(DecapL3dsr, IcmpErrorsToo) {
    const auto& h = hosts(GetParam());
    const Bytes quote = test::quote_of(test::packet(h.vip, h.client).build(), 60);
    test::IcmpError at_vip{.source = hosts(GetParam()).balancer,
                           .destination = test::packet(h.client, h.vip).destination,
                           .type = static_cast<std::uint8_t>(GetParam() == Family::ipv4 ? 3 : 2),
                           .code = 0,
                           .rest = 1400,
                           .quote = quote};
    at_vip.source = test::packet(h.client, h.vip).source;
    auto at_backend = at_vip;
    at_backend.destination = h.backend;
    expect_undone(at_backend.build(), at_vip.build());
    at_backend.type = GetParam() == Family::ipv4 ? 8 : 128;  // an echo request to the backend itself
    const Bytes echo = marked(at_backend.build());
    EXPECT_EQ(backend_.receive(echo), passed(echo));
}

TEST_P(DecapL3dsr, ExtensionHeadersAreWalked) {
    if (GetParam() == Family::ipv4) return;
    const auto extended = [](const Bytes& frame, const Bytes& headers, std::uint8_t first) {
        Bytes result(frame.begin(), frame.begin() + ip_at + sizeof(Ipv6Header));
        result = result + headers + from(frame, ip_at + sizeof(Ipv6Header));
        auto& ip = header<Ipv6Header>(result);
        ip.next_header = first;
        ip.payload_length = Be16(static_cast<std::uint16_t>(result.size() - ip_at - sizeof(Ipv6Header)));
        return result;
    };
    const Bytes at_backend = packet(Protocol::tcp, false).build(), at_vip = packet(Protocol::tcp, true).build();
    const Bytes options = bytes_of({6, 1}) + Bytes(14), authentication = bytes_of({6, 1}) + Bytes(10);
    expect_undone(extended(at_backend, options, 60), extended(at_vip, options, 60));
    expect_undone(extended(at_backend, authentication, 51), extended(at_vip, authentication, 51));
    Bytes chain;
    for (int i = 0; i < 7; ++i) chain = chain + bytes_of({60, 0}) + Bytes(6);
    expect_undone(extended(at_backend, chain + bytes_of({6, 0}) + Bytes(6), 60),
                  extended(at_vip, chain + bytes_of({6, 0}) + Bytes(6), 60));
    chain = chain + bytes_of({60, 0}) + Bytes(6);
    const Bytes longer = marked(extended(at_backend, chain + bytes_of({6, 0}) + Bytes(6), 60));
    EXPECT_EQ(backend_.receive(longer), passed(longer));
}

TEST_P(DecapL3dsr, WhatIsNotMeantPassesAsItCame) {
    const auto& h = hosts(GetParam());
    auto from_elsewhere = packet(Protocol::tcp, false), to_elsewhere = packet(Protocol::tcp, false);
    from_elsewhere.source = h.stranger;
    to_elsewhere.destination = h.neighbour;
    const Bytes good = packet(Protocol::tcp, false).build();
    Bytes other_protocol = good;
    other_protocol[ip_at + (GetParam() == Family::ipv4 ? 9 : 6)] = std::byte{132};
    for (const Bytes& frame : {marked(from_elsewhere.build()), marked(to_elsewhere.build()), marked(good, other_dscp),
                               with_class(good, 0), marked(other_protocol)}) {
        EXPECT_EQ(backend_.receive(frame), passed(frame));
    }
}

TEST_P(DecapL3dsr, WhatIsCutShortPassesAsItCame) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const Bytes whole = marked(packet(protocol, false).build());
        const std::size_t headers = whole.size() - packet(protocol, false).payload.size();
        for (std::size_t length = ip_at; length < headers; ++length) {
            const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
            EXPECT_EQ(backend_.receive(cut), passed(cut)) << length;
        }
        // The header says that the packet ends inside its transport header; what follows is padding.
        Bytes brief = whole;
        if (GetParam() == Family::ipv4) {
            header<Ipv4Header>(brief).total_length = Be16(27);
        } else {
            header<Ipv6Header>(brief).payload_length = Be16(7);
        }
        EXPECT_EQ(backend_.receive(brief), passed(brief));
    }
}
INSTANTIATE_TEST_SUITE_P(Both, DecapL3dsr, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& family) { return std::string(family.param == Family::ipv4 ? "v4" : "v6"); });

// Whatever the bytes are, a frame is passed or, as congested, dropped; the program never gives up.
TEST(Decap, AnyBytesAreWellReceived) {
    Backend backend;
    Random random(7);
    for (const ForwardingMode mode :
         {ForwardingMode::l3dsr, ForwardingMode::ipip, ForwardingMode::gre, ForwardingMode::gue}) {
        backend.place({.mode = mode,
                       .port = usual_gue_port,
                       .sources = {*Prefix::parse("0.0.0.0/0"), *Prefix::parse("::/0")},
                       .vips = {{10, address("198.18.0.10")}, {10, address("2001:db8::10")}}});
        const Tunnel tunnel{mode};
        for (int i = 0; i < 10'000; ++i) {
            const Family family = random.below(2) != 0 ? Family::ipv4 : Family::ipv6;
            const auto& h = hosts(family);
            const Bytes packet = test::packet(h.client, h.vip).build();
            Bytes frame = packet;
            if (mode == ForwardingMode::l3dsr) {
                frame = with_class(test::packet(h.client, h.at_backend).build(), 40);
            } else {
                const Bytes inside = from(packet, ip_at);
                frame = outer(h.balancer, h.backend, tunnel.protocol(is_v4(packet)),
                              tunnel.head(is_v4(packet), inside.size()) + inside);
            }
            for (auto n = random.below(4); n > 0; --n) {
                frame[random.below(frame.size())] = static_cast<std::byte>(random.below(256));
            }
            frame.resize(ip_at + random.below(frame.size() - ip_at + 1));
            const auto action = backend.receive(frame).action;
            ASSERT_TRUE(action == XDP_PASS || action == XDP_DROP) << action;
        }
    }
}

TEST(Decap, ASecondOneReplacesTheFirstAndOnlyOursIsRemoved) {
    Backend backend;
    const auto& h = hosts(Family::ipv4);
    const Settings settings{.mode = ForwardingMode::ipip, .port = 0, .sources = {Prefix{h.balancer, 32}}, .vips = {}};
    EXPECT_FALSE(*decap::remove(backend.interface()));
    EXPECT_FALSE(decap::report(backend.interface())->has_value());
    EXPECT_FALSE(decap::place(backend.interface(), settings)->replaced);
    const auto first = xdp::attached_program(backend.interface())->id;
    EXPECT_TRUE(decap::place(backend.interface(), settings)->replaced);
    EXPECT_NE(xdp::attached_program(backend.interface())->id, first);

    const auto steering = xdp::Steering::attach(backend.interface(), xdp::Mode::native);
    ASSERT_FALSE(steering);
    EXPECT_NE(steering.error().text().find("carries the XDP program \"shunt_decap\""), std::string::npos);
    EXPECT_TRUE(*decap::remove(backend.interface()));
    EXPECT_FALSE(xdp::attached_program(backend.interface())->descriptor);

    ASSERT_TRUE(xdp::Steering::attach(backend.interface(), xdp::Mode::native));
    const auto foreign = decap::place(backend.interface(), settings);
    ASSERT_FALSE(foreign);
    EXPECT_NE(foreign.error().text().find("carries the XDP program \"xsk_def_prog\""), std::string::npos);
    EXPECT_NE(
        foreign.error().text().find("which is not shunt-decap's; if nothing needs it: ip link set dev v0 xdpdrv off"),
        std::string::npos)
        << foreign.error().text();
    EXPECT_FALSE(decap::remove(backend.interface()));
    EXPECT_FALSE(decap::report(backend.interface()));
}

TEST(Decap, WithoutNativeXdpItIsGeneric) {
    Backend backend;
    NetworkNamespace::run("ip link add bridge0 type bridge && ip link set bridge0 up");
    const auto bridge = *xdp::find_interface("bridge0");
    const Settings settings{.mode = ForwardingMode::ipip, .port = 0, .sources = {*Prefix::parse("::/0")}, .vips = {}};
    for (const bool again : {false, true}) {
        const auto placed = decap::place(bridge, settings);
        ASSERT_TRUE(placed) << placed.error().text();
        EXPECT_EQ(placed->mode, xdp::Mode::generic);
        EXPECT_EQ(placed->native_refused, "Operation not supported");
        EXPECT_EQ(placed->replaced, again);
    }
    EXPECT_TRUE(*decap::remove(bridge));
}

}  // namespace
}  // namespace shunt::dataplane::decap
