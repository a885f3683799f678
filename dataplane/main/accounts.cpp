#include "dataplane/main/accounts.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace shunt::dataplane {
namespace {

using shm::Counter;
using shm::WorkerBlock;

shm::Counter& lost_counter(const shm::State& state, WorkerIndex worker) noexcept {
    return state.drops(worker)[0].by_reason[static_cast<std::size_t>(shm::DropReason::lost_in_restart)];
}

std::uint64_t dropped_for_reasons(const shm::State& state, WorkerIndex worker) noexcept {
    std::uint64_t sum = 0;
    for (const auto& service : state.drops(worker)) {
        for (const auto& counter : service.by_reason) sum += counter.read();
    }
    return sum;
}

// What the worker received and did not live to account for. It may have died between a reason and their sum.
void book_lost(const shm::State& state, WorkerIndex worker) noexcept {
    WorkerBlock& block = state.workers()[worker.value];
    const std::uint64_t dropped = dropped_for_reasons(state, worker);
    const std::uint64_t accounted = block.forwarded.read() + block.punted.read() + dropped;
    // More than it received: the memory of its counters was damaged, and they begin to hold again now.
    if (accounted > block.received.read()) block.received.set(accounted);
    const std::uint64_t lost = block.received.read() - accounted;
    lost_counter(state, worker).add(lost);
    block.dropped.set(dropped + lost);
}

// Fragments that waited, or were on their way from one worker to another, are in no worker's count, only in those of
// the ports.
void book_fragments_lost(const shm::State& state) noexcept {
    std::uint64_t arrived = 0;
    std::uint64_t accounted = 0;
    for (const auto& worker : state.workers()) {
        accounted += worker.received.read();
        for (const auto& port : worker.ports) arrived += port.received.read();
    }
    const std::uint64_t lost = arrived - std::min(arrived, accounted);
    WorkerBlock& first = state.workers()[0];
    first.received.add(lost);
    first.dropped.add(lost);
    lost_counter(state, WorkerIndex(0)).add(lost);
}

constexpr std::array<Counter WorkerBlock::*, 13> of_worker{
    &WorkerBlock::received,      &WorkerBlock::forwarded,     &WorkerBlock::punted,
    &WorkerBlock::dropped,       &WorkerBlock::originated,    &WorkerBlock::bursts,
    &WorkerBlock::busy_bursts,   &WorkerBlock::look_asides,   &WorkerBlock::flows_inserted,
    &WorkerBlock::flows_copied,  &WorkerBlock::flows_derived, &WorkerBlock::flows_not_remembered,
    &WorkerBlock::flows_evicted,
};
using OfPort = WorkerBlock::PortCounters;
constexpr std::array<Counter OfPort::*, 5> of_port{
    &OfPort::received, &OfPort::received_bytes, &OfPort::transmitted, &OfPort::transmitted_bytes, &OfPort::punted,
};
static_assert(sizeof(WorkerBlock) == (3 + shm::max_ports) * shm::cache_line_bytes, "a counter more is listed above");

// Most of what there is was never used: it is read, and not written.
void add(Counter& to, const Counter& from) noexcept {
    if (const std::uint64_t n = from.read()) to.add(n);
}

void add(WorkerBlock& to, const WorkerBlock& from) noexcept {
    for (const auto counter : of_worker) add(to.*counter, from.*counter);
    for (std::size_t port = 0; port < shm::max_ports; ++port) {
        for (const auto counter : of_port) add(to.ports[port].*counter, from.ports[port].*counter);
    }
}

void add(shm::ServiceDrops& to, const shm::ServiceDrops& from) noexcept {
    for (std::size_t reason = 0; reason < to.by_reason.size(); ++reason)
        add(to.by_reason[reason], from.by_reason[reason]);
}

void add(shm::BackendCounters& to, const shm::BackendCounters& from) noexcept {
    add(to.forth.packets, from.forth.packets);
    add(to.forth.bytes, from.forth.bytes);
    add(to.back.packets, from.back.packets);
    add(to.back.bytes, from.back.bytes);
}

// What the main thread counted.
void add(shm::StateHeader& to, const shm::StateHeader& from) noexcept {
    for (std::size_t reason = 0; reason < to.refusals.size(); ++reason) add(to.refusals[reason], from.refusals[reason]);
    add(to.generations_accepted, from.generations_accepted);
}

template <class T>
void add_all(std::span<T> to, std::span<const T> from) noexcept {
    for (std::size_t i = 0; i < std::min(to.size(), from.size()); ++i) add(to[i], from[i]);
}

}  // namespace

void book_lost(const shm::State& state) noexcept {
    for (std::uint16_t i = 0; i < state.shape().workers; ++i) book_lost(state, WorkerIndex(i));
    book_fragments_lost(state);
}

void inherit_counters(const shm::StateReader& from, const shm::State& to) noexcept {
    add(to.header(), from.header());
    for (std::uint16_t i = 0; i < from.shape().workers; ++i) {
        const WorkerIndex old(i);
        const WorkerIndex heir(static_cast<std::uint16_t>(i % to.shape().workers));
        add(to.workers()[heir.value], from.workers()[old.value]);
        add_all(to.drops(heir), from.drops(old));
        add_all(to.backends(heir), from.backends(old));
    }
    for (std::size_t port = 0; port < shm::max_ports; ++port) {
        add(to.ports()[port].driver_missed, from.ports()[port].driver_missed);
    }
}

}  // namespace shunt::dataplane
