// What is decided before DPDK starts: cores, memory, arguments.
#include <gtest/gtest.h>

#include <algorithm>

#include "dataplane/dpdk/environment.h"
#include "dataplane/dpdk/memory.h"

namespace shunt::dataplane::dpdk {
namespace {

using List = std::vector<std::uint16_t>;
constexpr std::uint64_t mebibyte = 1 << 20;

bool contains(const std::vector<std::string>& arguments, const std::string& argument) {
    return std::find(arguments.begin(), arguments.end(), argument) != arguments.end();
}

TEST(PlanCores, TheMainThreadGetsWhatTheWorkersLeave) {
    const auto cores = plan_cores(2, {}, {0, 1, 2, 5}, false);
    ASSERT_TRUE(cores);
    EXPECT_EQ(cores->workers, (List{0, 1}));
    EXPECT_EQ(cores->main, (List{2, 5}));
}

TEST(PlanCores, ConfiguredCoresAreTaken) {
    const auto cores = plan_cores(2, {5, 1}, {0, 1, 2, 5}, false);
    ASSERT_TRUE(cores);
    EXPECT_EQ(cores->workers, (List{5, 1}));
    EXPECT_EQ(cores->main, (List{0, 2}));
}

TEST(PlanCores, WithNoCoreLeftTheMainThreadSharesAll) {
    const auto cores = plan_cores(2, {}, {0, 1}, false);
    ASSERT_TRUE(cores);
    EXPECT_EQ(cores->main, (List{0, 1}));
}

TEST(PlanCores, OnlyWorkersThatSleepMayShareACore) {
    EXPECT_FALSE(plan_cores(3, {}, {0, 1}, false));
    const auto cores = plan_cores(3, {}, {0, 1}, true);
    ASSERT_TRUE(cores);
    EXPECT_EQ(cores->workers, (List{0, 1, 0}));
}

TEST(PlanCores, ACoreThatIsNotOursIsRefusedByName) {
    const auto cores = plan_cores(1, {7}, {0, 1}, false);
    ASSERT_FALSE(cores);
    EXPECT_NE(cores.error().message.find("core 7"), std::string::npos);
    EXPECT_EQ(cores.error().key, "dataplane.cores");
}

// 8 MiB of frames; with what DPDK needs of its own, 36 MiB and a little.
constexpr PoolSize small{.buffers = 4096, .data_room = 2048};
constexpr std::uint64_t pages = 4 + 18;

TEST(PlanMemory, HugePagesIfEnoughAreFree) {
    const auto plan = plan_memory(small, 1, {.huge_pages_free = pages, .available = 0});
    ASSERT_TRUE(plan);
    EXPECT_TRUE(plan->huge_pages);
    EXPECT_TRUE(plan->warning.empty());
    EXPECT_LT(plan->bytes, 36 * mebibyte) << "frames are not DPDK's";
}

TEST(PlanMemory, OtherwiseOrdinaryMemoryWithItsPriceAndTheCommand) {
    const auto plan =
        plan_memory(small, 1, {.huge_pages = 100, .huge_pages_free = pages - 1, .available = 1000 * mebibyte});
    ASSERT_TRUE(plan);
    EXPECT_FALSE(plan->huge_pages);
    EXPECT_NE(plan->warning.find("22 huge pages"), std::string::npos) << plan->warning;
    EXPECT_NE(plan->warning.find("21 are free"), std::string::npos) << plan->warning;
    EXPECT_NE(plan->warning.find("vm.nr_hugepages=101"), std::string::npos) << plan->warning;
}

TEST(PlanMemory, TooLittleOfBothIsRefusedWithWhatIsNeededAndThere) {
    const auto plan = plan_memory(small, 100, {.huge_pages_free = 3, .available = 500 * mebibyte});
    ASSERT_FALSE(plan);
    EXPECT_NE(plan.error().message.find("MiB are needed, 500 MiB are available"), std::string::npos)
        << plan.error().text();
}

TEST(PoolSize, GrowsWithQueuesAndMtu) {
    EXPECT_EQ(pool_size(1, 2048, 1500, 0).data_room, 2048U);
    EXPECT_EQ(pool_size(1, 2048, 1770, 0).data_room, 2048U);
    EXPECT_EQ(pool_size(1, 2048, 1771, 0).data_room, 4096U);
    EXPECT_EQ(pool_size(1, 2048, 3502, 0).data_room, 4096U);
    EXPECT_GT(pool_size(2, 2048, 1500, 0).buffers, pool_size(1, 2048, 1500, 0).buffers);
}

TEST(EalArguments, HugePagesExcludeNoHuge) {
    const Cores cores{.workers = {2, 3}, .main = {0, 1}};
    const auto huge = eal_arguments(cores, {.huge_pages = true, .bytes = 64 * mebibyte});
    EXPECT_TRUE(contains(huge, "--lcores=0@(0,1),1@2,2@3"));
    EXPECT_TRUE(contains(huge, "--main-lcore=0"));
    EXPECT_TRUE(contains(huge, "--in-memory"));
    EXPECT_FALSE(contains(huge, "--no-huge"));
    const auto ordinary = eal_arguments(cores, {.huge_pages = false, .bytes = 64 * mebibyte});
    EXPECT_FALSE(contains(ordinary, "--in-memory"));
    EXPECT_TRUE(contains(ordinary, "--no-huge"));
    EXPECT_TRUE(contains(ordinary, "65"));
    EXPECT_TRUE(contains(ordinary, "--no-shconf"));
}

TEST(SystemMemory, IsThere) { EXPECT_GT(system_memory().available, 16 * mebibyte); }

}  // namespace
}  // namespace shunt::dataplane::dpdk
