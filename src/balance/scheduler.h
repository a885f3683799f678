// The closed list of schedulers: names, and what each is compiled to. The numbers are part of the shared layout: they
// are never reused.
//
// Every scheduler has a table of slots, by which any packet's backend can be told from its hash alone, the same on
// every worker and node. Some schedulers are nothing else. The others choose for flows that open, by turn, by chance or
// by load; their table is for packets of which nothing is remembered.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "src/net/packet_hash.h"

namespace shunt {

enum class Scheduler : std::uint8_t {
    none = 0,
    maglev,
    maglev_bounded,
    ring,
    source_hash,
    round_robin,
    weighted_round_robin,
    least_connections,
    weighted_least_connections,
    power_of_two,
    random,
};
constexpr Scheduler default_scheduler = Scheduler::maglev;

// How slots are dealt out: maglev.h, ring.h, runs.h.
enum class SlotRule : std::uint8_t { maglev, ring, runs };

// How a worker finds the backend of a flow that opens: dataplane/schedulers has a type for each.
enum class Choice : std::uint8_t { by_table = 0, in_turn, least_loaded, better_of_two, by_lot, bounded, count };

// What of a packet is hashed: packets that agree in it meet at one slot.
enum class Affinity : std::uint8_t { five_tuple = 0, source, source_port, count };

struct SchedulerTraits {
    Scheduler scheduler{};
    std::string_view name{};
    SlotRule slots{SlotRule::maglev};
    Choice choice{Choice::by_table};
    bool weighted{true};                      // false: all who take part count the same
    Affinity affinity{Affinity::five_tuple};  // unless the service says another

    constexpr bool only_table() const noexcept { return choice == Choice::by_table; }
    constexpr bool hashes() const noexcept { return only_table() || choice == Choice::bounded; }
    // For each flow it looks at every backend.
    constexpr bool looks_at_all() const noexcept { return choice == Choice::least_loaded || choice == Choice::bounded; }
};

// Does the choice go by how many flows live?
constexpr bool counts_flows(Choice choice) noexcept {
    return choice == Choice::least_loaded || choice == Choice::better_of_two || choice == Choice::bounded;
}

inline constexpr std::array schedulers{
    SchedulerTraits{.scheduler = Scheduler::maglev, .name = "maglev"},
    SchedulerTraits{.scheduler = Scheduler::maglev_bounded, .name = "maglev-bounded", .choice = Choice::bounded},
    SchedulerTraits{.scheduler = Scheduler::ring, .name = "ring", .slots = SlotRule::ring},
    SchedulerTraits{.scheduler = Scheduler::source_hash,
                    .name = "source-hash",
                    .slots = SlotRule::runs,
                    .affinity = Affinity::source},
    SchedulerTraits{
        .scheduler = Scheduler::round_robin, .name = "round-robin", .choice = Choice::in_turn, .weighted = false},
    SchedulerTraits{
        .scheduler = Scheduler::weighted_round_robin, .name = "weighted-round-robin", .choice = Choice::in_turn},
    SchedulerTraits{.scheduler = Scheduler::least_connections,
                    .name = "least-connections",
                    .choice = Choice::least_loaded,
                    .weighted = false},
    SchedulerTraits{.scheduler = Scheduler::weighted_least_connections,
                    .name = "weighted-least-connections",
                    .choice = Choice::least_loaded},
    SchedulerTraits{.scheduler = Scheduler::power_of_two, .name = "power-of-two", .choice = Choice::better_of_two},
    SchedulerTraits{.scheduler = Scheduler::random, .name = "random", .choice = Choice::by_lot},
};
inline constexpr SchedulerTraits no_scheduler{};

// A number that is none of ours gives traits without a name.
constexpr const SchedulerTraits& traits_of(Scheduler scheduler) noexcept {
    for (const auto& traits : schedulers) {
        if (traits.scheduler == scheduler) return traits;
    }
    return no_scheduler;
}
constexpr std::string_view to_string(Scheduler scheduler) noexcept { return traits_of(scheduler).name; }

// The packet as an affinity sees it; the rest is blanked, and hash_tuple() is asked about that.
constexpr FiveTuple seen_by(Affinity affinity, const FiveTuple& tuple) noexcept {
    if (affinity == Affinity::five_tuple) return tuple;
    return {tuple.source, IpAddress{}, affinity == Affinity::source_port ? tuple.source_port : Be16{}, Be16{},
            Protocol{}};
}

}  // namespace shunt
