// What this node has to tell: read from the data plane's flow tables, in slices.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "controlplane/sync/datagram.h"
#include "controlplane/sync/peer_table.h"
#include "src/shm/flow_scan.h"
#include "src/shm/state.h"
#include "src/shm/tables.h"

namespace shunt::controlplane::sync {

enum class Which : std::uint8_t {
    pinned,  // those that a node with the same tables would not send to the same backend
    all,
};

// What sync sees of its own node at one moment.
struct View {
    std::optional<shm::StateReader> state{};   // of the data plane; nothing: there is none
    std::span<const shm::StateReader> left{};  // what its predecessors left
    shm::Tables tables{};
    std::uint64_t tables_identity{};
    Identity identity{};
    std::uint64_t tables_hash{};
    Which which{Which::pinned};

    // Where there is a data plane.
    shm::FlowTables flows() const noexcept { return {*state, left}; }
    // As the workers count.
    Tick state_tick(Instant now) const noexcept {
        return Tick::at({now.nanoseconds - (state ? state->header().downtime_nanoseconds : 0)});
    }
};

bool is_told(const shm::Flow& flow, const shm::Tables& tables, Which which) noexcept;

// What was told and when, in fixed memory: to forget means to tell again.
class Told {
  public:
    explicit Told(std::uint64_t flows) : lines_(flows / 4 + 1) {}

    enum class Before : std::uint8_t { never, changed, long_ago, lately };
    // What was known, and from here on it is told.
    Before tell(const FlowRecord& record, Tick now, std::uint32_t repeat_after);
    void forget() { std::fill(lines_.begin(), lines_.end(), Line{}); }

  private:
    // tag of the flow (20) | what was said of it (20) | when (24); 0: nothing
    using Line = std::array<std::uint64_t, 8>;
    std::vector<Line> lines_;
};

// One pass after the other over all flow tables.
class Rounds {
  public:
    static constexpr Duration repeat_after = Duration::seconds(10);
    static constexpr Duration pause = Duration::milliseconds(250);  // from the begin of one to the next, at least
    static constexpr std::uint32_t lines_per_slice = 4096;
    static constexpr std::uint32_t flows_per_slice = 2048;

    explicit Rounds(std::uint64_t flows) : told_(flows) {}

    // The next slice. What is to be told goes to f(const FlowRecord&). True: a round has ended with it.
    template <class F>
    bool step(const View& view, Instant now, F&& f) {
        if (!scan_) begin(now);
        const auto visit = [&](const shm::Flow& flow) {
            ++seen_in_slice_;
            if (flow.is_first()) consider(flow, view, now, f);
        };
        const std::uint32_t piece = shm::FlowScan::group;
        seen_in_slice_ = 0;
        for (std::uint32_t lines = 0; lines < lines_per_slice && seen_in_slice_ < flows_per_slice; lines += piece) {
            if (scan_->step(view.flows(), view.tables, view.state_tick(now), piece, visit)) return end(now);
        }
        return false;
    }
    // All is told again, from now on.
    void again() {
        told_.forget();
        scan_.reset();
    }
    bool in_round() const noexcept { return scan_.has_value(); }
    Instant began() const noexcept { return began_; }
    // How long a flow waits, at most, until it is told.
    Duration lag(Instant now) const noexcept { return std::max(lag_, in_round() ? now - began_ : Duration{}); }
    std::uint64_t to_tell() const noexcept { return last_.to_tell; }  // flows, as the last round found
    std::uint64_t known() const noexcept { return last_.known; }      // those of them told before
    bool complete() const noexcept { return complete_; }              // since the last again()

  private:
    struct Count {
        std::uint64_t to_tell{};
        std::uint64_t known{};
    };
    void begin(Instant now);
    bool end(Instant now);
    template <class F>
    void consider(const shm::Flow& flow, const View& view, Instant now, F& f) {
        if (!is_told(flow, view.tables, view.which)) return;
        const FlowRecord record = to_record(flow.key, *flow.listener, *flow.backend, flow.entry.state, flow.idle);
        const std::uint32_t repeat = std::min(to_ticks(repeat_after), flow.listener->timeouts[flow.entry.state] / 3);
        const auto before = told_.tell(record, Tick::at(now), repeat);
        ++count_.to_tell;
        count_.known += before != Told::Before::never;
        if (before != Told::Before::lately) f(record);
    }

    Told told_;
    std::optional<shm::FlowScan> scan_{};
    Count count_{};
    Count last_{};
    Instant began_{};
    Duration lag_{};
    std::uint32_t seen_in_slice_{};
    bool complete_{};
};

// The answer to somebody who asks for flows from a position on: as many as fit a datagram, and where to go on.
// Positions go through the tables of all workers, then through what this node's own peers said.
Chunk chunk_from(std::uint64_t space, std::uint64_t position, const View& view, const PeerTable& peers, Instant now);

}  // namespace shunt::controlplane::sync
