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
    fragment_unsupported,
    extension_unsupported,
    hop_limit_exceeded,
    no_backend,
    no_route,
    look_aside_busy,
    return_unknown,
    punt_unavailable,
    segmented,
    transmit_refused,
    lost_in_restart,
    steered_unattached,
    checksum_flagged,
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
    {DropReason::fragment_unsupported, "fragment_unsupported", "a fragment for a service; not forwarded yet"},
    {DropReason::extension_unsupported, "extension_unsupported",
     "IPv6 extension headers before the transport header, for a service; not forwarded yet"},
    {DropReason::hop_limit_exceeded, "hop_limit_exceeded", "the packet arrived with a hop limit of 0 or 1"},
    {DropReason::no_backend, "no_backend", "every backend of the service is down or drained"},
    {DropReason::no_route, "no_route", "no route leads to the address the packet has to go to"},
    {DropReason::look_aside_busy, "look_aside_busy",
     "more packets of unknown flows in one burst than may look into other workers' tables; senders repeat"},
    {DropReason::return_unknown, "return_unknown", "a reply from a backend that belongs to no flow and no listener"},
    {DropReason::punt_unavailable, "punt_unavailable",
     "the kernel's packet, but this kind of port has no way back to the kernel"},
    {DropReason::segmented, "segmented", "the packet lies in more than one buffer"},
    {DropReason::transmit_refused, "transmit_refused", "the port did not take the packet: its transmit queue was full"},
    {DropReason::lost_in_restart, "lost_in_restart", "received, but not accounted for when the process died"},
    {DropReason::steered_unattached, "steered_unattached",
     "for a service, dropped by the steering program while no process was attached"},
    {DropReason::checksum_flagged, "checksum_flagged", "the port's hardware found a wrong checksum"},
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
