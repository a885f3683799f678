#include "controlplane/compile/network_view.h"

#include <algorithm>
#include <limits>
#include <map>
#include <string_view>

namespace shunt::controlplane {
namespace {

using PortByInterface = std::map<std::uint32_t, PortIndex>;

PortByInterface ports_by_interface(const std::vector<Link>& links, const std::vector<config::Port>& ports) {
    PortByInterface found;
    for (std::size_t p = 0; p < ports.size(); ++p) {
        const std::string device = device_of(ports[p]);
        const auto link = std::find_if(links.begin(), links.end(), [&](const Link& l) { return l.name == device; });
        if (link != links.end()) found.emplace(link->ifindex, PortIndex(static_cast<std::uint8_t>(p)));
    }
    return found;
}

RouteView route_view(const Route& route, const PortByInterface& ports) {
    for (const NextHopRef& hop : route.next_hops) {
        const auto port = ports.find(hop.ifindex);
        if (port != ports.end()) return {route.prefix, port->second, hop.gateway};
    }
    return {route.prefix, std::nullopt, std::nullopt};
}

}  // namespace

std::string device_of(const config::Port& port) {
    if (const auto* af_xdp = std::get_if<config::AfXdpPort>(&port.kind)) return af_xdp->device;
    const auto* vdev = std::get_if<config::VdevPort>(&port.kind);
    if (vdev == nullptr) return {};
    // EAL's form: "net_tap0,iface=x,…"
    std::string_view rest = vdev->arguments;
    while (!rest.empty()) {
        const std::string_view argument = rest.substr(0, rest.find(','));
        constexpr std::string_view key = "iface=";
        if (argument.starts_with(key)) return std::string(argument.substr(key.size()));
        rest.remove_prefix(std::min(rest.size(), argument.size() + 1));
    }
    return {};
}

NetworkView network_view(const NetworkSnapshot& snapshot, const std::vector<config::Port>& ports) {
    NetworkView view;
    const PortByInterface by_interface = ports_by_interface(snapshot.links, ports);
    for (const Route& route : snapshot.routes) view.routes.push_back(route_view(route, by_interface));
    for (const LocalAddress& local : snapshot.addresses) view.local_addresses.push_back(local.address);
    std::sort(view.local_addresses.begin(), view.local_addresses.end());
    const auto last = std::unique(view.local_addresses.begin(), view.local_addresses.end());
    view.local_addresses.erase(last, view.local_addresses.end());

    view.port_mtu.resize(ports.size());
    for (const Link& link : snapshot.links) {
        const auto port = by_interface.find(link.ifindex);
        if (port == by_interface.end()) continue;
        const auto mtu = std::min<std::uint32_t>(link.mtu, std::numeric_limits<std::uint16_t>::max());
        view.port_mtu[port->second.value] = static_cast<std::uint16_t>(mtu);
    }
    return view;
}

}  // namespace shunt::controlplane
