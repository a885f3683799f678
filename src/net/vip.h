// What a listener listens at: an address, a protocol, and one port, a range of ports, or all of them.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "src/net/address.h"

namespace shunt {

// Consecutive ports, from the first to the last one. All of them is something else than 1 to 65535: it has port 0, too,
// and gives way to every range.
struct PortRange {
    Be16 first;
    Be16 last;

    constexpr PortRange() = default;
    constexpr PortRange(Be16 one) noexcept : first(one), last(one) {}  // NOLINT: a port is a range of one
    constexpr PortRange(Be16 from, Be16 to) noexcept : first(from), last(to) {}
    static constexpr PortRange all() noexcept { return {Be16(0), Be16(65535)}; }

    constexpr bool is_one() const noexcept { return first == last; }
    constexpr bool is_all() const noexcept { return *this == all(); }
    constexpr bool contains(Be16 port) const noexcept { return first <= port && port <= last; }
    constexpr bool overlaps(const PortRange& other) const noexcept {
        return first <= other.last && other.first <= last;
    }
    std::string text() const;  // "443", "8000-8999", "*"
    friend constexpr bool operator==(const PortRange&, const PortRange&) noexcept = default;
    friend constexpr auto operator<=>(const PortRange&, const PortRange&) noexcept = default;
};

struct Vip {
    IpAddress address;
    PortRange ports;
    Protocol protocol{Protocol::tcp};

    // "198.18.0.10:443/tcp", "[2001:db8::10]:8000-8999/udp", "198.18.0.10:*/tcp", or with port 0 for "*". Nothing if
    // the text is anything else.
    static std::optional<Vip> parse(std::string_view text) noexcept;
    std::string text() const;
    friend constexpr bool operator==(const Vip&, const Vip&) noexcept = default;
    friend constexpr auto operator<=>(const Vip&, const Vip&) noexcept = default;
};

// The port on the wire at a backend that has none of its own: 0 where every packet keeps its own.
constexpr Be16 port_to_follow(const PortRange& ports) noexcept { return ports.is_one() ? ports.first : Be16{}; }

}  // namespace shunt
