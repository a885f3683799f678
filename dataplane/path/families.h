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
    static constexpr Family family = Family::ipv4;

    // The length of a packet without options that is no fragment and whose checksum holds; 0: it is another.
    static std::uint32_t plain_length(const Header& header) noexcept {
        constexpr std::uint16_t fragment = ipv4_more_fragments | ipv4_fragment_offset;
        const bool plain = header.version_and_length == 0x45 && (header.flags_and_offset.raw & Be16(fragment).raw) == 0;
        return plain && checksum_holds(header) ? header.total_length.host() : 0U;
    }
    static std::uint8_t protocol(const Header& header) noexcept { return header.protocol; }

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

    // RFC 1141: one less in the first of two bytes is 0x0100 more in the sum of the others' complements, carry added
    // back; bit for bit what RFC 1624 gives, and a wrong checksum stays wrong.
    static void decrement_hop_limit(Header& header) noexcept {
        --header.hop_limit;
        const std::uint32_t sum = header.checksum + std::uint32_t{Be16(0x0100).raw};
        header.checksum = static_cast<std::uint16_t>(sum + (sum >= 0xffff));
    }
    // Another destination, and one hop less; what both change under the checksum is known.
    static void set_destination(Header& header, const IpAddress& address, FoldedDelta delta) noexcept {
        --header.hop_limit;
        header.checksum = delta.apply(header.checksum);
        header.destination = address.as_v4();
    }
    // Returns what changed, for a checksum over the pseudo header.
    static ChecksumDelta set_address(Header& header, End end, const IpAddress& address) noexcept {
        Be32& field = end == End::source ? header.source : header.destination;
        ChecksumDelta delta;
        delta.replace(field, address.as_v4());
        header.checksum = delta.apply(header.checksum);
        field = address.as_v4();
        return delta;
    }
};

struct Ipv6 {
    using Header = Ipv6Header;
    static constexpr Family family = Family::ipv6;

    // As above. Mapped addresses do not occur on the wire (RFC 4291 section 2.5.5.2); inside Shunt they mean IPv4.
    static std::uint32_t plain_length(const Header& header) noexcept {
        constexpr std::uint32_t longest = 65'535;  // what 16 bits of our own count hold
        const std::uint32_t length = static_cast<std::uint32_t>(sizeof header) + header.payload_length.host();
        const bool plain = header.version_class_label.host() >> 28 == 6 && length <= longest &&
                           !address(header, End::source).is_v4() && !address(header, End::destination).is_v4();
        return plain ? length : 0;
    }
    static std::uint8_t protocol(const Header& header) noexcept { return header.next_header; }

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
    static void set_destination(Header& header, const IpAddress& address, FoldedDelta) noexcept {
        --header.hop_limit;
        header.destination = address.bytes();
    }
    static ChecksumDelta set_address(Header& header, End end, const IpAddress& address) noexcept {
        ChecksumDelta delta;
        delta.replace(Ipv6::address(header, end), address);
        (end == End::source ? header.source : header.destination) = address.bytes();
        return delta;
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
