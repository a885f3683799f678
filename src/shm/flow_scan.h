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
    std::uint64_t workers{};  // a bit for each that has a copy; none yet has what a predecessor left
    bool first{};             // of several that have it, the scan met this one first

    // Where packets to the VIP are addressed, and where they go.
    Be16 port_at_vip() const noexcept { return key.service_port == Be16{} ? listener->port : key.service_port; }
    Be16 port_at_backend() const noexcept { return backend->port == any_port ? port_at_vip() : backend->port; }
    // True once for every flow of a scan.
    bool is_first() const noexcept { return first; }
};

bool matches(const FlowFilter& filter, const Flow& flow) noexcept;

// All flow tables of a data plane: its own, and those its predecessors left, newest first. What is known to one of them
// is not asked of those behind it.
class FlowTables {
  public:
    FlowTables(const StateReader& own, std::span<const StateReader> left = {}) noexcept  // NOLINT
        : own_(own), left_(left) {}
    FlowTables(const State& own, std::span<const StateReader> left = {}) noexcept  // NOLINT
        : own_(own), left_(left) {}

    std::size_t regions() const noexcept { return 1 + left_.size(); }
    const StateReader& region(std::size_t i) const noexcept { return i == 0 ? own_ : left_[i - 1]; }
    const HashSeed& seed() const noexcept { return own_.header().flow_seed; }  // theirs too

  private:
    StateReader own_;
    std::span<const StateReader> left_;
};

class FlowScan {
  public:
    explicit FlowScan(const FlowFilter& filter) noexcept : filter_(filter) {}
    // From a position on: a bucket, counted through the tables of all workers of all regions. One of end_of() or more
    // sees nothing.
    FlowScan(const FlowFilter& filter, const FlowTables& flows, std::uint64_t position) noexcept : filter_(filter) {
        for (; region_ < flows.regions(); ++region_) {
            const StateShape& shape = flows.region(region_).shape();
            if (position < buckets_of(shape)) {
                worker_ = WorkerIndex(static_cast<std::uint16_t>(position / shape.buckets_per_worker));
                bucket_ = position % shape.buckets_per_worker;
                return;
            }
            position -= buckets_of(shape);
        }
    }
    static std::uint64_t end_of(const FlowTables& flows) noexcept { return begin_of(flows, flows.regions()); }
    std::uint64_t position(const FlowTables& flows) const noexcept {
        if (region_ >= flows.regions()) return end_of(flows);
        return begin_of(flows, region_) + worker_.value * flows.region(region_).shape().buckets_per_worker + bucket_;
    }

    // Goes on until about this many cache lines of flow tables were read, and calls f(const Flow&) for every matching
    // flow, once for each table of a region that has it. True: all tables were seen. `now` is as workers count
    // (downtime taken off).
    template <class F>
    bool step(const FlowTables& flows, const Tables& tables, Tick now, std::uint32_t lines, F&& f) {
        if (region_ >= flows.regions()) return true;  // those behind were let go of meanwhile
        const StateShape& shape = flows.region(region_).shape();
        const std::uint32_t lines_per_flow = 2 * (tables_asked(flows) - 1);
        std::array<Candidate, 4 * group> found;
        for (std::uint32_t read = 0; read < lines && bucket_ < shape.buckets_per_worker;) {
            const std::size_t count = gather(flows, tables, found);
            read += static_cast<std::uint32_t>(group + count * lines_per_flow);
            for (const Candidate& candidate : std::span(found).first(count)) {
                const auto flow = whole(flows, tables, now, candidate);
                if (flow && matches(filter_, *flow)) f(*flow);
            }
        }
        if (bucket_ < shape.buckets_per_worker) return false;
        bucket_ = 0;
        if (++worker_.value < shape.workers) return false;
        worker_ = {};
        return ++region_ == flows.regions();
    }

    static constexpr std::size_t group =
        8;  // buckets looked at before others are asked, so that memory answers at once

  private:
    struct Candidate {
        StoredFlow stored;
        std::uint64_t hash{};  // of its peer
    };
    static std::uint64_t buckets_of(const StateShape& shape) noexcept {
        return shape.workers * shape.buckets_per_worker;
    }
    static std::uint64_t begin_of(const FlowTables& flows, std::size_t region) noexcept {
        std::uint64_t before = 0;
        for (std::size_t i = 0; i < region; ++i) before += buckets_of(flows.region(i).shape());
        return before;
    }
    // About a flow of this region: that one and those before it.
    std::uint32_t tables_asked(const FlowTables& flows) const noexcept;
    // From the next few buckets, what may match by what all copies agree about; and where the others would have it is
    // being fetched. Returns how many.
    std::size_t gather(const FlowTables& flows, const Tables& tables, std::span<Candidate, 4 * group> found) noexcept;
    // With what the others of its region know of it; nothing if this copy is dead, or a newer region has one.
    std::optional<Flow> whole(const FlowTables& flows, const Tables& tables, Tick now,
                              const Candidate& candidate) const noexcept;

    FlowFilter filter_;
    std::size_t region_{};
    WorkerIndex worker_;
    std::uint64_t bucket_{};
};

}  // namespace shunt::shm
