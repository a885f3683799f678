// The life of a worker on its core: bursts until it is told to stop, and what it does when there is nothing to do.
#pragma once

#include <atomic>
#include <concepts>
#include <cstdint>

namespace shunt::dataplane {

constexpr std::uint32_t empty_bursts_before_sleep = 1000;

// clang-format off: version 14 does not know requirements
template <class W>
concept Pollable = requires(W& worker) {
    { worker.poll_once() }
    noexcept->std::same_as<std::uint32_t>;
    { worker.go_offline() }
    noexcept;
    { worker.go_online() }
    noexcept;
};
// clang-format on

// `idle`: called, if the worker may sleep, after 1,000 polls in a row that found nothing and after each further one.
// Around it the worker is offline: nobody waits for a sleeper.
template <Pollable W, class Idle>
void run_worker(W& worker, const std::atomic<bool>& stop, bool may_sleep, Idle&& idle) {
    std::uint32_t empty = 0;
    worker.go_online();
    while (!stop.load(std::memory_order_relaxed)) {
        empty = worker.poll_once() != 0 ? 0 : empty + 1;
        if (!may_sleep || empty < empty_bursts_before_sleep) continue;
        empty = empty_bursts_before_sleep;
        worker.go_offline();
        idle();
        worker.go_online();
    }
    worker.go_offline();
}

}  // namespace shunt::dataplane
