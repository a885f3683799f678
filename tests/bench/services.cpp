#include "tests/bench/services.h"

#include <map>

#include "tests/support/instance.h"

namespace shunt::bench {
namespace {

constexpr std::uint32_t backends_per_service = 20;
constexpr std::uint32_t stateless_count = 4096;
constexpr std::uint16_t first_stateless_port = 4096;  // its last four bits choose the service
constexpr std::uint32_t stateless_backends = 10;

std::string in_brackets(const std::string& address, Family family) {
    return family == Family::ipv4 ? address : "[" + address + "]";
}
std::string vip_of(Family family) { return family == Family::ipv4 ? "198.18.0.0" : "2001:db8::"; }
std::string client_of(Family family) { return family == Family::ipv4 ? "198.19.0.0" : "2001:db8:c::"; }

test::Packet packet_to(std::uint16_t port, Family family, Protocol protocol = Protocol::tcp) {
    return test::packet(in_brackets(client_of(family), family) + ":" + std::to_string(first_client_port),
                        in_brackets(vip_of(family), family) + ":" + std::to_string(port), protocol);
}

std::string backend_address(Family family, std::uint32_t host) {
    if (family == Family::ipv6) return "2001:db8:2::" + std::to_string(host);
    return "198.18." + std::to_string(2 + host / 250) + "." + std::to_string(1 + host % 250);
}

config::Service service_on(std::uint16_t port, Family family, Protocol protocol, std::uint32_t first_backend) {
    const std::string vip = in_brackets(vip_of(family), family) + ":" + std::to_string(port) +
                            (protocol == Protocol::tcp ? "/tcp" : "/udp");
    std::vector<std::string> backends;
    for (std::uint32_t i = 0; i < backends_per_service; ++i)
        backends.push_back(backend_address(family, first_backend + i));
    config::Service service = test::make_service("s" + std::to_string(port), {vip}, backends);
    service.table_size = 65537;
    return service;
}

config::DesiredState with(std::vector<config::Service> services) {
    config::DesiredState state;
    state.node.source = {*IpAddress::parse("198.18.1.2"), *IpAddress::parse("2001:db8:1::2")};
    config::Port lan;
    lan.name = "lan0";
    state.dataplane.ports.push_back(lan);
    std::map<IpAddress, config::NextHop> hops;
    for (const auto& service : services) {
        for (const auto& b : service.backends) {
            hops[b.address] = {.address = b.address, .mac = test::backend_mac(b.address), .port = "lan0"};
        }
    }
    for (const auto& [address, hop] : hops) state.next_hops.push_back(hop);
    state.services = std::move(services);
    return state;
}

}  // namespace

config::DesiredState one_service(const Kind& kind) {
    auto service = service_on(443, kind.family, Protocol::tcp, 0);
    service.mode = parse_forwarding_mode(kind.mode).value();
    return with({service});
}

Traffic established(const Kind& kind, std::uint32_t flows) { return small_packets(packet_to(443, kind.family), flows); }

Traffic opening(const Kind& kind, std::uint32_t flows) {
    test::Packet packet = packet_to(443, kind.family);
    packet.tcp_flags = tcp_syn;
    return small_packets(packet, flows);
}

config::DesiredState stateless_services() {
    std::vector<config::Service> services;
    for (std::uint32_t i = 0; i < stateless_count; ++i) {
        const std::uint32_t address = i / 16;
        const std::uint32_t port = first_stateless_port + i % 16;
        std::vector<std::string> backends;
        for (std::uint32_t b = 0; b < stateless_backends; ++b) {
            backends.push_back(backend_address(Family::ipv4, b) + ":" + std::to_string(1024 + i));
        }
        const std::string vip = "198.18.0." + std::to_string(address) + ":" + std::to_string(port) + "/udp";
        auto service = test::make_service("s" + std::to_string(i), {vip}, backends);
        service.table_size = {};  // the default for so many backends
        service.flows = false;
        services.push_back(service);
    }
    return with(std::move(services));
}

Traffic stateless_packets() {
    Traffic traffic = small_packets(packet_to(first_stateless_port, Family::ipv4, Protocol::udp), 16 * client_hosts);
    traffic.templates.front() = traffic.templates.front().to_many_services();
    return traffic;
}

config::DesiredState mixed_services() {
    std::vector<config::Service> services;
    for (std::uint16_t i = 0; i < 10; ++i) {
        services.push_back(service_on(static_cast<std::uint16_t>(443 + i), i % 2 == 0 ? Family::ipv4 : Family::ipv6,
                                      i < 8 ? Protocol::tcp : Protocol::udp, i * backends_per_service));
    }
    return with(std::move(services));
}

Traffic mixed_packets(std::uint32_t flows) {
    Traffic traffic{.mix = {}, .flows = flows};
    for (std::uint16_t i = 0; i < 10; ++i) {
        const Family family = i % 2 == 0 ? Family::ipv4 : Family::ipv6;
        const auto packet =
            packet_to(static_cast<std::uint16_t>(443 + i), family, i < 8 ? Protocol::tcp : Protocol::udp);
        for (const auto& [length, times] :
             {std::pair{family == Family::ipv4 ? 64U : 78U, 7U}, {590U, 4U}, {1514U, 1U}}) {
            traffic.mix.insert(traffic.mix.end(), times, static_cast<std::uint8_t>(traffic.templates.size()));
            traffic.templates.push_back(Template::of(packet, length));
        }
    }
    return traffic;
}

}  // namespace shunt::bench
