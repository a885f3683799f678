// What differs between IPv4 and IPv6 when headers are read and written. Everything else is written once, for both.
#pragma once

#include <utility>

#include "dataplane/path/batch.h"
#include "src/net/checksum.h"
#include "src/net/headers.h"

namespace shunt::dataplane {

enum class End : std::uint8_t { source, destination };

struct Ipv4 {
    using Header = Ipv4Header;

    static std::uint8_t hop_limit(const Header& header) noexcept { return header.hop_limit; }

    // RFC 1624: the header checksum follows, a wrong one stays wrong.
    static void decrement_hop_limit(Header& header) noexcept {
        const Be16 before(static_cast<std::uint16_t>(header.hop_limit << 8 | header.protocol));
        --header.hop_limit;
        const Be16 after(static_cast<std::uint16_t>(header.hop_limit << 8 | header.protocol));
        ChecksumDelta delta;
        delta.replace(before, after);
        header.checksum = delta.apply(header.checksum);
    }
    static void set_address(Header& header, End end, const IpAddress& address) noexcept {
        Be32& field = end == End::source ? header.source : header.destination;
        ChecksumDelta delta;
        delta.replace(field, address.as_v4());
        header.checksum = delta.apply(header.checksum);
        field = address.as_v4();
    }
};

struct Ipv6 {
    using Header = Ipv6Header;

    static std::uint8_t hop_limit(const Header& header) noexcept { return header.hop_limit; }
    static void decrement_hop_limit(Header& header) noexcept { --header.hop_limit; }
    static void set_address(Header& header, End end, const IpAddress& address) noexcept {
        (end == End::source ? header.source : header.destination) = address.bytes();
    }
};

// Calls `f` with the family of the lane as a type and its header.
template <class F>
auto with_family(Lane& lane, F&& f) noexcept {
    if (lane.family == Family::ipv4) return f(Ipv4{}, lane.header_at<Ipv4Header>(lane.l3_offset));
    return f(Ipv6{}, lane.header_at<Ipv6Header>(lane.l3_offset));
}

}  // namespace shunt::dataplane
