// For tests: a worker that stands still when told to, as a wedged one would, between two bursts and with a generation
// in hand. Only there if the process was started with test hooks; else workers are not wrapped, and it costs nothing.
#pragma once

#include <atomic>
#include <cstdint>

#include "dataplane/worker_loop.h"
#include "src/base/clock.h"
#include "src/base/time.h"

namespace shunt::dataplane {

class Wedge {
  public:
    // The main thread: from its next burst on the worker stands still for so long.
    void drive_in(Duration d) noexcept { nanoseconds_.store(d.nanoseconds, std::memory_order_relaxed); }
    // The worker: how long it is to stand still, once.
    Duration take() noexcept {
        if (nanoseconds_.load(std::memory_order_relaxed) == 0) return {};
        return {nanoseconds_.exchange(0, std::memory_order_relaxed)};
    }

  private:
    std::atomic<std::int64_t> nanoseconds_{};
};

// `rest`: called over and over while it stands still.
template <Pollable W, Clock C, class Rest>
class Wedgeable {
  public:
    Wedgeable(W& worker, Wedge& wedge, const C& clock, Rest rest)
        : worker_(worker), wedge_(wedge), clock_(clock), rest_(rest) {}

    std::uint32_t poll_once() noexcept {
        if (const Duration still = wedge_.take(); still > Duration{}) {
            for (const Instant end = clock_.now() + still; clock_.now() < end;) rest_();
        }
        return worker_.poll_once();
    }
    void go_offline() noexcept { worker_.go_offline(); }
    void go_online() noexcept { worker_.go_online(); }

  private:
    W& worker_;
    Wedge& wedge_;
    const C& clock_;
    Rest rest_;
};

}  // namespace shunt::dataplane
