// Step 2: bytes to a flow key, offsets and flags; or punt, or a drop reason. Reads no byte beyond the packet.
#pragma once

#include <cstring>

#include "dataplane/path/families.h"

namespace shunt::dataplane {

// What is neither TCP nor UDP over IP, nor an ICMP error that may be about such a packet, is the kernel's: ARP, ND,
// echo, routing protocols. Up to two VLAN tags, IPv4 options and eight IPv6 extension headers are read over. Packets
// that are damaged are dropped whoever they are for.
Verdict parse(Lane& lane) noexcept;

namespace detail {

constexpr std::uint8_t group_bit = 1;  // of the first byte: broadcast and multicast, no client's way to a service

// The transport header of a whole packet, `length` bytes of it; 20 of them can be read, whatever it is. False: it is
// none, or damaged.
inline bool read_plain_transport(Lane& lane, std::uint8_t protocol, int length) noexcept {
    const auto& tcp = lane.header_at<TcpHeader>(lane.l4_offset);
    const auto& udp = lane.header_at<UdpHeader>(lane.l4_offset);
    lane.tuple.protocol = static_cast<Protocol>(protocol);
    std::memcpy(&lane.tuple.source_port, &udp.source_port, 2 * sizeof(Be16));  // the other one follows, here and there
    if (protocol == static_cast<std::uint8_t>(Protocol::tcp)) [[likely]] {
        const int header_length = (tcp.data_offset & 0xf0) / 4;
        lane.tcp_flags = tcp.flags;
        return header_length >= int{sizeof(TcpHeader)} && header_length <= length;
    }
    const int said = udp.length.host();
    lane.tcp_flags = 0;
    return protocol == static_cast<std::uint8_t>(Protocol::udp) && said >= int{sizeof(UdpHeader)} && said <= length;
}

// What nearly all packets are: no tags, no options, no fragment, TCP or UDP, and no shorter than TCP without data.
// Reads such a packet just as parse() does; false: it is another, or damaged, and nothing of what was read holds.
template <class F>
bool read_plain(Lane& lane) noexcept {
    using Header = typename F::Header;
    constexpr std::uint32_t before = sizeof(EthernetHeader) + sizeof(Header);
    if (lane.length < before + sizeof(TcpHeader)) return false;
    const auto& ip = lane.header_at<Header>(sizeof(EthernetHeader));
    const std::uint32_t ip_length = F::plain_length(ip);
    if (ip_length > lane.length - sizeof(EthernetHeader)) return false;
    lane.tuple.source = F::address(ip, End::source);
    lane.tuple.destination = F::address(ip, End::destination);
    lane.ip_length = static_cast<std::uint16_t>(ip_length);
    lane.plain = true;
    lane.fragment_id = 0;
    lane.l3_offset = sizeof(EthernetHeader);
    lane.l4_offset = before;
    lane.quote_l3 = 0;
    lane.quote_l4 = 0;
    lane.family = F::family;
    lane.part = Part::whole;
    lane.unsupported = shm::DropReason::not_dropped;
    return read_plain_transport(lane, F::protocol(ip), static_cast<int>(ip_length) - int{sizeof(Header)});
}

inline bool is_plain(Lane& lane) noexcept {
    if (lane.segmented | lane.checksum_flagged || lane.length < sizeof(EthernetHeader)) return false;
    const auto& ethernet = lane.header_at<EthernetHeader>(0);
    if (ethernet.destination[0] & group_bit) return false;
    if (ethernet.type == ethertype_ipv4) return read_plain<Ipv4>(lane);
    return ethernet.type == ethertype_ipv6 && read_plain<Ipv6>(lane);
}

}  // namespace detail

struct Parse {
    std::uint64_t bytes{};  // of all packets, counted on the way

    void prefetch(Lane&) noexcept {}
    Verdict apply(Lane& lane) noexcept {
        bytes += lane.length;
        if (detail::is_plain(lane)) [[likely]]
            return Verdict::keep();
        return parse(lane);
    }
};

}  // namespace shunt::dataplane
