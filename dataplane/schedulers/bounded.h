// maglev-bounded: the table's choice, unless that backend has its fill; then that of the next slot, and so on
// (Mirrokni, Thorup, Zadimoghaddam: "Consistent hashing with bounded loads", SODA 2018).
#pragma once

#include "dataplane/schedulers/scheduler.h"

namespace shunt::dataplane {

struct Bounded {
    static constexpr Choice id = Choice::bounded;

    static std::uint32_t choose(const Opening& opening, SchedulerMemory& memory) noexcept {
        const Totals all = totals(opening, memory);
        std::size_t slot = scale_hash(opening.hash, opening.slots.size());
        const std::uint32_t first = opening.slots[slot];
        for (std::uint32_t probe = 0; probe < most_probes; ++probe) {
            const std::uint32_t position = opening.slots[slot];
            if (has_room(opening, memory, all, position)) return position;
            slot = slot + 1 < opening.slots.size() ? slot + 1 : 0;
        }
        // Nearly everybody is full: somebody never is, because the bounds add up to more than there are flows.
        const auto count = static_cast<std::uint32_t>(opening.handles.size());
        for (std::uint32_t step = 1; step < count; ++step) {
            const std::uint32_t position = (first + step) % count;
            if (has_room(opening, memory, all, position)) return position;
        }
        return first;
    }

  private:
    static constexpr std::uint32_t most_probes = 64;

    struct Totals {
        std::uint64_t flows{1};  // with the one that opens
        std::uint64_t weight{};
    };
    static Totals totals(const Opening& opening, const SchedulerMemory& memory) noexcept {
        Totals all;
        for (std::uint32_t position = 0; position < opening.handles.size(); ++position) {
            all.flows += opening.flows(position, memory);
            all.weight += opening.weight(position);
        }
        return all;
    }
    // At most load_factor × its share of all flows, rounded up.
    static bool has_room(const Opening& opening, const SchedulerMemory& memory, const Totals& all,
                         std::uint32_t position) noexcept {
        const std::uint64_t fill = opening.listener.load_factor * all.flows * opening.weight(position);
        return opening.flows(position, memory) * 100 * all.weight < fill;
    }
};

}  // namespace shunt::dataplane
