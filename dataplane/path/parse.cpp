#include "dataplane/path/parse.h"

#include <optional>

#include "src/net/checksum.h"
#include "src/net/headers.h"

namespace shunt::dataplane {
namespace {

using shm::DropReason;

constexpr int max_tags = 2;
constexpr int max_extensions = 8;
constexpr std::uint32_t quoted_transport = 8;  // what an ICMP error quotes at least (RFC 792)

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
        case 0:  // hop-by-hop options
        case protocol_routing:
        case protocol_fragment:
        case protocol_authentication:
        case 60:   // destination options
        case 135:  // mobility (RFC 6275)
        case 139:  // host identity (RFC 7401)
        case 140:  // shim6 (RFC 5533)
            return true;
        default:
            return false;
    }
}

std::uint32_t length_of(std::uint8_t kind, const Ipv6Extension& header) noexcept {
    if (kind == protocol_fragment) return sizeof(Ipv6FragmentHeader);
    return kind == protocol_authentication ? (header.length + 2U) * 4 : (header.length + 1U) * 8;
}

// A header that does not fit is cut off in a first fragment, and missing in a whole packet.
Verdict too_short(const Lane& lane, DropReason reason) noexcept {
    return Verdict::drop(lane.part == Part::whole ? reason : DropReason::fragment_invalid);
}

Verdict read_tcp(Lane& lane, const Payload& payload) noexcept {
    if (payload.length < sizeof(TcpHeader)) return too_short(lane, DropReason::header_truncated);
    const auto& tcp = lane.header_at<TcpHeader>(lane.l4_offset);
    const std::uint32_t header_length = (tcp.data_offset >> 4) * 4U;
    if (header_length < sizeof(TcpHeader)) return Verdict::drop(DropReason::length_mismatch);
    if (header_length > payload.length) return too_short(lane, DropReason::length_mismatch);
    lane.tuple.source_port = tcp.source_port;
    lane.tuple.destination_port = tcp.destination_port;
    lane.tcp_flags = tcp.flags;
    return Verdict::keep();
}

Verdict read_udp(Lane& lane, const Payload& payload) noexcept {
    if (payload.length < sizeof(UdpHeader)) return too_short(lane, DropReason::header_truncated);
    const auto& udp = lane.header_at<UdpHeader>(lane.l4_offset);
    const std::uint16_t length = udp.length.host();
    const bool ends_here = lane.part == Part::whole;
    if (length < sizeof(UdpHeader) || (ends_here && length > payload.length)) {
        return Verdict::drop(DropReason::length_mismatch);
    }
    lane.tuple.source_port = udp.source_port;
    lane.tuple.destination_port = udp.destination_port;
    return Verdict::keep();
}

// The quoted packet went the other way: turned round, its tuple is that of the flow the error is about.
void turn_round(FiveTuple& tuple, const IpAddress& source, const IpAddress& destination,
                std::uint8_t protocol) noexcept {
    tuple = {destination, source, {}, {}, static_cast<Protocol>(protocol)};
}

Verdict read_quoted_transport(Lane& lane, const IpAddress& addressee, const Payload& quote) noexcept {
    // An error goes to the sender of what it quotes (RFC 1122 section 3.2.2).
    if (lane.tuple.destination != addressee) return Verdict::punt();
    lane.quote_l4 = static_cast<std::uint16_t>(quote.offset);
    if (!is_transport(quote.protocol)) return Verdict::keep();  // perhaps one of our own tunnels'
    if (quote.length < quoted_transport) return Verdict::drop(DropReason::header_truncated);
    const auto& ports = lane.header_at<UdpHeader>(quote.offset);  // they lie alike in TCP
    lane.tuple.source_port = ports.destination_port;
    lane.tuple.destination_port = ports.source_port;
    return Verdict::keep();
}

Verdict read_ipv4_quote(Lane& lane, const Payload& quote) noexcept {
    if (quote.length < sizeof(Ipv4Header)) return Verdict::drop(DropReason::header_truncated);
    const auto& ip = lane.header_at<Ipv4Header>(quote.offset);
    const std::uint32_t header_length = (ip.version_and_length & 0x0f) * 4U;
    if (ip.version_and_length >> 4 != 4 || header_length < sizeof(Ipv4Header)) {
        return Verdict::drop(DropReason::ipv4_header_invalid);
    }
    if (header_length > quote.length) return Verdict::drop(DropReason::header_truncated);
    if (ip.flags_and_offset.host() & ipv4_fragment_offset) return Verdict::punt();  // no ports, no flow
    const IpAddress addressee = lane.tuple.destination;
    turn_round(lane.tuple, IpAddress::v4(ip.source), IpAddress::v4(ip.destination), ip.protocol);
    return read_quoted_transport(lane, addressee,
                                 {ip.protocol, quote.offset + header_length, quote.length - header_length});
}

Verdict read_ipv6_quote(Lane& lane, const Payload& quote) noexcept {
    if (quote.length < sizeof(Ipv6Header)) return Verdict::drop(DropReason::header_truncated);
    const auto& ip = lane.header_at<Ipv6Header>(quote.offset);
    if (ip.version_class_label.host() >> 28 != 6) return Verdict::drop(DropReason::ipv6_header_invalid);
    const IpAddress addressee = lane.tuple.destination;
    turn_round(lane.tuple, IpAddress::load_v6(ip.source.data()), IpAddress::load_v6(ip.destination.data()),
               ip.next_header);
    if (lane.tuple.source.is_v4()) return Verdict::drop(DropReason::source_invalid);  // as in read_ipv6()
    Payload rest{ip.next_header, quote.offset + static_cast<std::uint32_t>(sizeof(Ipv6Header)),
                 quote.length - static_cast<std::uint32_t>(sizeof(Ipv6Header))};
    for (int i = 0; i < max_extensions && is_extension(rest.protocol); ++i) {
        if (rest.length < sizeof(Ipv6Extension)) return Verdict::drop(DropReason::header_truncated);
        const auto& extension = lane.header_at<Ipv6Extension>(rest.offset);
        if (rest.protocol == protocol_fragment &&
            lane.header_at<Ipv6FragmentHeader>(rest.offset).offset_and_more.host() >= 8) {
            return Verdict::punt();  // no ports, no flow
        }
        const std::uint32_t length = length_of(rest.protocol, extension);
        if (length > rest.length) return Verdict::drop(DropReason::header_truncated);
        rest = {extension.next_header, rest.offset + length, rest.length - length};
    }
    lane.tuple.protocol = static_cast<Protocol>(rest.protocol);
    return read_quoted_transport(lane, addressee, rest);
}

bool is_error(Family family, std::uint8_t type) noexcept {
    if (family == Family::ipv6) return type >= 1 && type <= 4;  // RFC 4443 section 3
    return type == 3 || type == 11 || type == 12;               // unreachable, time exceeded, parameter problem
}

// Echo and everything else that is no error is the kernel's.
Verdict read_icmp(Lane& lane, const Payload& payload) noexcept {
    if (lane.part != Part::whole) return Verdict::punt();
    if (payload.length < sizeof(IcmpHeader)) return Verdict::drop(DropReason::header_truncated);
    lane.l4_offset = static_cast<std::uint16_t>(payload.offset);
    if (!is_error(lane.family, lane.header_at<IcmpHeader>(payload.offset).type)) return Verdict::punt();
    const Payload quote{payload.protocol, payload.offset + static_cast<std::uint32_t>(sizeof(IcmpHeader)),
                        payload.length - static_cast<std::uint32_t>(sizeof(IcmpHeader))};
    lane.quote_l3 = static_cast<std::uint16_t>(quote.offset);
    return lane.family == Family::ipv4 ? read_ipv4_quote(lane, quote) : read_ipv6_quote(lane, quote);
}

Verdict read_payload(Lane& lane, const Payload& payload) noexcept {
    const std::uint8_t icmp = lane.family == Family::ipv4 ? protocol_icmp : protocol_icmpv6;
    if (payload.protocol == icmp) return read_icmp(lane, payload);
    lane.tuple.protocol = static_cast<Protocol>(payload.protocol);
    lane.l4_offset = static_cast<std::uint16_t>(payload.offset);
    // What the extensions in a first fragment lead to, only that one says.
    const bool is_hidden = lane.family == Family::ipv6 && lane.part == Part::later && is_extension(payload.protocol);
    if (is_hidden) return Verdict::keep();
    if (!is_transport(payload.protocol)) return Verdict::punt();
    if (lane.part == Part::later) return Verdict::keep();
    lane.plain = lane.part == Part::whole;
    return lane.is_tcp() ? read_tcp(lane, payload) : read_udp(lane, payload);
}

// Does the fragment fit a datagram? `offset` and `length` in bytes. A later fragment that begins inside the transport
// header would overwrite what was decided by (RFC 1858).
bool fits(std::uint8_t protocol, std::uint32_t offset, std::uint32_t length, bool more) noexcept {
    constexpr std::uint32_t longest_datagram = 65'535;
    const std::uint32_t header =
        protocol == static_cast<std::uint8_t>(Protocol::tcp) ? sizeof(TcpHeader) : sizeof(UdpHeader);
    const bool inside_header = is_transport(protocol) && offset != 0 && offset < header;
    return length != 0 && (!more || length % 8 == 0) && offset + length <= longest_datagram && !inside_header;
}

// Reads what a fragment says of itself; one without offset that is not followed by others is whole (RFC 6946).
bool read_fragment(Lane& lane, std::uint32_t id, std::uint32_t offset, bool more, const Payload& payload) noexcept {
    if (offset == 0 && !more) return true;
    lane.part = offset == 0 ? Part::first : Part::later;
    lane.fragment_id = id;
    return fits(payload.protocol, offset, payload.length, more);
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
    lane.ip_length = static_cast<std::uint16_t>(total_length);
    lane.tuple.source = IpAddress::v4(ip.source);
    lane.tuple.destination = IpAddress::v4(ip.destination);
    const Payload payload{ip.protocol, lane.l3_offset + header_length, total_length - header_length};
    const std::uint16_t fragment = ip.flags_and_offset.host();
    if (!read_fragment(lane, ip.identification.host(), (fragment & ipv4_fragment_offset) * 8U,
                       fragment & ipv4_more_fragments, payload)) {
        return Verdict::drop(DropReason::fragment_invalid);
    }
    return read_payload(lane, payload);
}

// Behind the fixed header: extensions up to the transport, or up to the bound.
Verdict walk_extensions(Lane& lane, Payload rest) noexcept {
    for (int i = 0; i < max_extensions; ++i) {
        if (!is_extension(rest.protocol) || lane.part == Part::later) return read_payload(lane, rest);
        if (rest.length < sizeof(Ipv6Extension)) return too_short(lane, DropReason::header_truncated);
        const std::uint8_t kind = rest.protocol;
        const std::uint32_t offset = rest.offset;
        const auto& extension = lane.header_at<Ipv6Extension>(offset);
        const std::uint32_t length = length_of(kind, extension);
        if (length > rest.length) return too_short(lane, DropReason::header_truncated);
        // On its way through other nodes yet: this address is not its destination (RFC 8200 section 4.4).
        if (kind == protocol_routing && extension.data[1] != 0) return Verdict::punt();
        rest = {extension.next_header, offset + length, rest.length - length};
        if (kind != protocol_fragment) continue;
        if (lane.part != Part::whole) return Verdict::drop(DropReason::fragment_invalid);  // a fragment of a fragment
        const auto& fragment = lane.header_at<Ipv6FragmentHeader>(offset);
        const std::uint16_t word = fragment.offset_and_more.host();
        if (!read_fragment(lane, fragment.identification.host(), word & 0xfff8U, word & 1, rest)) {
            return Verdict::drop(DropReason::fragment_invalid);
        }
    }
    if (!is_extension(rest.protocol)) return read_payload(lane, rest);
    lane.unsupported = DropReason::extension_chain;
    return Verdict::keep();
}

Verdict read_ipv6(Lane& lane, std::uint32_t available) noexcept {
    if (available < sizeof(Ipv6Header)) return Verdict::drop(DropReason::header_truncated);
    const auto& ip = lane.header_at<Ipv6Header>(lane.l3_offset);
    if (ip.version_class_label.host() >> 28 != 6) return Verdict::drop(DropReason::ipv6_header_invalid);
    const std::uint32_t payload_length = ip.payload_length.host();
    constexpr std::uint32_t longest = 65'535 - sizeof(Ipv6Header);  // what 16 bits of our own count hold
    if (payload_length > available - sizeof(Ipv6Header) || payload_length > longest) {
        return Verdict::drop(DropReason::length_mismatch);
    }

    lane.family = Family::ipv6;
    lane.ip_length = static_cast<std::uint16_t>(sizeof(Ipv6Header) + payload_length);
    lane.tuple.source = IpAddress::load_v6(ip.source.data());
    lane.tuple.destination = IpAddress::load_v6(ip.destination.data());
    // Mapped addresses do not occur on the wire (RFC 4291 section 2.5.5.2); inside Shunt they mean IPv4.
    if (lane.tuple.source.is_v4() || lane.tuple.destination.is_v4()) return Verdict::drop(DropReason::source_invalid);
    const auto offset = static_cast<std::uint32_t>(lane.l3_offset + sizeof(Ipv6Header));
    return walk_extensions(lane, {ip.next_header, offset, payload_length});
}

// Behind one or two VLAN tags; nothing if the frame ends before.
std::optional<Be16> read_tags(Lane& lane) noexcept {
    Be16 type = lane.header_at<EthernetHeader>(0).type;
    for (int i = 0; i < max_tags && is_tag(type); ++i) {
        if (lane.length < lane.l3_offset + sizeof(VlanTag)) return std::nullopt;
        type = lane.header_at<VlanTag>(lane.l3_offset).type;
        lane.l3_offset = static_cast<std::uint16_t>(lane.l3_offset + sizeof(VlanTag));
    }
    return type;
}

}  // namespace

Verdict parse(Lane& lane) noexcept {
    static_cast<Reading&>(lane) = {};
    if (lane.segmented) return Verdict::drop(DropReason::segmented);
    if (lane.checksum_flagged) return Verdict::drop(DropReason::checksum_flagged);
    if (lane.length < sizeof(EthernetHeader)) return Verdict::drop(DropReason::header_truncated);
    if (lane.header_at<EthernetHeader>(0).destination[0] & detail::group_bit) return Verdict::punt();
    lane.l3_offset = sizeof(EthernetHeader);
    const std::optional<Be16> type = read_tags(lane);
    if (!type) return Verdict::drop(DropReason::header_truncated);
    const std::uint32_t available = lane.length - lane.l3_offset;
    if (*type == ethertype_ipv4) return read_ipv4(lane, available);
    if (*type == ethertype_ipv6) return read_ipv6(lane, available);
    return Verdict::punt();
}

}  // namespace shunt::dataplane
