// Flows, where the flow tables hold entries: several workers may have a copy of one flow (docs/decisions/0001 and
// packet_path.md), a dead entry is nobody's, and a filter means flows. A scan goes through all tables in pieces, so
// that whoever has other work can bound how long it is away. It only reads.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "src/shm/flow.h"
#include "src/shm/layout.h"
#include "src/shm/state.h"
#include "src/shm/tables.h"

namespace shunt::shm {

// A flow that holds. What its copies disagree about is as the worker says that saw it last; only the end of a handshake
// may be known to another one (a worker that sees replies alone never hears of it).
struct Flow {
    FlowKey key;
    FlowEntry entry;
    const ListenerRecord* listener{};
    const BackendRecord* backend{};
    std::uint32_t idle{};     // ticks
    std::uint64_t workers{};  // a bit for each that has a copy
    WorkerIndex found_on;     // where the scan met it

    // Where packets to the VIP are addressed, and where they go.
    Be16 port_at_vip() const noexcept { return key.service_port == Be16{} ? listener->port : key.service_port; }
    Be16 port_at_backend() const noexcept { return backend->port == any_port ? port_at_vip() : backend->port; }
    // True once for every flow of a scan.
    bool is_first() const noexcept { return std::countr_zero(workers) == found_on.value; }
};

bool matches(const FlowFilter& filter, const Flow& flow) noexcept;

class FlowScan {
  public:
    explicit FlowScan(const FlowFilter& filter) noexcept : filter_(filter) {}
    // From a position on: a bucket, counted through the tables of all workers. One of end_of() or more sees nothing.
    FlowScan(const FlowFilter& filter, const StateShape& shape, std::uint64_t position) noexcept
        : filter_(filter),
          worker_(static_cast<std::uint16_t>(std::min(position, end_of(shape)) / shape.buckets_per_worker)),
          bucket_(std::min(position, end_of(shape)) % shape.buckets_per_worker) {}
    static constexpr std::uint64_t end_of(const StateShape& shape) noexcept {
        return shape.workers * shape.buckets_per_worker;
    }
    std::uint64_t position(const StateShape& shape) const noexcept {
        return worker_.value * shape.buckets_per_worker + bucket_;
    }

    // Goes on until about this many cache lines of flow tables were read, and calls f(const Flow&) for every matching
    // flow, once on each worker that has it. True: all tables were seen. `now` is as workers count (downtime taken
    // off).
    template <class F>
    bool step(const StateReader& state, const Tables& tables, Tick now, std::uint32_t lines, F&& f) {
        const std::uint64_t buckets = state.shape().buckets_per_worker;
        std::array<Candidate, 4 * group> found;
        if (worker_.value >= state.shape().workers) return true;
        for (std::uint32_t read = 0; read < lines && bucket_ < buckets;) {
            const std::size_t count = gather(state, tables, found);
            read += static_cast<std::uint32_t>(group + count * 2 * (state.shape().workers - 1));
            for (const Candidate& candidate : std::span(found).first(count)) {
                const auto flow = whole(state, tables, now, candidate);
                if (flow && matches(filter_, *flow)) f(*flow);
            }
        }
        if (bucket_ < buckets) return false;
        bucket_ = 0;
        return ++worker_.value == state.shape().workers;
    }

    static constexpr std::size_t group =
        8;  // buckets looked at before others are asked, so that memory answers at once

  private:
    struct Candidate {
        StoredFlow stored;
        std::uint64_t hash{};  // of its peer
    };
    // From the next few buckets, what may match by what all copies agree about; and where the others would have it is
    // being fetched. Returns how many.
    std::size_t gather(const StateReader& state, const Tables& tables, std::span<Candidate, 4 * group> found) noexcept;
    // With what the others know of it; nothing if this copy is dead.
    std::optional<Flow> whole(const StateReader& state, const Tables& tables, Tick now,
                              const Candidate& candidate) const noexcept;

    FlowFilter filter_;
    WorkerIndex worker_;
    std::uint64_t bucket_{};
};

}  // namespace shunt::shm
