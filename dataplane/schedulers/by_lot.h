// random: drawn by weight.
#pragma once

#include "dataplane/schedulers/scheduler.h"

namespace shunt::dataplane {

struct ByLot {
    static constexpr Choice id = Choice::by_lot;

    static std::uint32_t choose(const Opening& opening, SchedulerMemory& memory) noexcept {
        return opening.at_slot_of(memory.random());
    }
};

}  // namespace shunt::dataplane
