// The table of the scheduler source-hash: every backend has one run of slots, as long as its weight asks, in key order.
// Shares are as exact as slots can be; the price is that a change moves every border behind it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/balance/maglev.h"

namespace shunt {

// The slots, as maglev_table() has them. Everybody present has one slot, and of the others its share by weight.
// table_size is not below the number of backends.
std::vector<std::uint16_t> runs_table(std::span<const WeightedKey> backends, std::uint32_t table_size);

}  // namespace shunt
