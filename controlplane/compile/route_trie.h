// Longest-prefix match as the data plane walks it (shm/layout.h, TrieNode): every leaf holds the answer.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/base/result.h"
#include "src/net/address.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

struct LeafRoute {
    Prefix prefix{};       // bits beyond its length do not count
    std::uint32_t rank{};  // of several routes to one prefix the highest counts
    NextHopIndex next_hop{};
};

// The trie of one family over those of `routes` that belong to it; no nodes if there are none. An error if it would
// have more than `max_nodes`.
Result<std::vector<shm::TrieNode>> build_trie(std::span<const LeafRoute> routes, Family family,
                                              std::size_t max_nodes = shm::max_trie_nodes);

// What the data plane will find.
NextHopIndex look_up(std::span<const shm::TrieNode> trie, const IpAddress& destination) noexcept;

}  // namespace shunt::controlplane
