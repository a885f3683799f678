// Why a packet was dropped: declared once, here. Counters, `shunt drops`, documentation and test matchers all come from
// this table. The numbers are part of the shared layout: new reasons are added at the end.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "src/shm/limits.h"

namespace shunt::shm {

enum class DropReason : std::uint8_t {
    not_dropped = 0,
    header_truncated,
    ipv4_header_invalid,
    ipv4_checksum_bad,
    ipv6_header_invalid,
    length_mismatch,
    source_invalid,
    extension_chain,
    fragment_invalid,
    fragment_waited,
    fragment_table_full,
    fragment_hand_over,
    hop_limit_exceeded,
    packet_too_big,
    no_buffer,
    no_backend,
    no_route,
    look_aside_busy,
    return_unknown,
    punt_refused,
    segmented,
    transmit_refused,
    lost_in_restart,
    steered_unattached,
    checksum_flagged,
    link_unknown,
    count
};

struct DropReasonText {
    DropReason reason;
    std::string_view name;
    std::string_view meaning;
};

inline constexpr std::array<DropReasonText, static_cast<std::size_t>(DropReason::count)> drop_reasons{{
    {DropReason::not_dropped, "not_dropped", "the packet was not dropped"},
    {DropReason::header_truncated, "header_truncated", "the packet ends before its headers do"},
    {DropReason::ipv4_header_invalid, "ipv4_header_invalid", "the IPv4 header has a wrong version or header length"},
    {DropReason::ipv4_checksum_bad, "ipv4_checksum_bad", "the IPv4 header checksum is wrong"},
    {DropReason::ipv6_header_invalid, "ipv6_header_invalid", "the IPv6 header has a wrong version"},
    {DropReason::length_mismatch, "length_mismatch", "a length field says more than the packet holds, or too little"},
    {DropReason::source_invalid, "source_invalid", "the source address can belong to no host (multicast, loopback, …)"},
    {DropReason::extension_chain, "extension_chain", "more IPv6 extension headers in a row than are followed"},
    {DropReason::fragment_invalid, "fragment_invalid",
     "a fragment that fits no datagram: its offset or length is wrong, or it cuts the transport header"},
    {DropReason::fragment_waited, "fragment_waited",
     "a fragment whose datagram's first fragment did not come within a second"},
    {DropReason::fragment_table_full, "fragment_table_full", "no room for another fragment that waits for its first"},
    {DropReason::fragment_hand_over, "fragment_hand_over",
     "the worker that gathers this datagram's fragments did not keep up"},
    {DropReason::hop_limit_exceeded, "hop_limit_exceeded",
     "the packet arrived with a hop limit of 0 or 1; the sender is told, within a rate"},
    {DropReason::packet_too_big, "packet_too_big",
     "larger than the way takes, and not to be fragmented; the sender is told, within a rate"},
    {DropReason::no_buffer, "no_buffer", "no packet buffer for the pieces of a packet that had to be fragmented"},
    {DropReason::no_backend, "no_backend", "every backend of the service is down or drained"},
    {DropReason::no_route, "no_route", "no route leads to the address the packet has to go to"},
    {DropReason::look_aside_busy, "look_aside_busy",
     "more packets of unknown flows in one burst than may look into other workers' tables; senders repeat"},
    {DropReason::return_unknown, "return_unknown", "a reply from a backend that belongs to no flow and no listener"},
    {DropReason::punt_refused, "punt_refused", "the kernel's packet, but the port's way to the kernel did not take it"},
    {DropReason::segmented, "segmented", "the packet lies in more than one buffer"},
    {DropReason::transmit_refused, "transmit_refused", "the port did not take the packet: its transmit queue was full"},
    {DropReason::lost_in_restart, "lost_in_restart", "received, but not accounted for when the process died"},
    {DropReason::steered_unattached, "steered_unattached",
     "for a service, dropped by the steering program while no process was attached"},
    {DropReason::checksum_flagged, "checksum_flagged", "the port's hardware found a wrong checksum"},
    {DropReason::link_unknown, "link_unknown",
     "the backend's link address is not known yet, and the kernel could not send this packet to it: its destination is "
     "the VIP"},
}};

constexpr bool drop_reasons_in_order() noexcept {
    for (std::size_t i = 0; i < drop_reasons.size(); ++i) {
        if (static_cast<std::size_t>(drop_reasons[i].reason) != i) return false;
    }
    return true;
}
static_assert(drop_reasons_in_order(), "the table must list every reason at its own number");
static_assert(drop_reasons.size() <= max_drop_reasons);

constexpr const DropReasonText& text_of(DropReason reason) noexcept {
    return drop_reasons[static_cast<std::size_t>(reason)];
}

}  // namespace shunt::shm
