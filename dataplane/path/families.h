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
    static std::uint16_t checksum(const Header& header) noexcept { return header.checksum; }
    static IpAddress address(const Header& header, End end) noexcept {
        return IpAddress::v4(end == End::source ? header.source : header.destination);
    }
    static std::uint8_t traffic_class(const Header& header) noexcept { return header.dscp_and_ecn; }
    static void set_traffic_class(Header& header, std::uint8_t value) noexcept {
        const Be16 before(static_cast<std::uint16_t>(header.version_and_length << 8 | header.dscp_and_ecn));
        header.dscp_and_ecn = value;
        const Be16 after(static_cast<std::uint16_t>(header.version_and_length << 8 | header.dscp_and_ecn));
        ChecksumDelta delta;
        delta.replace(before, after);
        header.checksum = delta.apply(header.checksum);
    }

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
    static std::uint16_t checksum(const Header&) noexcept { return 0; }  // there is none
    static IpAddress address(const Header& header, End end) noexcept {
        return IpAddress::load_v6((end == End::source ? header.source : header.destination).data());
    }
    static std::uint8_t traffic_class(const Header& header) noexcept {
        return static_cast<std::uint8_t>(header.version_class_label.host() >> 20);
    }
    static void set_traffic_class(Header& header, std::uint8_t value) noexcept {
        const std::uint32_t others = header.version_class_label.host() & ~(0xffU << 20);
        header.version_class_label = Be32(others | std::uint32_t{value} << 20);
    }
    static void set_address(Header& header, End end, const IpAddress& address) noexcept {
        (end == End::source ? header.source : header.destination) = address.bytes();
    }
};

// Calls `f` with the family of the lane as a type and the IP header at an offset; the lane's own, or the quoted one.
template <class F>
auto with_family_at(Lane& lane, std::uint16_t offset, F&& f) noexcept {
    if (lane.family == Family::ipv4) return f(Ipv4{}, lane.header_at<Ipv4Header>(offset));
    return f(Ipv6{}, lane.header_at<Ipv6Header>(offset));
}
template <class F>
auto with_family(Lane& lane, F&& f) noexcept {
    return with_family_at(lane, lane.l3_offset, std::forward<F>(f));
}

}  // namespace shunt::dataplane
