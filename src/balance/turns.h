// The order in which backends take their turns: smooth weighted round robin, worked out beforehand, so that a worker
// only counts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace shunt {

// Longer orders are not made: weights are rounded instead, to parts of this many, but never to nothing.
constexpr std::uint64_t max_turns = 1U << 18;

// Positions of those whose weight is not 0. Over the whole order each has a number of turns in proportion to its
// weight, and after any n turns it had less than one more or one less than n × weight / sum of weights: no backend gets
// its turns in a row. Equal weights give plain round robin. Weights are at most max_weight; empty if all are 0.
std::vector<std::uint16_t> smooth_turns(std::span<const std::uint32_t> weights);

}  // namespace shunt
