#include "dataplane/main/liveness.h"

#include <algorithm>

#include "dataplane/main/rollout.h"

namespace shunt::dataplane {
namespace {

using shm::NodeFault;
using State = shm::NodeHealth::State;

std::uint64_t received_by_all(std::span<const shm::WorkerBlock> workers, std::size_t port) {
    std::uint64_t sum = 0;
    for (const auto& worker : workers) sum += worker.ports[port].received.read();
    return sum;
}

}  // namespace

void Liveness::look(Instant now, const Signs& signs) {
    look_at_workers(now - last_look_, signs);
    last_look_ = now;
    const Fault fault = find_fault(signs);
    if (fault.kind == NodeFault::no_tables && now < inherited_until_) return;
    health_.fault = fault.kind;
    health_.place = fault.place;
    if (fault.kind != NodeFault::none) {
        health_.state = State::unfit;
        sound_since_.reset();
        inherited_until_ = {};
        return;
    }
    if (!sound_since_) sound_since_ = now < inherited_until_ ? now - hold_ : now;
    health_.state = now - *sound_since_ >= hold_ ? State::fit : State::held;
}

void Liveness::look_at_workers(Duration since, const Signs& signs) {
    workers_.resize(signs.workers.size());
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        const std::uint64_t heartbeat = signs.workers[i].heartbeat.read();
        const bool moved = heartbeat != workers_[i].heartbeat && has_passed(signs.workers[i], signs.accepted);
        workers_[i].heartbeat = heartbeat;
        workers_[i].stillness.look(since, moved);
    }
}

void Liveness::counted(const Signs& signs) {
    for (std::size_t i = 0; i < std::min(ports_.size(), signs.ports.size()); ++i) {
        const std::uint64_t offered = signs.ports[i].steered.read();
        const std::uint64_t taken = received_by_all(signs.workers, i);
        Port& port = ports_[i];
        port.in_vain = offered != port.offered && taken == port.taken ? port.in_vain + 1 : 0;
        port.offered = offered;
        port.taken = taken;
    }
}

Liveness::Fault Liveness::find_fault(const Signs& signs) const noexcept {
    if (const auto still = still_for(still_limit)) return {NodeFault::worker_still, still->value};
    for (std::uint16_t i = 0; i < signs.ports.size(); ++i) {
        if (signs.ports[i].link_up.load(std::memory_order_relaxed) == 0) return {NodeFault::link_down, i};
        if (ports_[i].in_vain >= counts_in_vain) return {NodeFault::nothing_received, i};
    }
    if (signs.workers.empty() || !signs.accepted || !signs.steered) return {NodeFault::no_tables};
    return {NodeFault::none};
}

std::optional<WorkerIndex> Liveness::still_for(Duration limit) const noexcept {
    const auto found = std::find_if(workers_.begin(), workers_.end(),
                                    [=](const Worker& worker) { return worker.stillness.duration() >= limit; });
    if (found == workers_.end()) return std::nullopt;
    return WorkerIndex(static_cast<std::uint16_t>(found - workers_.begin()));
}

}  // namespace shunt::dataplane
