// One worker: one queue of every port, a burst at a time, to completion. The eight steps on one screen.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "dataplane/neighbour_requests.h"
#include "dataplane/path/choose_backend.h"
#include "dataplane/path/find_service.h"
#include "dataplane/path/forward.h"
#include "dataplane/path/look_up_flow.h"
#include "dataplane/path/parse.h"
#include "dataplane/path/step.h"
#include "dataplane/ports/port.h"
#include "src/base/clock.h"
#include "src/shm/generation.h"
#include "src/shm/state.h"

namespace shunt::dataplane {

template <Port P, Clock C>
class Worker {
  public:
    // `tables` and `state` are the two regions; `ports` are this worker's queues, by PortIndex. All must outlive it.
    Worker(const std::byte* tables, const shm::State& state, WorkerIndex index, std::vector<P*> ports, const C& clock);

    // One burst of every port. Returns the number of packets received: the caller decides how to idle.
    std::uint32_t poll_once() noexcept;

    // Around a sleep: a worker that sleeps holds no generation.
    void go_offline() noexcept { generations_.go_offline(); }
    void go_online() noexcept { generations_.go_online(); }

    // The main thread resolves what this worker asks for.
    NeighbourRequests& requests() noexcept { return requests_; }

  private:
    void poll_port(PortIndex in, Instant now, const shm::Tables& tables) noexcept;
    void receive(PortIndex in) noexcept;
    void transmit() noexcept;
    void release(PortIndex in) noexcept;
    void count_forwarded(const Lane& lane) noexcept;
    Tick tick_at(Instant now) const noexcept {
        return Tick::at({now.nanoseconds - state_.header().downtime_nanoseconds});
    }

    shm::State state_;
    std::vector<P*> ports_;
    std::vector<MacAddress> port_macs_;
    const C& clock_;
    shm::WorkerBlock& block_;
    std::span<shm::ServiceDrops> drops_;
    std::span<shm::BackendCounters> backends_;
    FlowTable flows_;
    std::vector<FlowTable> others_;
    LinkAddresses links_;
    NeighbourRequests requests_;
    shm::GenerationReader generations_;
    Batch batch_;
};

template <Port P, Clock C>
Worker<P, C>::Worker(const std::byte* tables, const shm::State& state, WorkerIndex index, std::vector<P*> ports,
                     const C& clock)
    : state_(state),
      ports_(std::move(ports)),
      clock_(clock),
      block_(state.workers()[index.value]),
      drops_(state.drops(index)),
      backends_(state.backends(index)),
      flows_(state.flows(index)),
      links_(state.links(), state.neighbours()),
      generations_(tables, state.header(), block_) {
    for (const P* port : ports_) port_macs_.push_back(port->mac());
    for (std::uint16_t i = 0; i < state.shape().workers; ++i) {
        if (i != index.value) others_.emplace_back(state.flows(WorkerIndex(i)));
    }
    go_online();
}

template <Port P, Clock C>
std::uint32_t Worker<P, C>::poll_once() noexcept {
    const Instant now = clock_.now();
    const shm::Tables& tables = generations_.acquire();
    std::uint32_t received = 0;
    for (std::uint8_t i = 0; i < ports_.size(); ++i) {
        poll_port(PortIndex(i), now, tables);
        received += static_cast<std::uint32_t>(batch_.received());
    }
    generations_.quiesce();  // nothing of `tables` is held any more
    block_.heartbeat.set(static_cast<std::uint64_t>(now.nanoseconds));
    return received;
}

template <Port P, Clock C>
void Worker<P, C>::poll_port(PortIndex in, Instant now, const shm::Tables& tables) noexcept {
    const Tick tick = tick_at(now);
    LookAsideBudget budget;
    FlowContext context{tables, flows_, others_, {tables, tick}, budget, block_};

    receive(in);
    if (batch_.received() == 0) return;
    run(Parse{}, batch_);
    run(FindService{tables, state_.header().flow_seed}, batch_);
    run(LookUpFlow{context}, batch_);
    run(ChooseBackend{context}, batch_);
    run(Forward{tables, links_, port_macs_, requests_}, batch_);
    transmit();
    release(in);
}

template <Port P, Clock C>
void Worker<P, C>::receive(PortIndex in) noexcept {
    batch_.clear();
    ports_[in.value]->receive(batch_);
    block_.bursts.add(1);
    if (batch_.received() == 0) return;
    std::uint64_t bytes = 0;
    batch_.for_each_staying([&](const Lane& lane) { bytes += lane.length; });
    auto& counters = block_.ports[in.value];
    counters.received.add(batch_.received());
    counters.received_bytes.add(bytes);
    block_.received.add(batch_.received());
    block_.busy_bursts.add(1);
}

// In order, per port of departure. What a port does not take is dropped, and counted as such.
template <Port P, Clock C>
void Worker<P, C>::transmit() noexcept {
    for (std::uint8_t out = 0; out < ports_.size(); ++out) {
        std::array<Lane*, burst_size> lanes;
        std::size_t count = 0;
        batch_.for_each_staying([&](Lane& lane) {
            if (lane.out_port.value == out) lanes[count++] = &lane;
        });
        if (count == 0) continue;
        const std::size_t taken = ports_[out]->transmit({lanes.data(), count});
        for (std::size_t i = 0; i < taken; ++i) count_forwarded(*lanes[i]);
        for (std::size_t i = taken; i < count; ++i) {
            lanes[i]->verdict = Verdict::drop(shm::DropReason::transmit_refused);
        }
    }
    batch_.keep_if([](const Lane& lane) { return lane.verdict; });
    block_.forwarded.add(batch_.staying());
}

template <Port P, Clock C>
void Worker<P, C>::count_forwarded(const Lane& lane) noexcept {
    auto& port = block_.ports[lane.out_port.value];
    port.transmitted.add(1);
    port.transmitted_bytes.add(lane.length);
    const std::uint32_t handle = lane.handle.index();
    if (handle >= backends_.size()) return;
    shm::BackendCounters& backend = backends_[handle];
    const bool to_backend = lane.direction == Direction::to_backend;
    (to_backend ? backend.packets : backend.return_packets).add(1);
    (to_backend ? backend.bytes : backend.return_bytes).add(lane.length);
}

// What left the batch early is punted or freed, counted by its reason.
template <Port P, Clock C>
void Worker<P, C>::release(PortIndex in) noexcept {
    P& port = *ports_[in.value];
    batch_.for_each_left([&](Lane& lane) {
        if (lane.verdict.punts()) {
            if (port.punt(lane)) {
                block_.punted.add(1);
                block_.ports[in.value].punted.add(1);
                return;
            }
            lane.verdict = Verdict::drop(shm::DropReason::punt_refused);
        }
        const std::uint16_t service = lane.service.value < drops_.size() ? lane.service.value : std::uint16_t{0};
        drops_[service].by_reason[static_cast<std::size_t>(lane.verdict.reason())].add(1);
        block_.dropped.add(1);
        port.drop(lane);
    });
}

}  // namespace shunt::dataplane
