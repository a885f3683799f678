// What a scheduler is compiled to: pure functions of its name, keys, weights and size, so that every node has the same.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "src/balance/maglev.h"
#include "src/balance/scheduler.h"

namespace shunt {

// The table of slots, as maglev_table() describes it.
std::vector<std::uint16_t> slot_table(Scheduler scheduler, std::span<const WeightedKey> backends,
                                      std::uint32_t table_size);

// What the worker's choice goes by, beside the slots: the order of turns, or the weight of each backend in key order;
// empty if it needs nothing.
std::vector<std::uint16_t> choice_numbers(Scheduler scheduler, std::span<const WeightedKey> backends);

}  // namespace shunt
