#include "dataplane/main/rollout.h"

#include <algorithm>

namespace shunt::dataplane {
namespace {

// A worker that sleeps holds nothing, and takes what is accepted when it wakes.
bool has_passed(const shm::WorkerBlock& worker, Generation generation) noexcept {
    return worker.online.load(std::memory_order_seq_cst) == 0 ||
           worker.passed.load(std::memory_order_acquire) >= generation.value;
}

}  // namespace

std::optional<Generation> Rollout::step(Instant now, std::span<const shm::WorkerBlock> workers) noexcept {
    const Duration since = std::min(now - last_step_, longest_step);
    last_step_ = now;
    if (!waiting()) return std::nullopt;
    const auto laggard = std::find_if(workers.begin(), workers.end(),
                                      [this](const auto& worker) { return !has_passed(worker, accepted_); });
    if (laggard != workers.end()) {
        laggard_ = WorkerIndex(static_cast<std::uint16_t>(laggard - workers.begin()));
        waited_ = waited_ + since;
        return std::nullopt;
    }
    passed_ = accepted_;
    return passed_;
}

}  // namespace shunt::dataplane
