// The rules of DESIGN section 7, one by one and for both families, in the program as the kernel runs it: frames go
// through BPF_PROG_TEST_RUN, on an interface of a network namespace of the test's own. Needs root.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/xdp/steering.h"
#include "tests/support/network_namespace.h"
#include "tests/support/raw_frames.h"

namespace shunt::dataplane::xdp {
namespace {

using namespace test;

constexpr std::uint16_t type_ipv4 = 0x0800, type_ipv6 = 0x86dd, type_arp = 0x0806, type_vlan = 0x8100,
                        type_service_vlan = 0x88a8;
constexpr std::uint8_t icmp_v4 = IPPROTO_ICMP, icmp_v6 = IPPROTO_ICMPV6;
constexpr MacAddress port_mac{{0x02, 0, 0, 0, 0, 0x01}}, virtual_mac{{0, 0, 0x5e, 0, 1, 7}};
constexpr std::uint16_t service_port = 443, client_port = 33000, backend_port = 8443;

struct Addresses {
    IpAddress vip, udp_vip, host, client, backend, stranger, multicast, link_local, tunnel_end;
};

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

Addresses addresses_of(Family family) {
    if (family == Family::ipv4) {
        return {address("198.18.0.10"), address("198.18.0.11"), address("198.18.1.11"),
                address("203.0.113.7"), address("198.18.2.11"), address("198.18.9.9"),
                address("224.0.0.18"),  address("169.254.1.1"), address("198.18.2.12")};
    }
    return {address("2001:db8::10"),   address("2001:db8::11"),   address("2001:db8:1::11"),
            address("2001:db8:ff::7"), address("2001:db8:2::11"), address("2001:db8:9::9"),
            address("ff02::12"),       address("fe80::1"),        address("2001:db8:2::12")};
}

Endpoint endpoint(const IpAddress& address, std::uint16_t port, Protocol protocol) {
    return {.address = address, .port = Be16(port), .protocol = protocol};
}

bool is_for_worker(steer_counter outcome) {
    return outcome == steer_icmp_error || outcome == steer_listener || outcome == steer_listener_fragment ||
           outcome == steer_backend || outcome == steer_backend_fragment;
}

class XdpRules : public testing::TestWithParam<Family> {
  protected:
    void SetUp() override {
        NetworkNamespace::run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
        const auto interface = find_interface("v0");
        ASSERT_TRUE(interface) << interface.error().text();
        auto attached = Steering::attach(*interface, Mode::native);
        ASSERT_TRUE(attached) << attached.error().text();
        steering_.emplace(*std::move(attached));
        configure();
        auto sockets = map_of(*interface, steering_->program(), "xsks_map");
        ASSERT_TRUE(sockets) << sockets.error().text();
        const std::uint32_t queue = 0;
        const int socket = socket_.get();
        ASSERT_EQ(bpf_map_update_elem(sockets->get(), &queue, &socket, BPF_ANY), 0) << std::strerror(errno);
    }

    // Both families at once, so that one could be taken for the other.
    void configure() {
        ASSERT_TRUE(steering_->set_port(port_mac, std::array{virtual_mac}));
        std::vector<IpAddress> local;
        SteeringSet set;
        for (const auto family : {Family::ipv4, Family::ipv6}) {
            const auto a = addresses_of(family);
            local.insert(local.end(), {a.vip, a.udp_vip, a.host});
            set.listeners.push_back(endpoint(a.vip, service_port, Protocol::tcp));
            set.listeners.push_back(endpoint(a.udp_vip, service_port, Protocol::udp));
            set.backends.push_back(endpoint(a.backend, backend_port, Protocol::tcp));
            set.tunnel_ends.push_back(a.tunnel_end);
        }
        ASSERT_TRUE(steering_->set_local_addresses(local));
        ASSERT_TRUE(steering_->admit(set));
    }

    bool v4() const { return GetParam() == Family::ipv4; }
    std::uint16_t type() const { return v4() ? type_ipv4 : type_ipv6; }
    std::uint8_t icmp_protocol() const { return v4() ? icmp_v4 : icmp_v6; }
    std::uint8_t unreachable() const { return v4() ? 3 : 1; }
    std::uint8_t echo_request() const { return v4() ? 8 : 128; }

    Bytes ip(const IpAddress& from, const IpAddress& to, std::uint8_t protocol, const Bytes& payload) const {
        return v4() ? ipv4(from, to, protocol, payload) : ipv6(from, to, protocol, payload);
    }
    Bytes fragment(const IpAddress& from, const IpAddress& to, std::uint8_t protocol, std::uint16_t offset, bool more,
                   const Bytes& payload) const {
        if (!v4()) return ipv6(from, to, IPPROTO_FRAGMENT, fragment_header(protocol, offset, more, payload));
        return ipv4(from, to, protocol, payload, static_cast<std::uint16_t>(offset / 8 + (more ? 0x2000 : 0)));
    }
    Bytes frame(const Bytes& packet) const { return ethernet(port_mac, type(), packet); }
    // The same frame with tags, the outer one first.
    static Bytes tagged(const Bytes& frame, const std::vector<std::uint16_t>& tag_types) {
        Bytes tags;
        for (const std::uint16_t tag : tag_types) tags = tags + be16(tag) + be16(0xb005);
        Bytes result(frame.begin(), frame.begin() + 12);
        return result + tags + Bytes(frame.begin() + 12, frame.end());
    }

    int verdict(const Bytes& frame) const {
        LIBBPF_OPTS(bpf_test_run_opts, options);
        options.data_in = frame.data();
        options.data_size_in = static_cast<std::uint32_t>(frame.size());
        options.repeat = 1;
        const int error = bpf_prog_test_run_opts(steering_->program().descriptor.get(), &options);
        EXPECT_EQ(error, 0);
        return error != 0 ? error : static_cast<int>(options.retval);
    }

    void expect(const Bytes& frame, steer_counter outcome, const std::string& what) {
        const auto before = steering_->counters();
        EXPECT_EQ(verdict(frame), is_for_worker(outcome) ? XDP_REDIRECT : XDP_PASS) << what;
        const auto after = steering_->counters();
        ASSERT_TRUE(before && after);
        for (std::uint32_t i = 0; i < steer_counters; ++i) {
            EXPECT_EQ(after->values[i] - before->values[i], i == outcome ? 1 : 0) << what << ", counter " << i;
        }
    }

    NetworkNamespace namespace_;
    Descriptor socket_{::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)};  // the worker, as far as the map cares
    std::optional<Steering> steering_;
    const Addresses a_ = addresses_of(GetParam());
    const Bytes request_ = ip(a_.client, a_.vip, IPPROTO_TCP, transport(client_port, service_port));
    const Bytes reply_ = ip(a_.backend, a_.client, IPPROTO_TCP, transport(backend_port, client_port));
};

INSTANTIATE_TEST_SUITE_P(, XdpRules, testing::Values(Family::ipv4, Family::ipv6),
                         [](const auto& family) { return family.param == Family::ipv4 ? "Ipv4" : "Ipv6"; });

TEST_P(XdpRules, OnlyFramesToThePortAreLookedAt) {
    expect(ethernet({{0x02, 0, 0, 0, 0, 0x02}}, type(), request_), steer_other_mac, "another host's");
    expect(ethernet({{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}, type(), request_), steer_other_mac, "broadcast");
    expect(ethernet(virtual_mac, type(), request_), steer_listener, "virtual");
    expect(ethernet(port_mac, type(), request_), steer_listener, "the port's");
}

TEST_P(XdpRules, TheKernelsProtocolsAreTheKernels) {
    expect(ethernet(port_mac, type_arp, Bytes(28)), steer_kernel_protocol, "ARP");
    const auto ports = transport(client_port, service_port);
    expect(frame(ip(a_.client, a_.multicast, IPPROTO_UDP, ports)), steer_kernel_protocol, "to multicast");
    expect(frame(ip(a_.client, a_.link_local, IPPROTO_TCP, ports)), steer_kernel_protocol, "to link-local");
    expect(frame(ip(a_.link_local, a_.vip, IPPROTO_TCP, ports)), steer_kernel_protocol, "from link-local");
    for (const std::uint8_t protocol : {IPPROTO_SCTP, IPPROTO_ESP, IPPROTO_GRE, IPPROTO_IPIP, IPPROTO_RAW}) {
        expect(frame(ip(a_.client, a_.vip, protocol, ports)), steer_kernel_protocol, std::to_string(protocol));
    }
    const std::uint8_t other_familys_icmp = v4() ? icmp_v6 : icmp_v4;
    expect(frame(ip(a_.client, a_.vip, other_familys_icmp, icmp(3, reply_))), steer_kernel_protocol, "wrong ICMP");
    const std::uint16_t wrong_type = v4() ? type_ipv6 : type_ipv4;
    expect(ethernet(port_mac, wrong_type, request_), steer_kernel_protocol, "the version contradicts the type");
}

TEST_P(XdpRules, VlanTagsChangeNothing) {
    const Bytes sent_reply = ip(a_.vip, a_.client, IPPROTO_TCP, transport(service_port, client_port));
    const Bytes later = fragment(a_.backend, a_.client, IPPROTO_TCP, 64, false, Bytes(16));
    const Bytes error = ip(a_.stranger, a_.vip, icmp_protocol(), icmp(unreachable(), sent_reply));
    const std::vector<std::vector<std::uint16_t>> tag_lists{
        {type_vlan}, {type_service_vlan}, {type_service_vlan, type_vlan}, {type_vlan, type_vlan}};
    for (const auto& tags : tag_lists) {
        expect(tagged(frame(request_), tags), steer_listener, "to a listener");
        expect(tagged(frame(reply_), tags), steer_backend, "a reply");
        expect(tagged(frame(later), tags), steer_backend_fragment, "a fragment");
        expect(tagged(frame(error), tags), steer_icmp_error, "an error");
        expect(tagged(frame(ip(a_.client, a_.host, IPPROTO_TCP, transport(1, 22))), tags), steer_local, "to this host");
        expect(tagged(ethernet(port_mac, type_arp, Bytes(28)), tags), steer_kernel_protocol, "ARP");
        expect(tagged(ethernet({{0x02, 0, 0, 0, 0, 0x02}}, type(), request_), tags), steer_other_mac, "another's");
        const Bytes whole = tagged(frame(request_), tags);
        const std::size_t ports_end = 14 + 4 * tags.size() + (v4() ? 20U : 40U) + 4;
        for (std::size_t size = 14; size <= ports_end; ++size) {
            expect(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)),
                   size < ports_end ? steer_kernel_protocol : steer_listener, std::to_string(size) + " bytes");
        }
    }
    expect(tagged(frame(request_), {type_service_vlan, type_vlan, type_vlan}), steer_kernel_protocol, "three tags");
    expect(tagged(frame(request_), {0x9100}), steer_kernel_protocol, "another kind of tag");
}

TEST_P(XdpRules, AnyOtherVersionIsTheKernels) {
    for (int version = 0; version < 16; ++version) {
        Bytes packet = request_;
        packet[0] = static_cast<std::uint8_t>(version << 4 | (packet[0] & 0x0f));
        const bool right = version == (v4() ? 4 : 6);
        expect(frame(packet), right ? steer_listener : steer_kernel_protocol, "version " + std::to_string(version));
    }
}

TEST_P(XdpRules, MappedAddressesOnTheWireMatchNoIpv4Listener) {
    const auto mapped = addresses_of(Family::ipv4);
    const auto packet = [&](const IpAddress& from, const IpAddress& to, std::uint16_t port) {
        const Bytes payload = transport(backend_port, port);
        const auto bytes_from = from.bytes(), bytes_to = to.bytes();
        return ethernet(port_mac, type_ipv6,
                        Bytes{0x60, 0, 0, 0} + be16(payload.size()) + Bytes{IPPROTO_TCP, 64} +
                            Bytes(bytes_from.begin(), bytes_from.end()) + Bytes(bytes_to.begin(), bytes_to.end()) +
                            payload);
    };
    const auto client = addresses_of(Family::ipv6).client;
    expect(packet(client, mapped.vip, service_port), steer_kernel_protocol, "to a mapped VIP");
    expect(packet(mapped.backend, client, client_port), steer_kernel_protocol, "from a mapped backend");
}

TEST_P(XdpRules, CutOffFramesArePassedUntilThePortsShow) {
    const Bytes whole = frame(request_);
    const std::size_t header_end = 14 + (v4() ? 20U : 40U), ports_end = header_end + 4;
    for (std::size_t size = 14; size < whole.size(); ++size) {
        const auto outcome = size < ports_end ? steer_kernel_protocol : steer_listener;
        expect(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)), outcome,
               std::to_string(size) + " bytes");
    }
}

TEST_P(XdpRules, EchoAndNeighbourDiscoveryAreTheKernels) {
    for (const auto& to : {a_.vip, a_.host, a_.client}) {
        expect(frame(ip(a_.backend, to, icmp_protocol(), icmp(echo_request(), reply_))), steer_icmp, "echo");
    }
    const std::uint8_t first = v4() ? 5 : 133, last = v4() ? 5 : 137;  // redirect; ND
    for (std::uint8_t type = first; type <= last; ++type) {
        expect(frame(ip(a_.client, a_.vip, icmp_protocol(), icmp(type, reply_))), steer_icmp, std::to_string(type));
    }
}

TEST_P(XdpRules, IcmpErrorsGoByTheirInnerHeader) {
    const auto error = [this](const IpAddress& to, const Bytes& quoted) {
        return frame(ip(a_.stranger, to, icmp_protocol(), icmp(unreachable(), quoted)));
    };
    const auto ports = [](std::uint16_t from, std::uint16_t to) { return transport(from, to); };
    const Bytes sent_reply = ip(a_.vip, a_.client, IPPROTO_TCP, ports(service_port, client_port));
    const Bytes sent_request = ip(a_.client, a_.backend, IPPROTO_TCP, ports(client_port, backend_port));
    const Bytes check = ip(a_.host, a_.backend, IPPROTO_TCP, ports(client_port, backend_port));
    const Bytes foreign = ip(a_.client, a_.stranger, IPPROTO_TCP, ports(client_port, backend_port));
    const Bytes kernels = ip(a_.vip, a_.stranger, IPPROTO_TCP, ports(22, client_port));
    const Bytes udp = ip(a_.vip, a_.client, IPPROTO_UDP, ports(service_port, client_port));
    expect(error(a_.vip, sent_reply), steer_icmp_error, "about what a listener sent");
    expect(error(a_.client, sent_request), steer_icmp_error, "about what a backend was sent");
    expect(error(a_.host, check), steer_icmp, "about our own health check");
    expect(error(a_.client, foreign), steer_icmp, "about somebody else's packet");
    expect(error(a_.vip, kernels), steer_icmp, "about the kernel's packet from the VIP");
    expect(error(a_.vip, udp), steer_icmp, "about another protocol's packet from the VIP");
    expect(error(a_.host, sent_reply), steer_icmp, "not to the sender of what it quotes");
    expect(error(a_.client, fragment(a_.client, a_.backend, IPPROTO_TCP, 8, false, ports(client_port, backend_port))),
           steer_icmp, "about a later fragment");
    expect(error(a_.client, ip(a_.client, a_.backend, IPPROTO_ESP, ports(client_port, backend_port))), steer_icmp,
           "about a protocol without ports");
}

TEST_P(XdpRules, IcmpErrorsAboutTunnelsOfThisHostAreTheWorkers) {
    const auto error = [this](const IpAddress& from, const IpAddress& to, std::uint8_t protocol) {
        const Bytes quoted = ip(from, to, protocol, transport(client_port, 6080));
        return frame(ip(a_.stranger, from, icmp_protocol(), icmp(unreachable(), quoted)));
    };
    for (int protocol = 0; protocol < 256; ++protocol) {
        const bool extension =
            !v4() && (protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
                      protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_AH);
        if (extension) continue;  // the quote is not made for it
        const bool tunnel =
            protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE || protocol == IPPROTO_UDP;
        expect(error(a_.host, a_.tunnel_end, static_cast<std::uint8_t>(protocol)),
               tunnel ? steer_icmp_error : steer_icmp, "protocol " + std::to_string(protocol));
    }
    expect(error(a_.host, a_.backend, IPPROTO_GRE), steer_icmp, "to no tunnel's end");
    expect(error(a_.client, a_.tunnel_end, IPPROTO_GRE), steer_icmp, "somebody else's tunnel");
    const Bytes later = fragment(a_.host, a_.tunnel_end, IPPROTO_UDP, 64, false, transport(client_port, 6080));
    expect(frame(ip(a_.stranger, a_.host, icmp_protocol(), icmp(unreachable(), later))), steer_icmp,
           "a later fragment");
    const Bytes misled = ip(a_.host, a_.tunnel_end, IPPROTO_IPIP, Bytes(16));
    expect(frame(ip(a_.stranger, a_.client, icmp_protocol(), icmp(unreachable(), misled))), steer_icmp,
           "not to the sender of what it quotes");
    ASSERT_TRUE(steering_->retire({}));
    expect(error(a_.host, a_.tunnel_end, IPPROTO_GRE), steer_icmp, "a tunnel that was");
}

TEST_P(XdpRules, IcmpErrorsAboutFirstFragmentsGoByTheirPorts) {
    const auto error = [this](const IpAddress& to, const Bytes& quoted) {
        return frame(ip(a_.stranger, to, icmp_protocol(), icmp(unreachable(), quoted)));
    };
    const auto reply = [this](std::uint16_t offset, bool more, std::uint16_t port) {
        return fragment(a_.vip, a_.client, IPPROTO_TCP, offset, more, transport(port, client_port));
    };
    expect(error(a_.vip, reply(0, true, service_port)), steer_icmp_error, "first");
    expect(error(a_.vip, reply(0, true, 22)), steer_icmp, "first of the kernel's");
    expect(error(a_.vip, reply(8, true, service_port)), steer_icmp, "later: no ports");
    expect(error(a_.vip, reply(8, false, service_port)), steer_icmp, "last: no ports");
    const Bytes request = fragment(a_.client, a_.backend, IPPROTO_TCP, 0, true, transport(client_port, backend_port));
    expect(error(a_.client, request), steer_icmp_error, "first, to a backend");
}

TEST_P(XdpRules, EveryIcmpErrorTypeCounts) {
    const Bytes quoted = ip(a_.vip, a_.client, IPPROTO_TCP, transport(service_port, client_port));
    for (int type = 0; type < 256; ++type) {
        const bool error = v4() ? type == 3 || type == 11 || type == 12 : type >= 1 && type <= 4;
        expect(frame(ip(a_.stranger, a_.vip, icmp_protocol(), icmp(static_cast<std::uint8_t>(type), quoted))),
               error ? steer_icmp_error : steer_icmp, "type " + std::to_string(type));
    }
}

TEST_P(XdpRules, CutOffOrFragmentedIcmpErrorsAreTheKernels) {
    const Bytes quoted = ip(a_.vip, a_.client, IPPROTO_TCP, transport(service_port, client_port));
    const Bytes whole = frame(ip(a_.stranger, a_.vip, icmp_protocol(), icmp(unreachable(), quoted)));
    const std::size_t header = v4() ? 20 : 40, ports_end = 14 + header + 8 + header + 4;
    for (std::size_t size = 14 + header; size < whole.size(); ++size) {
        expect(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)),
               size < ports_end ? steer_icmp : steer_icmp_error, std::to_string(size) + " bytes");
    }
    expect(frame(fragment(a_.stranger, a_.vip, icmp_protocol(), 0, true, icmp(unreachable(), quoted))), steer_icmp,
           "a first fragment");
}

TEST_P(XdpRules, ListenersMatchExactly) {
    const auto packet = [this](const IpAddress& to, std::uint8_t protocol, std::uint16_t port) {
        return frame(ip(a_.client, to, protocol, transport(client_port, port)));
    };
    expect(packet(a_.vip, IPPROTO_TCP, service_port), steer_listener, "TCP");
    expect(packet(a_.udp_vip, IPPROTO_UDP, service_port), steer_listener, "UDP");
    expect(packet(a_.vip, IPPROTO_UDP, service_port), steer_local, "another protocol");
    expect(packet(a_.vip, IPPROTO_TCP, 22), steer_local, "another port");
    expect(packet(a_.host, IPPROTO_TCP, service_port), steer_local, "another address");
    expect(frame(ip(a_.client, a_.vip, IPPROTO_TCP, transport(service_port, client_port))), steer_local, "reversed");
}

// Ranges whose ends are anywhere, and whole addresses; backends that answer from every port.
TEST_P(XdpRules, RangesMatchTheirPortsAndNoOthers) {
    const auto to = [this](const IpAddress& vip, std::uint8_t protocol, std::uint16_t port) {
        return frame(ip(a_.client, vip, protocol, transport(client_port, port)));
    };
    using Ends = std::pair<std::uint16_t, std::uint16_t>;
    for (const auto& [first, last] : {Ends{8000, 8999}, Ends{1, 65535}, Ends{1, 2}, Ends{65534, 65535},
                                      Ends{32767, 32768}, Ends{1, 32767}, Ends{32768, 65535}, Ends{4095, 8193}}) {
        const SteeringSet set{.listeners = {}, .ranges = {{a_.vip, {Be16(first), Be16(last)}, Protocol::udp}}};
        ASSERT_TRUE(steering_->admit(set));
        ASSERT_TRUE(steering_->retire(set));
        const std::string name = set.ranges[0].text();
        for (const std::uint16_t port : {first, last, static_cast<std::uint16_t>((first + last) / 2)}) {
            expect(to(a_.vip, IPPROTO_UDP, port), steer_listener, name + " " + std::to_string(port));
            expect(to(a_.vip, IPPROTO_TCP, port), steer_local, "another protocol");
            expect(to(a_.udp_vip, IPPROTO_UDP, port), steer_local, "another address");
        }
        for (int port : {first - 1, last + 1}) {
            if (port < 0 || port > 65535) continue;
            expect(to(a_.vip, IPPROTO_UDP, static_cast<std::uint16_t>(port)), steer_local,
                   name + " " + std::to_string(port));
        }
        expect(frame(fragment(a_.client, a_.vip, IPPROTO_UDP, 64, false, Bytes(16))), steer_listener_fragment, name);
    }
    ASSERT_TRUE(steering_->retire({}));
    expect(to(a_.vip, IPPROTO_UDP, 8192), steer_local, "what was retired");
}

TEST_P(XdpRules, AWholeAddressIsOneProtocolsOnly) {
    const SteeringSet set{.listeners = {},
                          .ranges = {{a_.vip, PortRange::all(), Protocol::tcp}},
                          .backends = {endpoint(a_.backend, 0, Protocol::tcp)}};
    ASSERT_TRUE(steering_->admit(set));
    ASSERT_TRUE(steering_->retire(set));
    for (const std::uint16_t port : std::array<std::uint16_t, 5>{0, 1, 22, service_port, 65535}) {
        const std::string name = std::to_string(port);
        const auto there = transport(client_port, port), back = transport(port, client_port);
        expect(frame(ip(a_.client, a_.vip, IPPROTO_TCP, there)), steer_listener, name);
        expect(frame(ip(a_.client, a_.vip, IPPROTO_UDP, there)), steer_local, name + "/udp");
        expect(frame(ip(a_.client, a_.host, IPPROTO_TCP, there)), steer_local, name + " of this host");
        expect(frame(ip(a_.backend, a_.client, IPPROTO_TCP, back)), steer_backend, name + ": a reply");
        expect(frame(ip(a_.backend, a_.client, IPPROTO_UDP, back)), steer_unmatched, name + "/udp from the backend");
        expect(frame(ip(a_.backend, a_.host, IPPROTO_TCP, back)), steer_local, name + ": a health check's reply");
        const auto error = [&](const IpAddress& sender, const Bytes& quoted) {
            return frame(ip(a_.stranger, sender, icmp_protocol(), icmp(unreachable(), quoted)));
        };
        expect(error(a_.vip, ip(a_.vip, a_.client, IPPROTO_TCP, back)), steer_icmp_error, name + ": about a reply");
        expect(error(a_.client, ip(a_.client, a_.backend, IPPROTO_TCP, there)), steer_icmp_error,
               name + ": about a request");
    }
    expect(frame(ip(a_.client, a_.vip, icmp_protocol(), icmp(echo_request(), reply_))), steer_icmp, "ping");
    expect(frame(ip(a_.client, a_.vip, IPPROTO_ESP, Bytes(32))), steer_kernel_protocol, "another protocol");
}

TEST_P(XdpRules, FragmentsGoByTheirAddress) {
    const auto ports = transport(client_port, 22);
    for (const std::uint8_t protocol : {IPPROTO_TCP, IPPROTO_UDP}) {
        expect(frame(fragment(a_.client, a_.vip, protocol, 0, true, ports)), steer_listener_fragment, "first");
        expect(frame(fragment(a_.client, a_.vip, protocol, 64, true, ports)), steer_listener_fragment, "middle");
        expect(frame(fragment(a_.client, a_.vip, protocol, 1208, false, ports)), steer_listener_fragment, "last");
        expect(frame(fragment(a_.client, a_.host, protocol, 64, false, ports)), steer_local, "to this host");
        expect(frame(fragment(a_.backend, a_.client, protocol, 64, false, ports)), steer_backend_fragment, "reply");
        expect(frame(fragment(a_.backend, a_.host, protocol, 64, false, ports)), steer_local, "health check's reply");
        expect(frame(fragment(a_.client, a_.stranger, protocol, 64, false, ports)), steer_unmatched, "foreign");
    }
    expect(frame(fragment(a_.client, a_.vip, icmp_protocol(), 0, true, icmp(echo_request(), ports))), steer_icmp,
           "ping");
    expect(frame(fragment(a_.client, a_.vip, icmp_protocol(), 64, false, ports)), steer_icmp, "rest of a ping");
    expect(frame(fragment(a_.client, a_.vip, IPPROTO_ESP, 64, false, ports)), steer_kernel_protocol, "ESP");
}

TEST_P(XdpRules, RepliesToThisHostAreTheKernelsAndToOthersTheWorkers) {
    const auto reply = [this](const IpAddress& to, std::uint8_t protocol, std::uint16_t port) {
        return frame(ip(a_.backend, to, protocol, transport(port, client_port)));
    };
    expect(frame(reply_), steer_backend, "a reply");
    expect(reply(a_.host, IPPROTO_TCP, backend_port), steer_local, "a health check's reply");
    expect(reply(a_.client, IPPROTO_TCP, 22), steer_unmatched, "the backend's own affairs");
    expect(reply(a_.client, IPPROTO_UDP, backend_port), steer_unmatched, "another protocol");
    expect(frame(ip(a_.stranger, a_.client, IPPROTO_TCP, transport(backend_port, client_port))), steer_unmatched,
           "another host");
    expect(frame(ip(a_.client, a_.backend, IPPROTO_TCP, transport(client_port, backend_port))), steer_unmatched,
           "straight to the backend");
}

TEST_P(XdpRules, WithoutAWorkerWhatIsOursIsDroppedAndCounted) {
    socket_ = Descriptor();  // the kernel takes a closed socket out of the map
    const auto before = steering_->counters();
    EXPECT_EQ(verdict(frame(request_)), XDP_DROP);
    EXPECT_EQ(verdict(frame(reply_)), XDP_DROP);
    EXPECT_EQ(verdict(frame(ip(a_.client, a_.host, IPPROTO_TCP, transport(client_port, 22)))), XDP_PASS);
    const auto after = steering_->counters();
    ASSERT_TRUE(before && after);
    EXPECT_EQ(after->dropped() - before->dropped(), 2);
    EXPECT_EQ(after->ours() - before->ours(), 2);
    EXPECT_EQ(after->redirected(), before->redirected());
}

TEST_P(XdpRules, WhatIsRetiredIsTheKernelsAgain) {
    ASSERT_TRUE(steering_->retire({}));
    expect(frame(request_), steer_local, "a listener that was");
    expect(frame(reply_), steer_unmatched, "a reply to nobody");
    expect(frame(fragment(a_.client, a_.vip, IPPROTO_TCP, 64, false, Bytes(16))), steer_local, "a fragment to it");
    expect(frame(fragment(a_.backend, a_.client, IPPROTO_TCP, 64, false, Bytes(16))), steer_unmatched, "and of one");
}

TEST_P(XdpRules, AnAddressStaysWhileAnyOfItsListenersDoes) {
    const Endpoint first = endpoint(a_.vip, service_port, Protocol::tcp), second = endpoint(a_.vip, 80, Protocol::tcp);
    ASSERT_TRUE(steering_->admit({.listeners = {second}, .backends = {}}));
    ASSERT_TRUE(steering_->retire({.listeners = {second}, .backends = {}}));
    expect(frame(request_), steer_local, first.text());
    expect(frame(ip(a_.client, a_.vip, IPPROTO_TCP, transport(client_port, 80))), steer_listener, second.text());
    expect(frame(fragment(a_.client, a_.vip, IPPROTO_TCP, 64, false, Bytes(16))), steer_listener_fragment, "fragment");
}

class XdpRulesIpv4 : public XdpRules {};
INSTANTIATE_TEST_SUITE_P(, XdpRulesIpv4, testing::Values(Family::ipv4));

TEST_P(XdpRulesIpv4, OptionsHideNothing) {
    const auto with_options = [this](std::uint16_t port, std::size_t length) {
        return frame(ipv4(a_.client, a_.vip, IPPROTO_TCP, transport(client_port, port), 0, Bytes(length, 1)));
    };
    for (std::size_t length = 4; length <= 40; length += 4) {
        expect(with_options(service_port, length), steer_listener, "to a listener");
        expect(with_options(22, length), steer_local, "to another port");
    }
}

TEST_P(XdpRulesIpv4, AHeaderTooShortToBeOneIsTheKernels) {
    for (std::uint8_t words = 0; words < 5; ++words) {
        Bytes packet = request_;
        packet[0] = static_cast<std::uint8_t>(0x40 + words);
        expect(frame(packet), steer_kernel_protocol, std::to_string(words) + " words");
    }
    Bytes packet = request_;
    packet[0] = 0x4f;  // 15 words, more than there are
    expect(frame(packet), steer_kernel_protocol, "15 words");
}

TEST_P(XdpRulesIpv4, DontFragmentIsNoFragment) {
    expect(frame(ipv4(a_.client, a_.vip, IPPROTO_TCP, transport(client_port, 22), 0x4000)), steer_local, "DF");
}

TEST_P(XdpRulesIpv4, ThereAreNoExtensionHeaders) {
    for (const int number : {0, 43, 44, 51, 60}) {  // they are, in IPv6
        const auto protocol = static_cast<std::uint8_t>(number);
        expect(frame(ipv4(a_.client, a_.vip, protocol, Bytes(32))), steer_kernel_protocol, std::to_string(protocol));
        expect(frame(fragment(a_.client, a_.vip, protocol, 64, false, Bytes(32))), steer_kernel_protocol, "a fragment");
    }
}

class XdpRulesIpv6 : public XdpRules {};
INSTANTIATE_TEST_SUITE_P(, XdpRulesIpv6, testing::Values(Family::ipv6));

TEST_P(XdpRulesIpv6, ExtensionHeadersMeanMatchingByAddress) {
    const auto ports = transport(backend_port, 22);
    // The length of an authentication header counts in another unit; so does what it hides.
    const Bytes authentication = Bytes{IPPROTO_TCP, 4} + Bytes(22, 0xee) + ports;
    expect(frame(ipv6(a_.client, a_.vip, IPPROTO_AH, authentication)), steer_listener_fragment, "authenticated");
    for (const std::uint8_t header : {IPPROTO_HOPOPTS, IPPROTO_DSTOPTS, IPPROTO_ROUTING}) {
        for (const int units : {0, 1, 255}) {
            const auto packet = [&](const IpAddress& from, const IpAddress& to) {
                return frame(ipv6(from, to, header, extension(IPPROTO_TCP, static_cast<std::uint8_t>(units), ports)));
            };
            expect(packet(a_.client, a_.vip), steer_listener_fragment, "to a VIP");
            expect(packet(a_.client, a_.host), steer_local, "to this host");
            expect(packet(a_.backend, a_.client), steer_backend_fragment, "from a backend");
            expect(packet(a_.client, a_.stranger), steer_unmatched, "foreign");
        }
    }
    expect(frame(ipv6(a_.client, a_.vip, IPPROTO_FRAGMENT, fragment_header(IPPROTO_TCP, 0, false, ports))),
           steer_listener_fragment, "an atomic fragment");
}

TEST_P(XdpRulesIpv6, IcmpErrorsShowThePortsBehindExtensionHeaders) {
    const auto error = [this](std::uint8_t next, const Bytes& payload) {
        const Bytes quoted = ipv6(a_.vip, a_.client, next, payload);
        return frame(ipv6(a_.stranger, a_.vip, IPPROTO_ICMPV6, icmp(1, quoted)));
    };
    const Bytes ports = transport(service_port, client_port);
    Bytes payload = ports;
    std::uint8_t next = IPPROTO_TCP;
    for (int count = 1; count <= 10; ++count) {
        payload = extension(next, 0, payload);
        next = IPPROTO_DSTOPTS;
        expect(error(next, payload), count <= 8 ? steer_icmp_error : steer_icmp, std::to_string(count) + " headers");
    }
    expect(error(IPPROTO_AH, Bytes{IPPROTO_TCP, 4} + Bytes(22, 0xee) + ports), steer_icmp_error, "authenticated");
    expect(error(IPPROTO_DSTOPTS, extension(IPPROTO_TCP, 0, transport(22, client_port))), steer_icmp, "another port");
    expect(error(IPPROTO_FRAGMENT, fragment_header(IPPROTO_TCP, 0, false, ports)), steer_icmp_error, "atomic");
    expect(error(IPPROTO_DSTOPTS, extension(IPPROTO_ESP, 0, ports)), steer_icmp, "no ports");
    const Bytes whole = error(IPPROTO_DSTOPTS, extension(IPPROTO_TCP, 1, ports));
    const std::size_t ports_end = 14 + 40 + 8 + 40 + 16 + 4;
    for (std::size_t size = ports_end - 24; size <= ports_end; ++size) {
        expect(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)),
               size < ports_end ? steer_icmp : steer_icmp_error, std::to_string(size) + " bytes");
    }
}

TEST_P(XdpRulesIpv6, BehindExtensionHeadersOtherProtocolsAreTheKernels) {
    const auto packet = [this](std::uint8_t protocol) {
        return frame(ipv6(a_.client, a_.vip, IPPROTO_HOPOPTS,
                          extension(IPPROTO_DSTOPTS, 1, extension(protocol, 0, icmp(1, request_)))));
    };
    expect(packet(IPPROTO_ICMPV6), steer_icmp, "ICMPv6");
    expect(packet(IPPROTO_ESP), steer_kernel_protocol, "ESP");
    expect(packet(IPPROTO_NONE), steer_kernel_protocol, "nothing");
    expect(packet(IPPROTO_UDP), steer_listener_fragment, "UDP");
}

// A later fragment may begin inside the extension headers, and a chain may be longer than we follow: then the protocol
// is unknown, and all pieces must take the way the first fragment takes.
TEST_P(XdpRulesIpv6, WhereTheProtocolStaysHiddenTheAddressDecides) {
    const auto later = ipv6(a_.client, a_.vip, IPPROTO_FRAGMENT, fragment_header(IPPROTO_DSTOPTS, 8, false, Bytes(32)));
    expect(frame(later), steer_listener_fragment, "fragmented extension headers");
    Bytes payload = transport(client_port, service_port);
    std::uint8_t next = IPPROTO_TCP;
    for (int count = 1; count <= 12; ++count) {
        payload = extension(next, 0, payload);
        next = IPPROTO_DSTOPTS;
        expect(frame(ipv6(a_.client, a_.vip, next, payload)), steer_listener_fragment,
               std::to_string(count) + " headers");
    }
}

TEST_P(XdpRulesIpv6, AFragmentHeaderHasNoLengthField) {
    Bytes packet = ipv6(a_.client, a_.vip, IPPROTO_FRAGMENT,
                        fragment_header(IPPROTO_DSTOPTS, 0, true, extension(IPPROTO_TCP, 0, Bytes(16))));
    packet[40 + 1] = 0xff;  // reserved, ignored on reception (RFC 8200 section 4.5)
    expect(frame(packet), steer_listener_fragment, "a reserved field that is set");
}

TEST_P(XdpRulesIpv6, CutOffExtensionHeadersAreTheKernels) {
    const Bytes whole = frame(ipv6(a_.client, a_.vip, IPPROTO_DSTOPTS, extension(IPPROTO_TCP, 0, request_)));
    for (std::size_t size = 14 + 40; size < 14 + 40 + 8; ++size) {
        expect(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)), steer_kernel_protocol,
               std::to_string(size) + " bytes");
    }
}

}  // namespace
}  // namespace shunt::dataplane::xdp
