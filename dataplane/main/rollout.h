// How a generation gets around: accepted, then passed by every worker, then followed by the steering programs. Also
// notices a worker that stands still meanwhile. Pure: time and the workers' blocks are handed in.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "src/base/index.h"
#include "src/base/time.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

// DESIGN section 3: then the process aborts, and a successor adopts its flows.
constexpr Duration stall_limit = Duration::seconds(2);
// The most that one step adds to a worker's standing still: if this thread did not run either, nothing is proved.
constexpr Duration longest_step = Duration::milliseconds(100);

class Rollout {
  public:
    void accepted(Generation generation) noexcept {
        accepted_ = generation;
        waited_ = {};
    }

    // Call often. The generation that every worker has passed now, once.
    std::optional<Generation> step(Instant now, std::span<const shm::WorkerBlock> workers) noexcept;
    // Workers are being waited for, or `step` has not said so yet.
    bool waiting() const noexcept { return accepted_ != passed_; }
    // The worker that has kept a generation waiting for too long.
    std::optional<WorkerIndex> stalled() const noexcept {
        return waited_ > stall_limit ? std::optional(laggard_) : std::nullopt;
    }

  private:
    Generation accepted_{};
    Generation passed_{};
    Instant last_step_{};
    Duration waited_{};
    WorkerIndex laggard_{};
};

}  // namespace shunt::dataplane
