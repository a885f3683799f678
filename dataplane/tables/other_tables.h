// The flow tables a worker looks aside into: those of the other workers, and those that predecessors left behind, as
// long as the main thread keeps them.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "dataplane/tables/flow_table.h"
#include "src/shm/state.h"

namespace shunt::dataplane {

class OtherTables {
  public:
    // `predecessors`: regions that the header of `state` names, in its order.
    OtherTables(const shm::State& state, WorkerIndex own, std::span<const shm::StateReader> predecessors)
        : kept_(state.header().predecessors_kept) {
        for (std::uint16_t i = 0; i < state.shape().workers; ++i) {
            if (i != own.value) of_workers_.emplace_back(state.flows(WorkerIndex(i)));
        }
        for (const shm::StateReader& region : predecessors.first(std::min(predecessors.size(), reach_.size() - 1))) {
            for (std::uint16_t i = 0; i < region.shape().workers; ++i) left_.push_back(to_read(region, WorkerIndex(i)));
            reach_[++regions_] = left_.size();
        }
    }

    std::span<const FlowTable> of_workers() const noexcept { return of_workers_; }
    // The newest first. Once per burst: what is let go of stays until every worker has ended its burst.
    std::span<const FlowTable> left() const noexcept {
        const std::size_t kept = std::min<std::size_t>(kept_.load(std::memory_order_acquire), regions_);
        return {left_.data(), reach_[kept]};
    }

  private:
    static FlowTable to_read(const shm::StateReader& region, WorkerIndex worker) {
        const auto buckets = region.flows(worker);
        return FlowTable(std::span(const_cast<shm::FlowBucket*>(buckets.data()), buckets.size()));
    }

    std::vector<FlowTable> of_workers_;
    std::vector<FlowTable> left_;
    std::array<std::size_t, shm::max_predecessors + 1> reach_{};  // tables of the newest so many regions
    std::size_t regions_{};
    const std::atomic<std::uint32_t>& kept_;
};

}  // namespace shunt::dataplane
