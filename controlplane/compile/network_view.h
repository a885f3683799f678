// Where packets can go, as the compiler sees it: what the kernel said (network/snapshot.h), told in ports of ours.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "controlplane/network/snapshot.h"
#include "src/base/index.h"
#include "src/config/desired_state.h"
#include "src/net/address.h"

namespace shunt::controlplane {

struct RouteView {
    Prefix prefix{};
    std::optional<PortIndex> port{};  // none: to this host, to nowhere, or through an interface that is no port of ours
    std::optional<IpAddress> gateway{};  // none: on-link, the destination itself is the neighbour
    auto operator<=>(const RouteView&) const = default;
};

struct NetworkView {
    std::vector<RouteView> routes{};           // each prefix once
    std::vector<IpAddress> local_addresses{};  // of this host
    std::vector<std::uint16_t> port_mtu{};     // by PortIndex; 0 or absent: as configured
    bool operator==(const NetworkView&) const = default;
};

// Of several next hops of one route the first that leaves through a port of ours counts.
NetworkView network_view(const NetworkSnapshot& snapshot, const std::vector<config::Port>& ports);

// The kernel's name of the device under a port; empty for ports without one.
std::string device_of(const config::Port& port);

}  // namespace shunt::controlplane
