// The state regions of data planes that are gone, whose flows may not all have been taken over yet (DESIGN section 3).
// Workers look aside into them, read-only, as into each other's tables. The main thread empties them meanwhile: it
// passes through, a piece at every turn, and clears what nobody needs any more. The oldest one in which nothing is left
// is let go of: no worker looks into it any more, then it is unmapped and its file removed. No entry outlives its
// timeout, so that is at the latest the longest timeout after its holder's death.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/base/time.h"
#include "src/shm/flow.h"
#include "src/shm/region.h"
#include "src/shm/state.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

class Predecessors {
  public:
    Predecessors() = default;
    // Those of `wanted`, newest first, whose files DIRECTORY/state.<n> can be read and are of the same boot and seed as
    // `like`; the first one that cannot, and all behind it, are as good as gone.
    static Predecessors open(const std::string& directory, std::span<const shm::Predecessor> wanted,
                             const shm::StateHeader& like);

    void date_newest(Instant died) noexcept { regions_.front().name.died_at = died.nanoseconds; }
    // Writes into the header of `heir` who they are. It must have no seal.
    void name_in(shm::StateHeader& heir) const noexcept;

    // The regions, newest first: the workers get these when they are made.
    std::vector<shm::StateReader> regions() const;
    bool has(std::uint64_t number) const noexcept;
    bool empty() const noexcept { return regions_.empty(); }

    // A piece of work: some `lines` of memory are read. `heir` is the region in use; `tick` is `now` as workers count.
    static constexpr std::uint32_t lines = 512;
    static constexpr Duration pass_interval = Duration::seconds(5);
    void turn(const shm::State& heir, const shm::Tables& tables, Instant now, Tick tick) noexcept;
    // These flows are killed: nobody is to find them here.
    void forget(std::span<const shm::FlowKey> flows) noexcept;
    // Before there are workers, or when `heir` has none yet that look: what is there means nothing any more.
    void give_up(shm::StateHeader& heir) noexcept;

  private:
    struct Left {
        shm::Predecessor name;
        shm::Region region;
        shm::State state() const noexcept { return shm::State(const_cast<std::byte*>(region.data())); }
    };
    // Where the pass through a region has got to.
    struct Pass {
        std::size_t region{};
        WorkerIndex worker{};
        std::uint64_t bucket{};
        bool needed{};  // something was met that only this region knows
    };

    enum class Need : std::uint8_t {
        only_here,  // no one else knows the flow
        known,      // a worker does
        over,       // nobody will ask for it here any more
    };
    Need need_of(const shm::StoredFlow& flow, const shm::State& heir, const shm::Tables& tables,
                 Tick tick) const noexcept;
    // The next bucket; returns how many lines that took.
    std::uint32_t tidy(const shm::State& heir, const shm::Tables& tables, Tick tick) noexcept;
    // True: all regions were passed.
    bool advance() noexcept;
    void end_pass(shm::StateHeader& heir, Instant now) noexcept;
    void let_go(const shm::State& heir) noexcept;

    std::vector<Left> regions_{};  // newest first
    Pass pass_{};
    Instant next_pass_{};
    std::optional<Instant> released_{};  // the oldest: since then no worker begins to look into it
};

}  // namespace shunt::dataplane
