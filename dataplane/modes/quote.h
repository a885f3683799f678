// Translation of the packet that an ICMP error quotes (RFC 5508 section 4.2, RFC 792, RFC 4443 section 3): one end of
// it becomes what its sender knows it by.
#pragma once

#include "dataplane/modes/rewrite.h"

namespace shunt::dataplane {

// The quoted transport checksum, if it is among the bytes that are quoted; null otherwise.
inline std::uint16_t* quoted_checksum(Lane& lane) noexcept {
    if (!lane.is_tcp()) return &lane.header_at<UdpHeader>(lane.quote_l4).checksum;
    const std::uint32_t end = std::uint32_t{lane.l3_offset} + lane.ip_length;
    const bool is_there = end >= lane.quote_l4 + offsetof(TcpHeader, urgent);
    return is_there ? &lane.header_at<TcpHeader>(lane.quote_l4).checksum : nullptr;
}

// Returns what changed in the message, for its checksum.
inline ChecksumDelta translate_quote(Lane& lane, End end, const IpAddress& address, Be16 port) noexcept {
    ChecksumDelta message;
    ChecksumDelta pseudo;
    with_family_at(lane, lane.quote_l3, [&](auto family, auto& header) {
        using F = decltype(family);
        const std::uint16_t before = F::checksum(header);
        pseudo = F::set_address(header, end, address);
        message.replace(before, F::checksum(header));
    });
    message.add(pseudo);  // the addresses stand in the message, too
    auto& ports = lane.header_at<UdpHeader>(lane.quote_l4);
    Be16& field = end == End::source ? ports.source_port : ports.destination_port;
    message.replace(field, port);
    pseudo.replace(field, port);
    field = port;
    if (std::uint16_t* checksum = quoted_checksum(lane)) {
        const std::uint16_t before = *checksum;
        *checksum = lane.is_tcp() ? pseudo.apply(before) : update_udp(before, pseudo);
        message.replace(before, *checksum);
    }
    return message;
}

}  // namespace shunt::dataplane
