// The outer IP header of tunnels. What is inside stays as it came, hop limit aside.
//
// DSCP and ECN are copied outward (RFC 6040 section 4.1, normal mode). The outer packet is never to be fragmented: what
// the way takes is learnt from errors, and what is too long is cut or refused before it gets here. So it needs no
// identification (RFC 6864 section 4.1). Flow label and UDP source port carry the flow's entropy (RFC 6438, RFC 7348
// section 5), the same for all its packets and fragments.
#pragma once

#include <algorithm>
#include <cstring>

#include "dataplane/modes/forwarding_mode.h"
#include "dataplane/path/families.h"
#include "src/net/checksum.h"

namespace shunt::dataplane {

constexpr std::uint8_t outer_hop_limit = 64;

inline std::uint32_t outer_size(const Target& target) noexcept {
    return target.backend.address.is_v4() ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
}

// The protocol number of what is inside.
inline std::uint8_t inner_protocol(const Lane& lane) noexcept {
    return lane.family == Family::ipv4 ? protocol_ipv4 : protocol_ipv6;
}
inline Be16 inner_ethertype(const Lane& lane) noexcept {
    return lane.family == Family::ipv4 ? ethertype_ipv4 : ethertype_ipv6;
}

// Puts `size` bytes before the IP packet, behind Ethernet header and tags; what was padding goes.
inline void make_room(Lane& lane, std::uint32_t size, Be16 type) noexcept {
    constexpr std::size_t addresses = offsetof(EthernetHeader, type);
    std::byte* front = lane.bytes - size;
    std::memmove(front, lane.bytes, addresses);
    if (lane.l3_offset != sizeof(EthernetHeader)) [[unlikely]]
        std::memmove(front + addresses, lane.bytes + addresses, lane.l3_offset - addresses);
    lane.bytes = front;
    lane.ip_length = static_cast<std::uint16_t>(lane.ip_length + size);
    lane.length = std::uint32_t{lane.l3_offset} + lane.ip_length;
    lane.header_at<Be16>(lane.l3_offset - 2U) = type;
}

// The checksum is summed from what is written, not read back: bytes just stored in pieces are slow to load as words.
inline void write_outer(Lane& lane, Ipv4Header& ip, std::uint8_t traffic_class, std::uint8_t protocol,
                        const Target& target) noexcept {
    const auto pair = [](std::uint8_t first, std::uint8_t second) {
        return std::uint64_t{Be16(static_cast<std::uint16_t>(first << 8 | second)).raw};
    };
    const Be32 source = target.tunnel_source().as_v4();
    const Be32 destination = target.backend.address.as_v4();
    const std::uint64_t sum = pair(0x45, traffic_class) + Be16(lane.ip_length).raw + Be16(ipv4_dont_fragment).raw +
                              pair(outer_hop_limit, protocol) + source.raw + destination.raw;
    ip = {.version_and_length = 0x45,
          .dscp_and_ecn = traffic_class,
          .total_length = Be16(lane.ip_length),
          .identification = Be16{},
          .flags_and_offset = Be16(ipv4_dont_fragment),
          .hop_limit = outer_hop_limit,
          .protocol = protocol,
          .checksum = static_cast<std::uint16_t>(~fold_sum(sum)),
          .source = source,
          .destination = destination};
}

inline void write_outer(Lane& lane, Ipv6Header& ip, std::uint8_t traffic_class, std::uint8_t protocol,
                        const Target& target) noexcept {
    const auto flow_label = static_cast<std::uint32_t>(lane.bucket_hash & 0xfffff);
    ip = {.version_class_label = Be32(6U << 28 | std::uint32_t{traffic_class} << 20 | flow_label),
          .payload_length = Be16(static_cast<std::uint16_t>(lane.ip_length - sizeof ip)),
          .next_header = protocol,
          .hop_limit = outer_hop_limit,
          .source = target.tunnel_source().bytes(),
          .destination = target.backend.address.bytes()};
}

// Wraps the packet: an outer header that says `protocol`, then `between` bytes for the caller to write. Returns their
// offset.
inline std::uint32_t wrap(Lane& lane, const Target& target, std::uint8_t protocol, std::uint32_t between) noexcept {
    const std::uint8_t traffic_class =
        with_family(lane, [](auto family, auto& header) { return decltype(family)::traffic_class(header); });
    const std::uint32_t outer = outer_size(target);
    if (target.backend.address.is_v4()) {
        make_room(lane, outer + between, ethertype_ipv4);
        write_outer(lane, lane.header_at<Ipv4Header>(lane.l3_offset), traffic_class, protocol, target);
    } else {
        make_room(lane, outer + between, ethertype_ipv6);
        write_outer(lane, lane.header_at<Ipv6Header>(lane.l3_offset), traffic_class, protocol, target);
    }
    return lane.l3_offset + outer;
}

// The same with UDP in between: `between` bytes follow the UDP header. Over IPv4 there is no checksum (RFC 7348 section
// 5), over IPv6 a full one: not every receiver takes zero (RFC 6935).
struct UdpTunnel {
    static constexpr std::uint32_t headroom = sizeof(Ipv6Header) + sizeof(UdpHeader);

    static std::uint32_t overhead(const Target& target) noexcept { return outer_size(target) + sizeof(UdpHeader); }

    // Returns the offset of the bytes between.
    static std::uint32_t wrap(Lane& lane, const Target& target, std::uint32_t between) noexcept {
        const auto udp = static_cast<std::uint8_t>(Protocol::udp);
        const std::uint32_t offset = dataplane::wrap(lane, target, udp, sizeof(UdpHeader) + between);
        lane.header_at<UdpHeader>(offset) = {
            .source_port = Be16(static_cast<std::uint16_t>(0xc000 | (lane.bucket_hash & 0x3fff))),
            .destination_port = target.listener.mode_settings.tunnel_port,
            .length = Be16(static_cast<std::uint16_t>(lane.ip_length - (offset - lane.l3_offset))),
            .checksum = 0};
        return offset + sizeof(UdpHeader);
    }
    // Once everything is written.
    static void seal(Lane& lane, const Target& target) noexcept {
        if (target.backend.address.is_v4()) return;
        const auto& ip = lane.header_at<Ipv6Header>(lane.l3_offset);
        auto& udp = lane.header_at<UdpHeader>(lane.l3_offset + sizeof(Ipv6Header));
        const std::uint64_t pseudo =
            sum_bytes(ip.source.data(), 2 * sizeof ip.source) + Be16(ip.next_header).raw + udp.length.raw;
        const std::uint16_t checksum = internet_checksum(&udp, udp.length.host(), pseudo);
        udp.checksum = checksum == 0 ? std::uint16_t{0xffff} : checksum;
    }
};

}  // namespace shunt::dataplane
