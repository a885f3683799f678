// The closed list of schedulers, chosen by the number in shared memory. Adding one touches its file, this list, and
// src/balance/scheduler.h.
#pragma once

#include "dataplane/schedulers/better_of_two.h"
#include "dataplane/schedulers/bounded.h"
#include "dataplane/schedulers/by_lot.h"
#include "dataplane/schedulers/in_turn.h"
#include "dataplane/schedulers/least_loaded.h"

namespace shunt::dataplane {

template <OpeningScheduler... S>
struct SchedulerList {
    // Handle 0: there is nobody, or a scheduler that is none of ours; then the table is asked.
    static shm::Handle choose(const Opening& opening, SchedulerMemory& memory) noexcept {
        if (opening.slots.empty() || opening.handles.empty()) return {};
        std::uint32_t position = UINT32_MAX;
        static_cast<void>(
            ((opening.listener.choice == S::id ? (position = S::choose(opening, memory), true) : false) || ...));
        return position < opening.handles.size() ? opening.handles[position] : shm::Handle{};
    }
    // All but by_table, which needs no type.
    static constexpr bool match_the_names() noexcept {
        std::uint32_t known = 1U << static_cast<unsigned>(Choice::by_table);
        ((known |= 1U << static_cast<unsigned>(S::id)), ...);
        return known == (1U << static_cast<unsigned>(Choice::count)) - 1;
    }
};

using Schedulers = SchedulerList<InTurn, LeastLoaded, BetterOfTwo, ByLot, Bounded>;
static_assert(Schedulers::match_the_names(), "every choice has a type in the list");

}  // namespace shunt::dataplane
