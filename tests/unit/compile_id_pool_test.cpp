#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <set>

#include "controlplane/compile/id_pool.h"
#include "src/base/random.h"

namespace shunt::controlplane {
namespace {

using Pool = IdPool<int, std::hash<int>>;

constexpr Instant start{1'000'000'000};
constexpr Duration hour = Duration::seconds(3600);

TEST(IdPool, NeverUsedNumbersComeFirstThenTheLongestRetired) {
    Pool pool(5, {});
    EXPECT_EQ(pool.take(10, start), 1U);
    EXPECT_EQ(pool.take(20, start), 2U);
    EXPECT_EQ(pool.take(10, start), 1U);  // it has one
    pool.give_back(20, start);
    pool.give_back(10, start + Duration::seconds(1));
    const Instant later = start + Duration::seconds(2);
    EXPECT_EQ(pool.take(30, later), 3U);
    EXPECT_EQ(pool.take(40, later), 4U);
    EXPECT_EQ(pool.take(50, later), 2U);
    EXPECT_EQ(pool.take(60, later), 1U);
    EXPECT_EQ(pool.take(70, later), 0U);  // below 5
}

TEST(IdPool, ARetiredNumberRests) {
    Pool pool(2, hour);
    EXPECT_EQ(pool.take(1, start), 1U);
    pool.give_back(1, start);
    EXPECT_EQ(pool.take(2, start + hour - Duration{1}), 0U);
    EXPECT_EQ(pool.take(2, start + hour), 1U);
}

TEST(IdPool, APairOfNumberAndUseRestsWhenTheUsesHaveGoneRound) {
    Pool pool(2, hour, 4);
    Instant now = start;
    for (int use = 0; use < 4; ++use) {
        ASSERT_EQ(pool.take(use, now), 1U);
        EXPECT_EQ(pool[1].uses % 4, static_cast<std::uint32_t>(use));
        pool.give_back(use, now);
    }
    EXPECT_EQ(pool.take(9, now), 0U);
    EXPECT_EQ(pool.take(9, now + hour), 1U);
}

TEST(IdPool, UndoingLeavesNoTrace) {
    Pool pool(4, {});
    pool.take(1, start);
    pool.take(2, start);
    pool.give_back(1, start);
    pool.begin();
    EXPECT_EQ(pool.take(3, start), 3U);
    EXPECT_EQ(pool.take(4, start), 1U);
    pool.undo();
    EXPECT_EQ(pool.find(3), 0U);
    EXPECT_EQ(pool.find(4), 0U);
    EXPECT_EQ(pool.find(2), 2U);
    EXPECT_EQ(pool.count(), 3U);
    EXPECT_EQ(pool[1].uses, 0U);
    EXPECT_EQ(pool.take(5, start), 3U);
    EXPECT_EQ(pool.take(6, start), 1U);
}

// The rules, the slow and simple way.
struct Model {
    struct Number {
        std::uint32_t uses{};
        std::optional<int> owner{};
        Instant retired{};
    };
    std::uint32_t limit;
    Duration rest;
    std::uint32_t round;
    std::vector<Number> numbers{1};

    std::uint32_t take(int key, Instant now) {
        for (std::uint32_t n = 1; n < numbers.size(); ++n) {
            if (numbers[n].owner == key) return n;
        }
        if (numbers.size() < limit) {
            numbers.push_back({0, key, {}});
            return static_cast<std::uint32_t>(numbers.size() - 1);
        }
        std::uint32_t best = 0;
        for (std::uint32_t n = 1; n < numbers.size(); ++n) {
            if (numbers[n].owner || free_at(n) > now) continue;
            if (best == 0 || free_at(n) < free_at(best)) best = n;
        }
        if (best != 0) numbers[best] = {numbers[best].uses + 1, key, {}};
        return best;
    }
    Instant free_at(std::uint32_t n) const {
        const bool rests = round == 0 || (numbers[n].uses + 1) % round == 0;
        return rests ? numbers[n].retired + rest : numbers[n].retired;
    }
    void give_back(int key, Instant now) {
        for (Number& number : numbers) {
            if (number.owner == key) number = {number.uses, std::nullopt, now};
        }
    }
};

// As a restarted control plane sees it.
Pool reread(const Pool& pool, const Model& model) {
    Pool again(model.limit, model.rest, model.round);
    for (std::uint32_t n = 1; n < pool.count(); ++n) again.restore(n, model.numbers[n].owner, pool[n]);
    return again;
}

TEST(IdPool, KeepsItsRulesThroughRandomHistoriesAndRestarts) {
    for (std::uint64_t seed = 1; seed <= 30; ++seed) {
        Random random(seed);
        const auto round = static_cast<std::uint32_t>(random.below(2) * 3);
        Pool pool(8, hour, round);
        Model model{.limit = 8, .rest = hour, .round = round};
        Instant now = start;
        std::map<std::pair<std::uint32_t, std::uint32_t>, Instant> last_use;
        for (int step = 0; step < 400; ++step) {
            now = now + Duration::seconds(static_cast<std::int64_t>(random.below(1200)));
            const int key = static_cast<int>(random.below(10));
            if (random.below(2) == 0 && pool.find(key) != 0) {
                pool.give_back(key, now);
                model.give_back(key, now);
                continue;
            }
            const bool is_new = pool.find(key) == 0;
            const std::uint32_t number = pool.take(key, now);
            ASSERT_EQ(number, model.take(key, now)) << "seed " << seed << ", step " << step;
            if (number == 0) continue;
            ASSERT_EQ(pool[number].uses, model.numbers[number].uses);
            const std::pair pair(number, round == 0 ? 0 : pool[number].uses % round);
            if (is_new && last_use.contains(pair)) {
                ASSERT_GE(now, last_use[pair] + hour);
            }
            last_use[pair] = now;
            if (random.below(10) == 0) pool = reread(pool, model);
        }
    }
}

}  // namespace
}  // namespace shunt::controlplane
