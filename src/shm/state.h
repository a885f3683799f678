// The state region as spans: where the layout says things lie. `Byte` is std::byte for the data plane that writes and
// const std::byte for everybody else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>

#include "src/shm/layout.h"

namespace shunt::shm {

template <class Byte>
class BasicState {
    template <class T>
    using As = std::conditional_t<std::is_const_v<Byte>, const T, T>;

  public:
    // `region` holds a state region whose header is complete (its version is this one's).
    explicit BasicState(Byte* region) noexcept : region_(region), at_(StateLayout::of(header().shape)) {}

    // The writer may do all that a reader may.
    operator BasicState<const std::byte>() const noexcept  // NOLINT(google-explicit-constructor)
        requires(!std::is_const_v<Byte>) {
        return BasicState<const std::byte>(region_);
    }

    As<StateHeader>& header() const noexcept { return *reinterpret_cast<As<StateHeader>*>(region_); }
    const StateShape& shape() const noexcept { return header().shape; }

    std::span<As<WorkerBlock>> workers() const noexcept { return array<WorkerBlock>(at_.workers, shape().workers); }
    std::span<As<PortBlock>> ports() const noexcept { return array<PortBlock>(at_.ports, max_ports); }
    std::span<As<LinkWord>> links() const noexcept { return array<LinkWord>(at_.links, max_next_hops); }
    std::span<As<NeighbourSlot>> neighbours() const noexcept {
        return array<NeighbourSlot>(at_.neighbours, neighbour_slots);
    }
    std::span<As<PathMtuSlot>> path_mtus() const noexcept { return array<PathMtuSlot>(at_.path_mtus, path_mtu_slots); }
    // By service index; 0: before or without a service.
    std::span<As<ServiceDrops>> drops(WorkerIndex worker) const noexcept {
        return array<ServiceDrops>(at_.drops, shape().services, worker);
    }
    // By handle index.
    std::span<As<BackendCounters>> backends(WorkerIndex worker) const noexcept {
        return array<BackendCounters>(at_.backends, shape().handles, worker);
    }
    // By handle index: written by this worker; and for it, by the main thread.
    std::span<As<FlowCount>> own_flows(WorkerIndex worker) const noexcept {
        return array<FlowCount>(at_.own_flows, shape().handles, worker);
    }
    std::span<As<FlowCount>> flow_offsets(WorkerIndex worker) const noexcept {
        return array<FlowCount>(at_.flow_offsets, shape().handles, worker);
    }
    std::span<As<FlowBucket>> flows(WorkerIndex worker) const noexcept {
        return array<FlowBucket>(at_.flows, shape().buckets_per_worker, worker);
    }

  private:
    template <class T>
    std::span<As<T>> array(std::uint64_t offset, std::uint64_t count, WorkerIndex worker = {}) const noexcept {
        return {reinterpret_cast<As<T>*>(region_ + offset) + worker.value * count, count};
    }

    Byte* region_;
    StateLayout at_;
};

using State = BasicState<std::byte>;
using StateReader = BasicState<const std::byte>;

// Of a data plane that is to remember this many flows: both halves of each, shared out among the workers, four to a
// bucket.
constexpr StateShape state_shape(std::uint16_t workers, std::uint64_t flows) noexcept {
    const std::uint64_t per_bucket = std::uint64_t{4} * workers;
    const std::uint64_t buckets = (2 * flows + per_bucket - 1) / per_bucket;
    return {.workers = workers,
            .handles = max_handles,
            .services = max_services,
            .reserved = 0,
            .buckets_per_worker = buckets > 0 ? buckets : 1};
}

// What a successor must be able to rely on: all that stands before `version`, the version itself, and who the
// predecessors are. The same in every layout from 5 on, so that a damaged header is told from one of a newer layout.
// Never 0. While one of these changes the header has no seal: a death meanwhile is no damage.
std::uint64_t seal_of(const StateHeader& header) noexcept;

// Why a region cannot be read.
struct StateFlaw {
    enum class Kind : std::uint8_t { unfinished, damaged, older, newer };
    Kind kind;
    std::string text;  // what "it" is
};
// Of a file of so many bytes, all of them mapped: nothing if StateReader may read it.
std::optional<StateFlaw> flaw_of_state(const std::byte* region, std::uint64_t bytes);

// Makes an empty state region in zeroed memory of StateLayout::of(shape).total bytes. The version is stored last.
inline void format_state(std::byte* region, const StateShape& shape, const HashSeed& flow_seed) noexcept {
    auto& header = *reinterpret_cast<StateHeader*>(region);
    header.magic = state_magic;
    header.shape = shape;
    header.flow_seed = flow_seed;
    header.version.store(layout_version, std::memory_order_release);
}

}  // namespace shunt::shm
