// power-of-two: two drawn by weight, and of these the one with fewer live flows for its weight (Mitzenmacher, "The
// power of two choices in randomized load balancing", IEEE TPDS 2001).
#pragma once

#include "dataplane/schedulers/scheduler.h"

namespace shunt::dataplane {

struct BetterOfTwo {
    static constexpr Choice id = Choice::better_of_two;

    static std::uint32_t choose(const Opening& opening, SchedulerMemory& memory) noexcept {
        const std::uint32_t one = opening.at_slot_of(memory.random());
        const std::uint32_t other = opening.at_slot_of(memory.random());
        return opening.is_lighter(other, one, memory) ? other : one;
    }
};

}  // namespace shunt::dataplane
