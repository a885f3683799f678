#include "dataplane/main/rollout.h"

#include <algorithm>

namespace shunt::dataplane {

std::optional<Generation> Rollout::step(std::span<const shm::WorkerBlock> workers) noexcept {
    const auto all = [&] {
        return std::all_of(workers.begin(), workers.end(),
                           [this](const auto& worker) { return has_passed(worker, accepted_); });
    };
    if (!waiting() || !all()) return std::nullopt;
    passed_ = accepted_;
    return passed_;
}

}  // namespace shunt::dataplane
