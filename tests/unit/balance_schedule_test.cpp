// The tables and orders that schedulers are compiled to, each against its definition.
#include "src/balance/schedule.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "src/balance/ring.h"
#include "src/balance/runs.h"
#include "src/balance/turns.h"
#include "src/base/random.h"

namespace shunt {
namespace {

using Slots = std::vector<std::uint16_t>;

// Keys in byte-wise order, so that position i is backend i.
std::vector<WeightedKey> backends_of(const std::vector<std::uint32_t>& weights) {
    std::vector<WeightedKey> backends;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        backends.push_back({"198.18.2." + std::to_string(100 + i) + ":80", weights[i]});
    }
    return backends;
}

std::vector<double> counts_of(const Slots& slots, std::size_t backends) {
    std::vector<double> counts(backends);
    for (const std::uint16_t slot : slots) ++counts.at(slot);
    return counts;
}

std::uint64_t sum_of(const std::vector<std::uint32_t>& weights) {
    return std::accumulate(weights.begin(), weights.end(), std::uint64_t{0});
}

const std::vector<std::vector<std::uint32_t>> weightings{
    {100, 100, 100}, {1, 2, 3, 4}, {1000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {100, 0, 50, 0, 7}, {7},
    {999, 1000},     {0, 0, 1}};

TEST(Schedulers, TheListIsWholeAndItsNamesAreTheOperators) {
    std::map<std::string_view, Scheduler> names;
    for (std::size_t i = 0; i < schedulers.size(); ++i) {
        EXPECT_EQ(static_cast<std::size_t>(schedulers[i].scheduler), i + 1);
        names[schedulers[i].name] = schedulers[i].scheduler;
    }
    EXPECT_EQ(names.size(), 10U);
    for (const char* name : {"maglev", "maglev-bounded", "ring", "source-hash", "round-robin", "weighted-round-robin",
                             "least-connections", "weighted-least-connections", "power-of-two", "random"}) {
        EXPECT_TRUE(names.contains(name)) << name;
    }
    EXPECT_EQ(traits_of(Scheduler{99}).name, "");
}

TEST(Schedulers, AffinityIsWhatIsLeftOfAPacket) {
    const HashSeed seed{{1, 2, 3, 4}};
    FiveTuple tuple{*IpAddress::parse("203.0.113.7"), *IpAddress::parse("198.18.0.10"), Be16(40000), Be16(443),
                    Protocol::tcp};
    const auto hash = [&](Affinity affinity) { return hash_tuple(seed, seen_by(affinity, tuple)); };
    const std::array before{hash(Affinity::five_tuple), hash(Affinity::source), hash(Affinity::source_port)};
    tuple.destination_port = Be16(80);
    tuple.protocol = Protocol::udp;
    tuple.destination = *IpAddress::parse("198.18.0.11");
    EXPECT_NE(hash(Affinity::five_tuple), before[0]);
    EXPECT_EQ(hash(Affinity::source), before[1]);
    EXPECT_EQ(hash(Affinity::source_port), before[2]);
    tuple.source_port = Be16(40001);
    EXPECT_EQ(hash(Affinity::source), before[1]);
    EXPECT_NE(hash(Affinity::source_port), before[2]);
    tuple.source = *IpAddress::parse("203.0.113.8");
    EXPECT_NE(hash(Affinity::source), before[1]);
}

// Every slot by the definition: the nearest virtual node at or after the slot's beginning.
TEST(Ring, IsTheRingReadAtEvenlySpacedPlaces) {
    const auto backends = backends_of({100, 30, 1, 0, 250});
    std::map<std::uint64_t, std::uint16_t> nodes;
    for (std::uint16_t b = 0; b < backends.size(); ++b) {
        for (std::uint32_t i = 0; i < backends[b].weight * ring_points_per_weight; ++i) {
            nodes.emplace(XXH64(backends[b].key.data(), backends[b].key.size(), i), b);
        }
    }
    constexpr std::uint32_t size = 4093;
    const Slots slots = ring_table(backends, size);
    __extension__ using Wide = unsigned __int128;
    for (std::uint32_t slot = 0; slot < size; ++slot) {
        // The lowest hash that scale_hash() takes to this slot.
        const auto begin = static_cast<std::uint64_t>(((static_cast<Wide>(slot) << 64) + size - 1) / size);
        ASSERT_EQ(scale_hash(begin, size), slot);
        const auto node = nodes.lower_bound(begin);
        ASSERT_EQ(slots[slot], node == nodes.end() ? nodes.begin()->second : node->second) << slot;
    }
}

TEST(Ring, SharesFollowWeights) {
    for (const auto& weights : {std::vector<std::uint32_t>(10, 100), {50, 100, 200, 400}, {1000, 100, 100}}) {
        const auto counts = counts_of(ring_table(backends_of(weights), 65537), weights.size());
        for (std::size_t i = 0; i < weights.size(); ++i) {
            const double share = weights[i] / static_cast<double>(sum_of(weights));
            // An arc between random nodes has the spread of its length: shares within five times 1 / sqrt(nodes).
            const double spread = share / std::sqrt(weights[i] * ring_points_per_weight);
            EXPECT_NEAR(counts[i] / 65537, share, 5 * spread) << i;
        }
    }
}

TEST(Ring, AChangeMovesOnlyWhatBelongsToTheChanged) {
    auto backends = backends_of({100, 100, 100, 100, 100});
    const Slots before = ring_table(backends, 65537);
    backends[2].weight = 0;
    const Slots without = ring_table(backends, 65537);
    backends[2].weight = 150;
    const Slots more = ring_table(backends, 65537);
    std::size_t moved = 0;
    for (std::size_t slot = 0; slot < before.size(); ++slot) {
        ASSERT_TRUE(before[slot] == 2 || without[slot] == before[slot]);
        ASSERT_TRUE(more[slot] == 2 || more[slot] == before[slot]);
        moved += without[slot] != before[slot];
    }
    EXPECT_NEAR(static_cast<double>(moved) / 65537, 0.2, 0.05);
}

TEST(Runs, SharesAreExactToASlot) {
    for (const auto& weights : weightings) {
        for (const std::uint32_t size : {1021U, 65537U}) {
            const Slots slots = runs_table(backends_of(weights), size);
            EXPECT_TRUE(std::ranges::is_sorted(slots));
            const auto counts = counts_of(slots, weights.size());
            const auto present = static_cast<double>(std::ranges::count_if(weights, [](auto w) { return w != 0; }));
            for (std::size_t i = 0; i < weights.size(); ++i) {
                const double share = weights[i] / static_cast<double>(sum_of(weights));
                EXPECT_NEAR(counts[i], weights[i] == 0 ? 0 : 1 + share * (size - present), 1) << i;
            }
        }
    }
}

TEST(Turns, EverybodyHasHisShareAtEveryMoment) {
    Random random(5);
    auto all = weightings;
    for (int n = 0; n < 30; ++n) {
        std::vector<std::uint32_t> weights(1 + random.below(20));
        for (auto& weight : weights) weight = static_cast<std::uint32_t>(random.below(100));
        weights[0] += 1;
        all.push_back(weights);
    }
    for (const auto& weights : all) {
        const Slots turns = smooth_turns(weights);
        const auto sum = static_cast<double>(sum_of(weights));
        ASSERT_FALSE(turns.empty());
        std::vector<double> taken(weights.size());
        for (std::size_t n = 0; n < turns.size(); ++n) {
            ++taken.at(turns[n]);
            for (std::size_t i = 0; i < weights.size(); ++i) {
                const double ideal = static_cast<double>(n + 1) * weights[i] / sum;
                ASSERT_LT(std::abs(taken[i] - ideal), 1) << "after " << n + 1;
            }
        }
        for (std::size_t i = 0; i < weights.size(); ++i) {
            EXPECT_DOUBLE_EQ(taken[i], static_cast<double>(turns.size()) * weights[i] / sum);
        }
    }
}

TEST(Turns, OfEqualsAreRoundRobin) {
    EXPECT_EQ(smooth_turns(std::vector<std::uint32_t>{100, 100, 100}), (Slots{0, 1, 2}));
    EXPECT_EQ(smooth_turns(std::vector<std::uint32_t>{2, 0, 2}), (Slots{0, 2}));
    EXPECT_EQ(smooth_turns(std::vector<std::uint32_t>{5, 1, 1}).size(), 7U);
    EXPECT_TRUE(smooth_turns({}).empty());
    EXPECT_TRUE(smooth_turns(std::vector<std::uint32_t>{0, 0}).empty());
}

TEST(Turns, AreBoundedAndNobodyIsForgotten) {
    std::vector<std::uint32_t> weights(2000);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<std::uint32_t>(1 + i % 1000);
    const Slots turns = smooth_turns(weights);
    EXPECT_LE(turns.size(), max_turns + weights.size());
    const auto counts = counts_of(turns, weights.size());
    EXPECT_GE(std::ranges::min(counts), 1);
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const double exact = weights[i] * static_cast<double>(max_turns) / static_cast<double>(sum_of(weights));
        EXPECT_NEAR(counts[i], exact, 1);
    }
}

TEST(Schedule, EverySchedulerHasATableOfThosePresent) {
    auto backends = backends_of({100, 0, 300});
    std::ranges::reverse(backends);  // order of the file: of no account
    for (const SchedulerTraits& traits : schedulers) {
        const Slots slots = slot_table(traits.scheduler, backends, 1021);
        ASSERT_EQ(slots.size(), 1021U);
        const auto counts = counts_of(slots, 3);
        EXPECT_EQ(counts[1], 0) << traits.name;
        EXPECT_NEAR(counts[0], traits.weighted ? 255 : 510, 30) << traits.name;
    }
}

TEST(Schedule, NumbersAreWhatTheChoiceAsks) {
    const auto backends = backends_of({100, 300});
    const auto numbers = [&](Scheduler s) { return choice_numbers(s, backends); };
    EXPECT_EQ(numbers(Scheduler::round_robin), (Slots{0, 1}));
    EXPECT_EQ(numbers(Scheduler::weighted_round_robin).size(), 4U);
    EXPECT_EQ(numbers(Scheduler::least_connections), (Slots{1, 1}));
    EXPECT_EQ(numbers(Scheduler::weighted_least_connections), (Slots{100, 300}));
    EXPECT_EQ(numbers(Scheduler::maglev_bounded), (Slots{100, 300}));
    EXPECT_EQ(numbers(Scheduler::power_of_two), (Slots{100, 300}));
    for (const Scheduler s : {Scheduler::maglev, Scheduler::ring, Scheduler::source_hash, Scheduler::random}) {
        EXPECT_TRUE(numbers(s).empty());
    }
}

}  // namespace
}  // namespace shunt
