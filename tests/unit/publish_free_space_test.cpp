#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "controlplane/publish/free_space.h"
#include "src/base/random.h"

namespace shunt::controlplane {
namespace {

TEST(FreeSpace, GivesTheFirstPlaceThatIsLargeEnough) {
    FreeSpace free;
    free.add({1000, 64});
    free.add({2000, 256});
    EXPECT_EQ(free.take(128), 2000U);
    EXPECT_EQ(free.take(64), 1000U);
    EXPECT_EQ(free.take(128), 2128U);
    EXPECT_EQ(free.take(1), std::nullopt);
    EXPECT_EQ(free.bytes(), 0U);
}

TEST(FreeSpace, NeighboursBecomeOne) {
    FreeSpace free;
    free.add({64, 64});
    free.add({192, 64});
    EXPECT_EQ(free.take(192), std::nullopt);
    free.add({128, 64});
    EXPECT_EQ(free.take(192), 64U);
}

TEST(FreeSpace, NeverGivesAByteTwice) {
    Random random(3);
    FreeSpace free;
    constexpr std::uint64_t all = 64 * 1000;
    free.add({0, all});
    std::vector<bool> used(all / 64);
    std::vector<Extent> taken;
    for (int step = 0; step < 20'000; ++step) {
        if (random.below(2) == 0 && !taken.empty()) {
            std::swap(taken[random.below(taken.size())], taken.back());
            for (std::uint64_t i = 0; i < taken.back().bytes / 64; ++i) used[taken.back().offset / 64 + i] = false;
            free.add(taken.back());
            taken.pop_back();
            continue;
        }
        const std::uint64_t bytes = 64 * (1 + random.below(40));
        const auto offset = free.take(bytes);
        if (!offset) continue;
        taken.push_back({*offset, bytes});
        for (std::uint64_t i = 0; i < bytes / 64; ++i) {
            ASSERT_FALSE(used[*offset / 64 + i]);
            used[*offset / 64 + i] = true;
        }
    }
    for (const Extent& extent : taken) free.add(extent);
    EXPECT_EQ(free.take(all), 0U);
}

}  // namespace
}  // namespace shunt::controlplane
