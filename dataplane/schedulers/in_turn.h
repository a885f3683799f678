// round-robin and weighted-round-robin: one after the other, in an order that was worked out beforehand.
#pragma once

#include "dataplane/schedulers/scheduler.h"

namespace shunt::dataplane {

struct InTurn {
    static constexpr Choice id = Choice::in_turn;

    static std::uint32_t choose(const Opening& opening, SchedulerMemory& memory) noexcept {
        if (opening.numbers.empty()) return opening.at_slot_of(opening.hash);
        const auto count = static_cast<std::uint32_t>(opening.numbers.size());
        return opening.numbers[memory.next_turn(opening.index, count)];
    }
};

}  // namespace shunt::dataplane
