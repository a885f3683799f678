// Flows, where the flow tables hold entries: several workers may have a copy of one flow (docs/decisions/0001 and
// packet_path.md), a dead entry is nobody's, and a filter means flows. A scan goes through all tables in pieces, so
// that whoever has other work can bound how long it is away. It only reads.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

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

    // True once for every flow of a scan.
    bool is_first() const noexcept { return std::countr_zero(workers) == found_on.value; }
};

bool matches(const FlowFilter& filter, const Flow& flow) noexcept;

class FlowScan {
  public:
    explicit FlowScan(const FlowFilter& filter) noexcept : filter_(filter) {}

    // Goes on until about this many cache lines of flow tables were read, and calls f(const Flow&) for every matching
    // flow, once on each worker that has it. True: all tables were seen. `now` is as workers count (downtime taken
    // off).
    template <class F>
    bool step(const StateReader& state, const Tables& tables, Tick now, std::uint32_t lines, F&& f) {
        const auto table = state.flows(worker_);
        for (std::uint32_t read = 0; read < lines && bucket_ < table.size(); ++read, ++bucket_) {
            for (std::uint8_t unit = 0; unit < 4; ++unit) {
                const auto stored = read_flow(table[bucket_], unit);
                if (!stored || !may_match(*stored, tables)) continue;
                read += 2 * (state.shape().workers - 1);
                const auto flow = whole(state, tables, now, *stored);
                if (flow && matches(filter_, *flow)) f(*flow);
            }
        }
        if (bucket_ < table.size()) return false;
        bucket_ = 0;
        return ++worker_.value == state.shape().workers;
    }

  private:
    // Is it worth asking the other workers? By what all copies agree about.
    bool may_match(const StoredFlow& stored, const Tables& tables) const noexcept;
    // With what the others know of it; nothing if this copy is dead.
    std::optional<Flow> whole(const StateReader& state, const Tables& tables, Tick now,
                              const StoredFlow& stored) const noexcept;

    FlowFilter filter_;
    WorkerIndex worker_;
    std::uint64_t bucket_{};
};

}  // namespace shunt::shm
