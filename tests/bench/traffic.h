// What arrives at the port of a benchmark: frames of so many flows, made from a few templates as they are received.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "src/net/checksum.h"
#include "src/net/headers.h"
#include "tests/bench/flow_order.h"
#include "tests/support/packets.h"

namespace shunt::bench {

// The beginning of a frame, as far as the path ever reads or changes one, and where in it a flow differs from another:
// the client's address and port, and which of its neighbours on the next ports and addresses the service is.
struct Template {
    static constexpr std::size_t bytes = 80;  // up to the end of TCP behind IPv6

    alignas(16) std::array<std::byte, bytes> head{};
    std::uint64_t service{};       // the last four bytes of its address, then two zeros, then its port, raw
    std::uint32_t client{};        // the last four bytes of the first client's address, raw
    std::uint32_t service_host{};  // which bits of the client's host choose the service's, raw
    std::uint32_t ports{};     // which bits of (client's port, client's port) make (client's port, service's port), raw
    std::uint32_t length{};    // of the frame
    std::uint16_t checksum{};  // of the IPv4 header as it stands in `head`, raw
    std::uint16_t source_at{};       // the last four bytes of the source address
    std::uint16_t destination_at{};  // of the destination address; source and destination port follow
    std::uint16_t checksum_at{};     // of the IPv4 header; with IPv6 a place that the ports overwrite

    // `frame_length`: bytes from the Ethernet header on, without frame check sequence.
    static Template of(const test::Packet& packet, std::uint32_t frame_length);
    // To 256 services on neighbouring addresses, times 16 on neighbouring ports; those of `packet` end in zero bits.
    Template to_many_services() const;
};

// Every flow has one of the templates, each as often as `mix` names it.
struct Traffic {
    std::vector<Template> templates{};
    std::vector<std::uint8_t> mix{0};
    std::uint32_t flows{1};
    std::uint32_t first_flow{};

    std::uint32_t longest() const noexcept;
};

// 2^16 hosts in 198.19.0.0/16 or 2001:db8:c::/112, each with as many ports as it takes: 1024 and above.
constexpr std::uint32_t client_hosts = 1U << 16;
constexpr std::uint32_t first_client_port = 1024;
// One size, one kind: 64 bytes of IPv4 frame or the least of IPv6 (78), both without the frame check sequence.
Traffic small_packets(const test::Packet& packet, std::uint32_t flows);

// Writes the head of the flow's frame. The addresses of `from` end in zeros: what is added to them stays in their last
// two bytes, and nothing else of the IPv4 header changes.
inline void write_head(const Template& from, std::uint32_t flow, std::byte* to) noexcept {
    const std::uint32_t host = byte_swap(flow % client_hosts);
    const std::uint32_t service_host = host & from.service_host;
    const std::uint32_t port = byte_swap(static_cast<std::uint16_t>(first_client_port + flow / client_hosts));
    const std::uint64_t ports = (port | port << 16) & from.ports;
    const std::uint32_t source = from.client | host;
    const std::uint64_t destination_and_ports = from.service | service_host | ports << 32;
    const FoldedDelta client_delta(static_cast<std::uint16_t>(host >> 16));
    const FoldedDelta service_delta(static_cast<std::uint16_t>(service_host >> 16));
    const std::uint16_t checksum = service_delta.apply(client_delta.apply(from.checksum));
    std::memcpy(to, from.head.data(), 64);
    if (from.length > 64) std::memcpy(to + 64, from.head.data() + 64, Template::bytes - 64);  // else one cache line
    std::memcpy(to + from.checksum_at, &checksum, sizeof checksum);
    std::memcpy(to + from.source_at, &source, sizeof source);
    std::memcpy(to + from.destination_at, &destination_and_ports, sizeof destination_and_ports);
}

}  // namespace shunt::bench
