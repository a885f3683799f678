// Consistent hashing with virtual nodes (Karger et al., "Consistent hashing and random trees", STOC 1997), read at as
// many evenly spaced places as a table has slots: a pure function of keys, weights and size.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/balance/maglev.h"

namespace shunt {

// Virtual nodes of a backend for each unit of its weight: 400 at weight 100, so that shares are within about 5 percent.
// They depend on the backend's own weight alone: no change moves what belongs to two others.
constexpr std::uint32_t ring_points_per_weight = 4;

// The slots, as maglev_table() has them: positions in key order, or maglev_none where nobody is present. Virtual node i
// of a backend is at XXH64(key, seed i); a slot belongs to the first node at or after its beginning, round the ring.
std::vector<std::uint16_t> ring_table(std::span<const WeightedKey> backends, std::uint32_t table_size);

}  // namespace shunt
