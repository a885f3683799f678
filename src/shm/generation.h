// Publication as the data plane sees it: the main thread accepts, workers acquire and quiesce (DESIGN section 3).
#pragma once

#include <optional>

#include "src/shm/layout.h"
#include "src/shm/tables.h"
#include "src/shm/validate.h"

namespace shunt::shm {

// The root of a generation, if the ring still names it.
std::optional<BlockOffset> find_root(const TablesHeader& header, Generation generation) noexcept;

// The data plane's main thread. Validates what was published and lets the workers have it.
class Acceptor {
  public:
    // `readable`: bytes of the tables region that may be touched now. With a `copy`, that is what the tables returned
    // below, and workers, are to read.
    Acceptor(const std::byte* tables, std::uint64_t readable, StateHeader& state, TablesCopy* copy = nullptr) noexcept;

    // A data plane announces itself before it reads `published`, so that the control plane frees nothing under it.
    void announce() noexcept { state_.attaching.store(1, std::memory_order_seq_cst); }
    // The file has grown, or another with the same blocks has taken its place.
    void set_source(const std::byte* tables, std::uint64_t readable) noexcept {
        region_ = tables;
        validator_.set_source(tables, readable);
    }

    // What is published and not accepted yet, validated; a refusal is counted and leaves the old generation in force.
    // The caller prepares what workers will need of it (next hops), then calls accept(). Ends an announcement if there
    // is nothing to accept: a control plane that waited for a verdict on a bad generation could never publish a better
    // one.
    std::optional<Tables> validate_newest();
    void accept(const Tables& tables) noexcept;

    const TablesHeader& header() const noexcept { return *reinterpret_cast<const TablesHeader*>(region_); }

  private:
    std::optional<Tables> validate_newer_than(Generation accepted);
    void refuse(Generation generation, RefusalReason reason) noexcept;

    const std::byte* region_;
    StateHeader& state_;
    TablesCopy* copy_;
    Validator validator_;
    BlockOffset root_{};  // of what was validated last
};

// One worker's hold on the generation in use.
class GenerationReader {
  public:
    GenerationReader(const std::byte* tables, const StateHeader& state, WorkerBlock& worker) noexcept
        : region_(tables), state_(state), worker_(worker) {}

    // Once per burst, at its start. One acquire load unless the generation changed.
    const Tables& acquire() noexcept {
        const Generation accepted(state_.accepted.load(std::memory_order_acquire));
        if (accepted != tables_.generation()) [[unlikely]]
            switch_to(accepted);
        return tables_;
    }
    // At the end of a burst: nothing of older generations is held any more.
    void quiesce() noexcept { worker_.passed.store(tables_.generation().value, std::memory_order_release); }

    // A worker that sleeps holds nothing and need not be waited for.
    void go_offline() noexcept {
        quiesce();
        worker_.online.store(0, std::memory_order_release);
    }
    // The store must be seen before `accepted` is read again: otherwise the control plane, seeing the worker asleep,
    // could free what the worker is about to read.
    void go_online() noexcept { worker_.online.store(1, std::memory_order_seq_cst); }

  private:
    void switch_to(Generation generation) noexcept;

    const std::byte* region_;
    const StateHeader& state_;
    WorkerBlock& worker_;
    Tables tables_;
};

}  // namespace shunt::shm
