#include "dataplane/tables/live_flows.h"

namespace shunt::dataplane {

void FlowSums::follow(const shm::Tables& tables) {
    handles_.clear();
    for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
        const shm::ListenerRecord& listener = tables.listeners[i];
        if (!listener.in_use || !counts_flows(listener.choice)) continue;
        const auto handles = tables.handles(listener);
        handles_.insert(handles_.end(), handles.begin(), handles.end());
    }
    // Once each, however many VIPs lead there.
    std::ranges::sort(handles_, {}, &shm::Handle::value);
    const auto again = std::ranges::unique(handles_);
    handles_.erase(again.begin(), again.end());
}

void FlowSums::sum(const shm::State& state) const noexcept {
    const auto workers = static_cast<std::uint16_t>(state.shape().workers);
    for (const shm::Handle handle : handles_) {
        if (handle.index() >= state.shape().handles) continue;
        std::array<std::int32_t, shm::max_workers> own{};
        std::int32_t all = 0;
        for (std::uint16_t i = 0; i < workers; ++i) {
            own[i] = state.own_flows(WorkerIndex(i))[handle.index()].of(handle);
            all += own[i];
        }
        for (std::uint16_t i = 0; i < workers; ++i) {
            state.flow_offsets(WorkerIndex(i))[handle.index()].set(handle, all - workers * own[i]);
        }
    }
}

}  // namespace shunt::dataplane
