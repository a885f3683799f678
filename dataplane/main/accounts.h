// What a data plane counted outlives it: its successor counts on, and books what it did not live to account for, so
// that `received = forwarded + punted + dropped` holds for every worker at all times.
#pragma once

#include "src/shm/state.h"

namespace shunt::dataplane {

// Books, as `lost_in_restart`, what a holder that is gone had received and not accounted for.
void book_lost(const shm::State& state) noexcept;

// Into a new region, whose counters are zero: those of `from`, whose holder is gone, are added to it. Worker w of the
// old ones goes on in worker w modulo the number of the new ones. Services and backends keep their indices, so this
// says something only with the same tables; ports theirs.
void inherit_counters(const shm::StateReader& from, const shm::State& to) noexcept;

}  // namespace shunt::dataplane
