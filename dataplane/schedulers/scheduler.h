// What a scheduler is: it chooses the backend of a flow that opens. One per file; the closed list of them is in list.h.
// The names operators use, and what each is compiled to, are in src/balance.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/tables/live_flows.h"
#include "src/base/random.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

// What one worker remembers for its schedulers. Nothing is shared with other workers but the sums of live flows.
class SchedulerMemory {
  public:
    // `seed` is any number that other instances do not have.
    SchedulerMemory(const LiveFlows& live, WorkerIndex worker, std::uint32_t workers, std::uint64_t seed)
        : live_(live),
          random_(seed ^ worker.value),
          worker_(worker.value),
          workers_(workers),
          seed_(seed),
          turns_(shm::max_listeners) {}

    // Whose turn it is, of `count` > 0. Workers begin as far from each other as they can be, and other instances
    // elsewhere, so that they do not all come to the same backend at once.
    std::uint32_t next_turn(ListenerIndex listener, std::uint32_t count) noexcept {
        const std::uint64_t begin = scale_hash(Random(seed_ + listener.value)(), count);
        const std::uint64_t apart = std::uint64_t{count} * worker_ / workers_;
        return static_cast<std::uint32_t>((begin + apart + turns_[listener.value]++) % count);
    }
    std::uint64_t random() noexcept { return random_(); }
    std::uint32_t flows_of(shm::Handle handle) const noexcept { return live_.estimate(handle); }

  private:
    LiveFlows live_;
    Random random_;
    std::uint32_t worker_;
    std::uint32_t workers_;
    std::uint64_t seed_;
    std::vector<std::uint32_t> turns_;  // taken, by listener
};

// A flow that opens, and what its listener has. Neither slots nor handles are empty.
struct Opening {
    ListenerIndex index;
    const shm::ListenerRecord& listener;
    std::uint64_t hash;  // as the listener's affinity has it
    std::span<const std::uint16_t> slots;
    std::span<const shm::Handle> handles;
    std::span<const std::uint16_t> numbers;

    static Opening of(const shm::Tables& tables, ListenerIndex index, std::uint64_t hash) noexcept {
        const shm::ListenerRecord& listener = tables.listeners[index.value];
        return {index, listener, hash, tables.slots(listener), tables.handles(listener), tables.numbers(listener)};
    }
    // A backend by its slot: chance in proportion to weights, if the hash is one.
    std::uint32_t at_slot_of(std::uint64_t any_hash) const noexcept {
        return slots[scale_hash(any_hash, slots.size())];
    }
    std::uint64_t weight(std::uint32_t position) const noexcept {
        return position < numbers.size() ? numbers[position] : 0;
    }
    std::uint64_t flows(std::uint32_t position, const SchedulerMemory& memory) const noexcept {
        return position < handles.size() ? memory.flows_of(handles[position]) : 0;
    }
    // Would the first have fewer flows than the second for its weight, if it took this one?
    bool is_lighter(std::uint32_t one, std::uint32_t other, const SchedulerMemory& memory) const noexcept {
        return (flows(one, memory) + 1) * weight(other) < (flows(other, memory) + 1) * weight(one);
    }
};

// clang-format 14 does not know requirements.
// clang-format off
template <class S>
concept OpeningScheduler = requires(const Opening& opening, SchedulerMemory& memory) {
    { S::id } -> std::convertible_to<Choice>;
    // A position in `handles`.
    { S::choose(opening, memory) } noexcept -> std::same_as<std::uint32_t>;
};
// clang-format on

}  // namespace shunt::dataplane
