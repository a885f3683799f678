#include "src/balance/runs.h"

#include <algorithm>

#include "src/base/assert.h"

namespace shunt {

std::vector<std::uint16_t> runs_table(std::span<const WeightedKey> backends, std::uint32_t table_size) {
    std::uint64_t all = 0;
    std::uint64_t present = 0;
    for (const WeightedKey& backend : backends) {
        all += backend.weight;
        present += backend.weight != 0;
    }
    SHUNT_ASSERT(present <= table_size);
    std::vector<std::uint16_t> slots(table_size, maglev_none);
    std::uint64_t weight = 0;  // of those who have their run
    std::uint64_t runs = 0;
    std::uint64_t begin = 0;
    std::uint16_t position = 0;
    for (const std::uint16_t i : key_order(backends)) {
        if (backends[i].weight != 0) {
            weight += backends[i].weight;
            const std::uint64_t end = ++runs + weight * (table_size - present) / all;
            std::fill(slots.begin() + static_cast<std::ptrdiff_t>(begin),
                      slots.begin() + static_cast<std::ptrdiff_t>(end), position);
            begin = end;
        }
        ++position;
    }
    return slots;
}

}  // namespace shunt
