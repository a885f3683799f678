#include "controlplane/compile/next_hops.h"

#include <algorithm>

#include "controlplane/compile/route_trie.h"

namespace shunt::controlplane {
namespace {

enum Rank : std::uint32_t { of_kernel, configured, of_this_host };

Prefix host_prefix(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.is_v4() ? 32 : 128)};
}

Error too_many_hops() {
    return {.message = "more than " + std::to_string(shm::max_next_hops - 1) + " next hops are in use",
            .remedy = "put backends behind a gateway instead of on connected subnets"};
}

SharedVector<shm::TrieNode> share(std::vector<shm::TrieNode> nodes) {
    if (nodes.empty()) return nullptr;
    return std::make_shared<const std::vector<shm::TrieNode>>(std::move(nodes));
}

}  // namespace

struct NextHops::Draft {
    NextHops& hops;
    Book& book;
    Instant now;
    std::vector<LeafRoute> leaves{};

    bool add(const Prefix& prefix, Rank rank, const Hop& hop) {
        const std::uint32_t number = book.hops.take(hop, now);
        hops.of_routes_[number] = hop;
        leaves.push_back({prefix, rank, NextHopIndex(static_cast<std::uint16_t>(number))});
        return number != 0;
    }
    bool add_kernel_routes() {
        for (const RouteView& route : hops.view().routes) {
            if (!route.port) {
                leaves.push_back({route.prefix, of_kernel, {}});
            } else if (!add(route.prefix, of_kernel, {route.gateway.value_or(IpAddress{}), *route.port})) {
                return false;
            }
        }
        for (const IpAddress& local : hops.view().local_addresses) {
            leaves.push_back({host_prefix(local), of_this_host, {}});
        }
        return true;
    }
    bool add_static_routes() {
        for (std::size_t i = 0; i < hops.statics_.size(); ++i) {
            const Hop& hop = hops.static_hops_[i];
            if (!add(host_prefix(hop.address), configured, hop)) return false;
            for (const Prefix& prefix : hops.statics_[i].prefix) {
                if (!add(prefix, configured, hop)) return false;
            }
        }
        return true;
    }
    Status build() {
        auto v4 = build_trie(leaves, Family::ipv4);
        if (!v4) return v4.error();
        auto v6 = build_trie(leaves, Family::ipv6);
        if (!v6) return v6.error();
        hops.v4_ = share(*std::move(v4));
        hops.v6_ = share(*std::move(v6));
        return Done{};
    }
};

Result<NextHops> NextHops::make(const std::shared_ptr<const NetworkView>& view, const config::DesiredState& state,
                                Book& book, Instant now) {
    NextHops hops;
    hops.view_ = view;
    hops.ports_ = state.dataplane.ports;
    hops.statics_ = state.next_hops;
    for (const config::NextHop& hop : state.next_hops) {
        const auto port = std::find_if(hops.ports_.begin(), hops.ports_.end(),
                                       [&](const config::Port& p) { return p.name == hop.port; });
        if (port == hops.ports_.end()) {
            return Error{.message = "next hop " + hop.address.text() + ": there is no port \"" + hop.port + "\"",
                         .remedy = "name one of the [[dataplane.port]]s"};
        }
        const PortIndex index(static_cast<std::uint8_t>(port - hops.ports_.begin()));
        hops.static_hops_.push_back({hop.address, index});
    }
    Draft draft{hops, book, now};
    if (!draft.add_kernel_routes() || !draft.add_static_routes()) return too_many_hops();
    if (auto built = draft.build(); !built) return built.error();
    return hops;
}

bool NextHops::made_of(const std::shared_ptr<const NetworkView>& view, const config::DesiredState& state) const {
    const bool same_view = view_ == view || (view_ && view && *view_ == *view);
    return same_view && ports_ == state.dataplane.ports && statics_ == state.next_hops;
}

const NetworkView& NextHops::view() const noexcept {
    static const NetworkView nothing_known{};
    return view_ ? *view_ : nothing_known;
}

Result<NextHopIndex> NextHops::to_backend(const IpAddress& backend, Book& book, Instant now) const {
    const SharedVector<shm::TrieNode>& nodes = trie(backend.family());
    const NextHopIndex found = nodes ? look_up(*nodes, backend) : NextHopIndex{};
    if (!found) return found;
    const Hop& hop = of_routes_.at(found.value);
    if (!hop.address.is_unspecified()) return found;
    const std::uint32_t own = book.hops.take({backend, hop.port}, now);
    if (own == 0) return too_many_hops();
    return NextHopIndex(static_cast<std::uint16_t>(own));
}

std::optional<std::uint16_t> NextHops::known_mtu(PortIndex port) const {
    const auto& known = view().port_mtu;
    if (port.value < known.size() && known[port.value] != 0) return known[port.value];
    const bool has_its_own =
        port.value < ports_.size() && std::holds_alternative<config::CapturePort>(ports_[port.value].kind);
    return has_its_own ? std::optional(ports_[port.value].mtu) : std::nullopt;
}

shm::NextHopRecord NextHops::record(const Hop& hop, std::uint16_t version) const {
    shm::NextHopRecord record{};
    record.address = hop.address;
    record.version = version;
    record.port = hop.port;
    record.mtu = known_mtu(hop.port).value_or(config::Port{}.mtu);
    if (hop.address.is_unspecified()) record.flags = shm::NextHopRecord::on_link;
    const auto fixed = std::find(static_hops_.begin(), static_hops_.end(), hop);
    if (fixed != static_hops_.end()) {
        const config::NextHop& next_hop = statics_[static_cast<std::size_t>(fixed - static_hops_.begin())];
        record.flags = shm::NextHopRecord::has_static;
        record.mac = next_hop.mac;
        record.mtu = std::min(next_hop.mtu, known_mtu(hop.port).value_or(next_hop.mtu));
        if (next_hop.vlan) {
            record.flags |= shm::NextHopRecord::sets_tags;
            std::copy_n(next_hop.vlan->begin(), std::min(next_hop.vlan->size(), record.tags.size()),
                        record.tags.begin());
        }
    }
    return record;
}

}  // namespace shunt::controlplane
