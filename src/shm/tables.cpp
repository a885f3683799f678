#include "src/shm/tables.h"

#include <algorithm>

namespace shunt::shm {

EndpointMap::EndpointMap(const std::byte* region, const EndpointMapRef& ref) noexcept {
    if (ref.page_table == 0) return;
    region_ = region;
    pages_ = reinterpret_cast<const std::uint64_t*>(region + ref.page_table + sizeof(BlockHeader));
    bits_ = ref.bits;
    shift_ = 63 - bits_;
}

Tables::Tables(const std::byte* region, const Root& root) noexcept
    : services(region, root.services),
      listeners(region, root.listeners),
      backends(region, root.backends),
      sources(region, root.sources),
      listener_map(region, root.listener_map),
      range_map(region, root.range_map),
      source_map(region, root.source_map),
      local_map(region, root.local_map),
      tunnel_map(region, root.tunnel_map),
      region_(region),
      generation_(root.generation),
      site_seed_(root.site_seed),
      tunnel_source_(root.tunnel_source) {
    if (root.routes_v4.nodes) routes_v4_ = array<TrieNode>(root.routes_v4.nodes, root.routes_v4.count);
    if (root.routes_v6.nodes) routes_v6_ = array<TrieNode>(root.routes_v6.nodes, root.routes_v6.count);
    // A record of zeros stands for "none" where no next hop was published at all.
    next_hops_ = {reinterpret_cast<const NextHopRecord*>(detail::zeros.data()), 1};
    if (root.next_hops && root.next_hop_count) next_hops_ = array<NextHopRecord>(root.next_hops, root.next_hop_count);
}

ListenerIndex Tables::listener_of_many(const IpAddress& address, Be16 port, Protocol protocol) const noexcept {
    ListenerIndex found;
    ListenerIndex next(static_cast<std::uint16_t>(range_map.find(address, any_port, protocol)));
    for (std::uint32_t step = 0; next && step < max_range_depth; ++step) {
        const ListenerRecord& listener = listeners[next.value];
        if (port < listener.port) {
            next = listener.ranges.below;
        } else if (port > listener.last_port) {
            next = listener.ranges.above;
        } else {
            found = next;
            next = listener.ranges.within;
        }
    }
    return found;
}

// Do packets to this port of a VIP reach the backend on it? A source lists the first of its listeners only.
bool Tables::may_keep(const SourceRecord& source, Be16 port) const noexcept {
    if (source.count >= source.listeners.size()) return true;
    return std::any_of(source.listeners.begin(), source.listeners.begin() + source.count, [&](ListenerIndex index) {
        const ListenerRecord& listener = listeners[index.value];
        return listener_of(listener.address, port, listener.protocol) == index;
    });
}

Handle Tables::choose(const ListenerRecord& listener, std::uint64_t hash) const noexcept {
    const auto table = slots(listener);
    if (table.empty()) return {};
    const auto choices = handles(listener);
    const std::uint16_t position = table[scale_hash(hash, table.size())];
    return position < choices.size() ? choices[position] : Handle{};
}

std::uint32_t Tables::walk(std::span<const TrieNode> trie, std::span<const std::uint8_t> bytes) const noexcept {
    std::uint32_t node = 0;
    for (const std::uint8_t byte : bytes) {
        if (node >= trie.size()) return 0;
        const std::uint32_t entry = trie[node].entries[byte];
        if (!(entry & TrieNode::child)) return entry;
        node = entry & ~TrieNode::child;
    }
    return 0;
}

NextHopIndex Tables::route(const IpAddress& destination) const noexcept {
    const IpAddress::Bytes bytes = destination.bytes();
    const std::span<const std::uint8_t> all(bytes);
    const std::uint32_t found = destination.is_v4() ? walk(routes_v4_, all.subspan(12)) : walk(routes_v6_, all);
    return NextHopIndex(static_cast<std::uint16_t>(found < next_hops_.size() ? found : 0));
}

}  // namespace shunt::shm
