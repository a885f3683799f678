#include "src/balance/schedule.h"

#include <algorithm>

#include "src/balance/ring.h"
#include "src/balance/runs.h"
#include "src/balance/turns.h"

namespace shunt {
namespace {

std::vector<WeightedKey> as_seen_by(const SchedulerTraits& traits, std::span<const WeightedKey> backends) {
    std::vector<WeightedKey> seen(backends.begin(), backends.end());
    for (WeightedKey& backend : seen) {
        if (!traits.weighted) backend.weight = std::min(backend.weight, 1U);
    }
    return seen;
}

std::vector<std::uint32_t> weights_in_key_order(std::span<const WeightedKey> backends) {
    std::vector<std::uint32_t> weights;
    for (const std::uint16_t i : key_order(backends)) weights.push_back(backends[i].weight);
    return weights;
}

}  // namespace

std::vector<std::uint16_t> slot_table(Scheduler scheduler, std::span<const WeightedKey> backends,
                                      std::uint32_t table_size) {
    const SchedulerTraits& traits = traits_of(scheduler);
    const std::vector<WeightedKey> seen = as_seen_by(traits, backends);
    switch (traits.slots) {
        case SlotRule::maglev:
            return maglev_table(seen, table_size);
        case SlotRule::ring:
            return ring_table(seen, table_size);
        case SlotRule::runs:
            return runs_table(seen, table_size);
    }
    return {};
}

std::vector<std::uint16_t> choice_numbers(Scheduler scheduler, std::span<const WeightedKey> backends) {
    const SchedulerTraits& traits = traits_of(scheduler);
    const std::vector<std::uint32_t> weights = weights_in_key_order(as_seen_by(traits, backends));
    if (traits.choice == Choice::in_turn) return smooth_turns(weights);
    if (counts_flows(traits.choice)) return {weights.begin(), weights.end()};
    return {};
}

}  // namespace shunt
