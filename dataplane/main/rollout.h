// How a generation gets around: accepted, then passed by every worker, then followed by the steering programs. Pure:
// the workers' blocks are handed in. Who keeps it waiting for too long stands still (liveness.h).
#pragma once

#include <optional>
#include <span>

#include "src/base/index.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

// A worker that sleeps holds nothing, and takes what is accepted when it wakes.
inline bool has_passed(const shm::WorkerBlock& worker, Generation generation) noexcept {
    return worker.online.load(std::memory_order_seq_cst) == 0 ||
           worker.passed.load(std::memory_order_acquire) >= generation.value;
}

class Rollout {
  public:
    void accepted(Generation generation) noexcept { accepted_ = generation; }

    // Call often. The generation that every worker has passed now, once.
    std::optional<Generation> step(std::span<const shm::WorkerBlock> workers) noexcept;
    // Workers are being waited for, or `step` has not said so yet.
    bool waiting() const noexcept { return accepted_ != passed_; }

  private:
    Generation accepted_{};
    Generation passed_{};
};

}  // namespace shunt::dataplane
