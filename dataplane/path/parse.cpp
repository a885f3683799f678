#include "dataplane/path/parse.h"

#include "src/net/checksum.h"
#include "src/net/headers.h"

namespace shunt::dataplane {
namespace {

using shm::DropReason;

// What the network layer says about the rest of the packet.
struct Payload {
    std::uint8_t protocol;
    std::uint32_t offset;  // from lane.bytes
    std::uint32_t length;  // as the header says, not more than there is
};

bool is_transport(std::uint8_t protocol) noexcept {
    return protocol == static_cast<std::uint8_t>(Protocol::tcp) || protocol == static_cast<std::uint8_t>(Protocol::udp);
}

// Headers between IPv6 and its payload (RFC 8200 section 4.1), and authentication (RFC 4302).
bool is_extension(std::uint8_t next_header) noexcept {
    switch (next_header) {
        case 0:    // hop-by-hop options
        case 43:   // routing
        case 44:   // fragment
        case 51:   // authentication
        case 60:   // destination options
        case 135:  // mobility (RFC 6275)
        case 139:  // host identity (RFC 7401)
        case 140:  // shim6 (RFC 5533)
            return true;
        default:
            return false;
    }
}

Verdict read_tcp(Lane& lane, const Payload& payload) noexcept {
    if (payload.length < sizeof(TcpHeader)) return Verdict::drop(DropReason::header_truncated);
    const auto& tcp = lane.header_at<TcpHeader>(lane.l4_offset);
    const std::uint32_t header_length = (tcp.data_offset >> 4) * 4U;
    if (header_length < sizeof(TcpHeader) || header_length > payload.length) {
        return Verdict::drop(DropReason::length_mismatch);
    }
    lane.tuple.source_port = tcp.source_port;
    lane.tuple.destination_port = tcp.destination_port;
    lane.tcp_flags = tcp.flags;
    return Verdict::keep();
}

Verdict read_udp(Lane& lane, const Payload& payload) noexcept {
    if (payload.length < sizeof(UdpHeader)) return Verdict::drop(DropReason::header_truncated);
    const auto& udp = lane.header_at<UdpHeader>(lane.l4_offset);
    const std::uint16_t length = udp.length.host();
    if (length < sizeof(UdpHeader) || length > payload.length) return Verdict::drop(DropReason::length_mismatch);
    lane.tuple.source_port = udp.source_port;
    lane.tuple.destination_port = udp.destination_port;
    return Verdict::keep();
}

Verdict read_transport(Lane& lane, const Payload& payload) noexcept {
    if (!is_transport(payload.protocol)) return Verdict::punt();
    lane.tuple.protocol = static_cast<Protocol>(payload.protocol);
    lane.l4_offset = static_cast<std::uint16_t>(payload.offset);
    return lane.is_tcp() ? read_tcp(lane, payload) : read_udp(lane, payload);
}

Verdict read_ipv4(Lane& lane, std::uint32_t available) noexcept {
    if (available < sizeof(Ipv4Header)) return Verdict::drop(DropReason::header_truncated);
    const auto& ip = lane.header_at<Ipv4Header>(lane.l3_offset);
    const std::uint32_t header_length = (ip.version_and_length & 0x0f) * 4U;
    if (ip.version_and_length >> 4 != 4 || header_length < sizeof(Ipv4Header)) {
        return Verdict::drop(DropReason::ipv4_header_invalid);
    }
    if (header_length > available) return Verdict::drop(DropReason::header_truncated);
    const std::uint32_t total_length = ip.total_length.host();
    if (total_length < header_length || total_length > available) return Verdict::drop(DropReason::length_mismatch);
    if (internet_checksum(&ip, header_length) != 0) return Verdict::drop(DropReason::ipv4_checksum_bad);

    lane.family = Family::ipv4;
    lane.tuple.source = IpAddress::v4(ip.source);
    lane.tuple.destination = IpAddress::v4(ip.destination);
    if (ip.flags_and_offset.host() & (ipv4_more_fragments | ipv4_fragment_offset)) {
        lane.unsupported = DropReason::fragment_waited;
        return Verdict::keep();
    }
    return read_transport(lane, {ip.protocol, lane.l3_offset + header_length, total_length - header_length});
}

Verdict read_ipv6(Lane& lane, std::uint32_t available) noexcept {
    if (available < sizeof(Ipv6Header)) return Verdict::drop(DropReason::header_truncated);
    const auto& ip = lane.header_at<Ipv6Header>(lane.l3_offset);
    if (ip.version_class_label.host() >> 28 != 6) return Verdict::drop(DropReason::ipv6_header_invalid);
    const std::uint32_t payload_length = ip.payload_length.host();
    if (payload_length > available - sizeof(Ipv6Header)) return Verdict::drop(DropReason::length_mismatch);

    lane.family = Family::ipv6;
    lane.tuple.source = IpAddress::load_v6(ip.source.data());
    lane.tuple.destination = IpAddress::load_v6(ip.destination.data());
    // Mapped addresses do not occur on the wire (RFC 4291 section 2.5.5.2); inside Shunt they mean IPv4.
    if (lane.tuple.source.is_v4() || lane.tuple.destination.is_v4()) return Verdict::drop(DropReason::source_invalid);
    if (is_extension(ip.next_header)) {
        lane.unsupported = ip.next_header == 44 ? DropReason::fragment_waited : DropReason::extension_chain;
        return Verdict::keep();
    }
    return read_transport(
        lane, {ip.next_header, static_cast<std::uint32_t>(lane.l3_offset + sizeof(Ipv6Header)), payload_length});
}

}  // namespace

Verdict parse(Lane& lane) noexcept {
    if (lane.segmented) return Verdict::drop(DropReason::segmented);
    if (lane.checksum_flagged) return Verdict::drop(DropReason::checksum_flagged);
    if (lane.length < sizeof(EthernetHeader)) return Verdict::drop(DropReason::header_truncated);
    lane.l3_offset = sizeof(EthernetHeader);
    const std::uint32_t available = lane.length - lane.l3_offset;
    const Be16 type = lane.header_at<EthernetHeader>(0).type;
    if (type == ethertype_ipv4) return read_ipv4(lane, available);
    if (type == ethertype_ipv6) return read_ipv6(lane, available);
    return Verdict::punt();
}

}  // namespace shunt::dataplane
