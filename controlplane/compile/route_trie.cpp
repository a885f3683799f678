#include "controlplane/compile/route_trie.h"

#include <algorithm>
#include <string>

namespace shunt::controlplane {
namespace {

using shm::TrieNode;

std::size_t first_byte(Family family) { return family == Family::ipv4 ? 12 : 0; }

// Routes come in ascending order of length, so an entry on the way to a longer prefix is a leaf or a child, and what a
// prefix covers within its last node are leaves.
class Builder {
  public:
    Builder(Family family, std::size_t max_nodes) : first_(first_byte(family)), max_nodes_(max_nodes) {
        nodes_.push_back({});
    }

    bool insert(const LeafRoute& route) {
        const IpAddress::Bytes bytes = route.prefix.address.bytes();
        std::size_t node = 0;
        std::size_t at = first_;
        unsigned left = route.prefix.length;
        for (; left > 8; left -= 8) {
            const auto child = child_of(node, bytes[at++]);
            if (!child) return false;
            node = child;
        }
        const unsigned span = 1U << (8 - left);
        const unsigned from = left == 0 ? 0 : bytes[at] & ~(span - 1) & 0xff;
        std::fill_n(nodes_[node].entries.begin() + from, span, route.next_hop.value);
        return true;
    }
    std::vector<TrieNode> take() { return std::move(nodes_); }

  private:
    // 0: no room for another node.
    std::size_t child_of(std::size_t node, std::uint8_t byte) {
        const std::uint32_t entry = nodes_[node].entries[byte];
        if (entry & TrieNode::child) return entry & ~TrieNode::child;
        if (nodes_.size() == max_nodes_) return 0;
        TrieNode fresh;
        fresh.entries.fill(entry);
        nodes_[node].entries[byte] = TrieNode::child | static_cast<std::uint32_t>(nodes_.size());
        nodes_.push_back(fresh);
        return nodes_.size() - 1;
    }

    std::size_t first_;
    std::size_t max_nodes_;
    std::vector<TrieNode> nodes_{};
};

}  // namespace

Result<std::vector<TrieNode>> build_trie(std::span<const LeafRoute> routes, Family family, std::size_t max_nodes) {
    std::vector<LeafRoute> ours;
    std::copy_if(routes.begin(), routes.end(), std::back_inserter(ours),
                 [&](const LeafRoute& route) { return route.prefix.address.family() == family; });
    if (ours.empty()) return std::vector<TrieNode>{};
    std::stable_sort(ours.begin(), ours.end(), [](const LeafRoute& a, const LeafRoute& b) {
        return std::pair(a.prefix.length, a.rank) < std::pair(b.prefix.length, b.rank);
    });
    Builder builder(family, max_nodes);
    for (const LeafRoute& route : ours) {
        if (!builder.insert(route)) {
            return Error{.message = "too many routes: the table of " +
                                    std::string(family == Family::ipv4 ? "IPv4" : "IPv6") + " needs more than " +
                                    std::to_string(max_nodes) + " nodes",
                         .remedy = "keep full Internet tables out of the main routing table of this host"};
        }
    }
    return builder.take();
}

NextHopIndex look_up(std::span<const TrieNode> trie, const IpAddress& destination) noexcept {
    if (trie.empty()) return {};
    const IpAddress::Bytes bytes = destination.bytes();
    std::uint32_t node = 0;
    for (std::size_t at = first_byte(destination.family()); at < bytes.size(); ++at) {
        const std::uint32_t entry = trie[node].entries[bytes[at]];
        if (!(entry & TrieNode::child)) return NextHopIndex(static_cast<std::uint16_t>(entry));
        node = entry & ~TrieNode::child;
    }
    return {};
}

}  // namespace shunt::controlplane
