// least-connections and weighted-least-connections: whoever would have the fewest live flows for its weight. Every
// backend is looked at, which the configuration bounds; equals take turns.
#pragma once

#include "dataplane/schedulers/scheduler.h"

namespace shunt::dataplane {

struct LeastLoaded {
    static constexpr Choice id = Choice::least_loaded;

    static std::uint32_t choose(const Opening& opening, SchedulerMemory& memory) noexcept {
        const auto count = static_cast<std::uint32_t>(opening.handles.size());
        std::uint32_t position = memory.next_turn(opening.index, count);
        std::uint32_t best = position;
        for (std::uint32_t seen = 1; seen < count; ++seen) {
            position = position + 1 < count ? position + 1 : 0;
            if (opening.is_lighter(position, best, memory)) best = position;
        }
        return best;
    }
};

}  // namespace shunt::dataplane
