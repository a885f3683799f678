// How many flows of each backend live: what schedulers that go by load ask. No worker writes what another does.
//
// Each worker counts the flows it chose for, in the state region, up and down with its flow table. The main thread sums
// all workers every 20 ms and tells each what to add to `workers × own`: so that the worker's estimate is the sum as it
// was, plus as many times its own change since as there are workers. Numbers are per handle: a backend behind two ports
// of its own is two.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "src/base/time.h"
#include "src/shm/state.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

// As one worker sees them.
class LiveFlows {
  public:
    LiveFlows() = default;  // counts nothing: of tables that are only read
    LiveFlows(const shm::State& state, WorkerIndex worker) noexcept
        : own_(state.own_flows(worker)),
          offsets_(state.flow_offsets(worker)),
          workers_(static_cast<std::int32_t>(state.shape().workers)) {}

    void add(shm::Handle handle) noexcept { change(handle, 1); }
    void remove(shm::Handle handle) noexcept { change(handle, -1); }

    // Of all workers, as far as this one knows.
    std::uint32_t estimate(shm::Handle handle) const noexcept {
        if (handle.index() >= own_.size()) return 0;
        const std::int32_t own = own_[handle.index()].of(handle);
        return static_cast<std::uint32_t>(std::max(0, offsets_[handle.index()].of(handle) + workers_ * own));
    }

  private:
    // A handle that is new takes the word over: what the old incarnation's flows did is forgotten, and they are no
    // longer counted when they end.
    void change(shm::Handle handle, std::int32_t by) noexcept {
        if (handle.index() >= own_.size()) return;
        shm::FlowCount& count = own_[handle.index()];
        const std::int32_t number = count.of(handle) + by;
        if (number >= 0) count.set(handle, number);
    }

    std::span<shm::FlowCount> own_{};
    std::span<const shm::FlowCount> offsets_{};
    std::int32_t workers_{};
};

// The main thread's side.
class FlowSums {
  public:
    static constexpr Duration interval = Duration::milliseconds(20);

    explicit FlowSums(std::vector<shm::Handle> handles = {}) : handles_(std::move(handles)) {}

    // The backends whose flows anybody asks about, from now on.
    void follow(const shm::Tables& tables);
    void sum(const shm::State& state) const noexcept;

  private:
    std::vector<shm::Handle> handles_;
};

}  // namespace shunt::dataplane
