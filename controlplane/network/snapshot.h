// What the kernel knows of the network, as plain values: interfaces, local addresses, the main routing tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/net/address.h"

namespace shunt::controlplane {

struct NextHopRef {
    std::optional<IpAddress>
        gateway{};  // none: on-link, the destination itself is the neighbour. May be of the other family
    std::uint32_t ifindex{};
    auto operator<=>(const NextHopRef&) const = default;
};

// What a look-up of the main table ends with: of several routes to one prefix only the one with the lowest metric is
// here, and of its next hops only those that are not dead.
struct Route {
    Prefix prefix{};
    std::vector<NextHopRef> next_hops{};  // sorted; empty: blackhole, unreachable or prohibited
    auto operator<=>(const Route&) const = default;
};

struct Link {
    std::uint32_t ifindex{};
    std::string name{};
    MacAddress mac{};  // zeros if it has none
    std::uint32_t mtu{};
    bool up{};  // administratively up and with a carrier
    auto operator<=>(const Link&) const = default;
};

struct LocalAddress {
    IpAddress address{};
    std::uint8_t prefix_length{};
    std::uint32_t ifindex{};
    auto operator<=>(const LocalAddress&) const = default;
};

struct NetworkSnapshot {
    std::vector<Link> links{};              // by ifindex
    std::vector<LocalAddress> addresses{};  // sorted; link-local ones included
    std::vector<Route> routes{};            // both families, sorted by prefix, each prefix once; no link-local prefixes
    std::uint64_t routes_ignored{};         // beyond the bound, or not understood: a look-up here may then be wrong
    bool policy_rules{};                    // there are rules or source-specific routes, which Shunt does not follow
    bool operator==(const NetworkSnapshot&) const = default;
};

}  // namespace shunt::controlplane
