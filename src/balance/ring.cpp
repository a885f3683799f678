#include "src/balance/ring.h"

#include <xxhash.h>

#include "src/net/packet_hash.h"

namespace shunt {
namespace {

// The first virtual node in a slot.
struct Node {
    std::uint64_t at{UINT64_MAX};
    std::uint16_t owner{maglev_none};
};

void put_nodes(const WeightedKey& backend, std::uint16_t position, std::vector<Node>& first) {
    for (std::uint32_t i = 0; i < backend.weight * ring_points_per_weight; ++i) {
        const std::uint64_t at = XXH64(backend.key.data(), backend.key.size(), i);
        Node& known = first[scale_hash(at, first.size())];
        if (at < known.at || known.owner == maglev_none) known = {at, position};
    }
}

}  // namespace

std::vector<std::uint16_t> ring_table(std::span<const WeightedKey> backends, std::uint32_t table_size) {
    std::vector<Node> first(table_size);
    std::uint16_t position = 0;
    for (const std::uint16_t i : key_order(backends)) put_nodes(backends[i], position++, first);

    std::vector<std::uint16_t> slots(table_size, maglev_none);
    std::uint16_t next = maglev_none;
    // Twice round, backwards: the last slots belong to the first node of the ring.
    for (int round = 0; round < 2; ++round) {
        for (std::size_t slot = table_size; slot-- > 0;) {
            if (first[slot].owner != maglev_none) next = first[slot].owner;
            slots[slot] = next;
        }
    }
    return slots;
}

}  // namespace shunt
