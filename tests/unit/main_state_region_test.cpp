#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "dataplane/main/state_region.h"

namespace shunt::dataplane {
namespace {

namespace fs = std::filesystem;

class StateRegionTest : public testing::Test {
  protected:
    StateRegionTest() {
        std::string name = (fs::temp_directory_path() / "shunt-state-XXXXXX").string();
        directory_ = ::mkdtemp(name.data());
    }
    ~StateRegionTest() override { fs::remove_all(directory_); }

    static StateNeeds needs() {
        return {.shape = {.workers = 2, .handles = 16, .services = 4, .reserved = 0, .buckets_per_worker = 8},
                .boot_id = "0f0f0f0f-aaaa-bbbb-cccc-121212121212",
                .flow_seed = {{1, 2, 3, 4}},
                .now = {Duration::seconds(100).nanoseconds},
                .memory_available = 1 << 30};
    }
    StateRegion take(const StateNeeds& wanted) {
        auto region = StateRegion::take(directory_, wanted);
        EXPECT_TRUE(region) << (region ? "" : region.error().text());
        return *std::move(region);
    }
    // Which of the regions is in force.
    std::string link() const {
        for (const auto& entry : fs::directory_iterator(directory_)) {
            const std::string name = entry.path().filename();
            if (name != "state" && fs::equivalent(entry.path(), directory_ + "/state")) return name;
        }
        return "";
    }
    static StateNeeds later(Duration d) {
        StateNeeds result = needs();
        result.now = result.now + d;
        result.flow_seed = {{9, 9, 9, 9}};
        return result;
    }

    std::string directory_;
};

std::uint64_t lost(const shm::State& state, WorkerIndex worker) {
    return state.drops(worker)[0].by_reason[static_cast<std::size_t>(shm::DropReason::lost_in_restart)].read();
}

TEST_F(StateRegionTest, ANewRegionIsCompleteBeforeTheLinkNamesIt) {
    StateRegion region = take(needs());
    EXPECT_FALSE(region.adopted());
    EXPECT_EQ(link(), "state.1");
    const auto& header = region.state().header();
    EXPECT_EQ(header.version.load(), shm::layout_version);
    EXPECT_EQ(header.boot_id.data(), needs().boot_id);
    EXPECT_EQ(header.flow_seed, needs().flow_seed);
    EXPECT_EQ(header.incarnation, 1U);
    EXPECT_EQ(header.starts, 1U);
    EXPECT_EQ(header.downtime_nanoseconds, 0);
}

TEST_F(StateRegionTest, ASecondInstanceIsRefusedAndDisturbsNothing) {
    StateRegion first = take(needs());
    first.state().header().accepted.store(7);
    const auto second = StateRegion::take(directory_, later(Duration::seconds(1)));
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("pid"), std::string::npos);
    EXPECT_NE(second.error().remedy, "");
    EXPECT_EQ(first.state().header().accepted.load(), 7U);
    EXPECT_EQ(link(), "state.1");
}

TEST_F(StateRegionTest, ASuccessorOfTheSameShapeAdoptsInPlace) {
    {
        StateRegion first = take(needs());
        first.state().flows(WorkerIndex(1))[3].units[2].key.store(42);
        first.state().header().accepted.store(7);
        first.state().header().heartbeat.store(Duration::seconds(110).nanoseconds);
        first.state().workers()[0].heartbeat.set(static_cast<std::uint64_t>(Duration::seconds(112).nanoseconds));
        first.state().workers()[0].online.store(1);
        first.state().workers()[0].passed.store(7);
    }
    StateRegion second = take(later(Duration::seconds(15)));
    EXPECT_TRUE(second.adopted());
    EXPECT_EQ(link(), "state.1");
    const auto state = second.state();
    EXPECT_EQ(state.flows(WorkerIndex(1))[3].units[2].key.load(), 42U);
    EXPECT_EQ(state.header().flow_seed, needs().flow_seed) << "flows are found by the old seed";
    EXPECT_EQ(state.header().downtime_nanoseconds, Duration::seconds(3).nanoseconds);
    EXPECT_EQ(state.header().accepted.load(), 0U) << "tables are validated again first";
    EXPECT_EQ(state.workers()[0].online.load(), 0U);
    EXPECT_EQ(state.workers()[0].passed.load(), 0U);
    EXPECT_EQ(state.header().starts, 2U);
}

TEST_F(StateRegionTest, DowntimesAddUp) {
    { take(needs()); }
    { take(later(Duration::seconds(2))); }
    StateRegion third = take(later(Duration::seconds(5)));
    EXPECT_EQ(third.state().header().downtime_nanoseconds, Duration::seconds(5).nanoseconds);
}

TEST_F(StateRegionTest, WhatACrashLostIsBooked) {
    {
        StateRegion first = take(needs());
        shm::WorkerBlock& worker = first.state().workers()[1];
        worker.received.set(100);
        worker.forwarded.set(60);
        worker.punted.set(5);
        worker.dropped.set(9);  // died between the reason and the sum
        first.state().drops(WorkerIndex(1))[2].by_reason[static_cast<std::size_t>(shm::DropReason::no_backend)].set(10);
    }
    StateRegion second = take(later(Duration::seconds(1)));
    const shm::WorkerBlock& worker = second.state().workers()[1];
    EXPECT_EQ(lost(second.state(), WorkerIndex(1)), 25U);
    EXPECT_EQ(worker.dropped.read(), 35U);
    EXPECT_EQ(worker.received.read(), worker.forwarded.read() + worker.punted.read() + worker.dropped.read());
    EXPECT_EQ(lost(second.state(), WorkerIndex(0)), 0U);
}

TEST_F(StateRegionTest, AnythingElseGetsANewRegionAndTheOldOneGoes) {
    StateNeeds other_workers = needs();
    other_workers.shape.workers = 3;
    StateNeeds other_boot = other_workers;
    other_boot.boot_id = "11111111-aaaa-bbbb-cccc-121212121212";
    { take(needs()); }
    {
        StateRegion region = take(other_workers);
        EXPECT_FALSE(region.adopted());
        EXPECT_NE(region.remark().find("another number of workers"), std::string::npos) << region.remark();
    }
    EXPECT_EQ(link(), "state.2");
    EXPECT_FALSE(fs::exists(directory_ + "/state.1"));
    { EXPECT_NE(take(other_boot).remark().find("boot"), std::string::npos); }
    EXPECT_EQ(link(), "state.3");
    fs::resize_file(directory_ + "/state.3", 4096);
    { EXPECT_NE(take(other_boot).remark().find("cut short"), std::string::npos); }
    EXPECT_EQ(link(), "state.4");
    {
        auto region = shm::Region::open(directory_ + "/state.4", shm::Region::Access::read_write);
        region->at<shm::StateHeader>(0).magic ^= 1;
    }
    EXPECT_FALSE(take(other_boot).adopted());
    EXPECT_EQ(link(), "state.5");
}

TEST_F(StateRegionTest, ANewerLayoutIsRefusedAndKept) {
    { take(needs()).state().header().version.store(shm::layout_version + 1); }
    const auto region = StateRegion::take(directory_, needs());
    ASSERT_FALSE(region);
    EXPECT_NE(region.error().message.find("newer"), std::string::npos);
    EXPECT_TRUE(fs::exists(directory_ + "/state.1"));
}

TEST_F(StateRegionTest, TooLittleMemoryIsRefusedBeforeAnythingIsMade) {
    StateNeeds poor = needs();
    poor.memory_available = 1 << 20;
    const auto region = StateRegion::take(directory_, poor);
    ASSERT_FALSE(region);
    EXPECT_NE(region.error().message.find("are needed, 1 MiB are there"), std::string::npos) << region.error().text();
    EXPECT_NE(region.error().remedy.find("dataplane.flows"), std::string::npos);
    EXPECT_TRUE(fs::is_empty(directory_));
    { take(needs()); }
    EXPECT_TRUE(take(poor).adopted()) << "what is there already costs nothing";
}

TEST_F(StateRegionTest, ALeftoverOfADeathInTheMakingIsNoObstacle) {
    { (void)shm::Region::create(directory_ + "/state.1", 4096, 4096); }
    EXPECT_FALSE(take(needs()).adopted());
    EXPECT_EQ(link(), "state.2");
    EXPECT_FALSE(fs::exists(directory_ + "/state.1"));
}

TEST_F(StateRegionTest, FlowsHoldOnlyWithTheTablesTheyWereLearnedFrom) {
    StateRegion region = take(needs());
    auto& key = region.state().flows(WorkerIndex(0))[1].units[0].key;
    auto& packets = region.state().backends(WorkerIndex(1))[5].forth.packets;
    EXPECT_TRUE(region.bind_tables(11));
    key.store(42);
    packets.set(3);
    EXPECT_TRUE(region.bind_tables(11));
    EXPECT_EQ(key.load(), 42U);
    EXPECT_FALSE(region.bind_tables(12));
    EXPECT_EQ(key.load(), 0U);
    EXPECT_EQ(packets.read(), 0U);
    EXPECT_TRUE(region.bind_tables(12));
}

// 32 packets of a burst had arrived, three of them were released; and ten fragments waited, in no worker's count.
TEST_F(StateRegionTest, WhatADeathLeftUnaccountedIsBookedOnce) {
    {
        StateRegion first = take(needs());
        shm::WorkerBlock& worker = first.state().workers()[0];
        worker.ports[0].received.set(110);
        worker.received.set(100);
        worker.forwarded.set(60);
        worker.dropped.set(8);
        first.state().drops(WorkerIndex(0))[2].by_reason[static_cast<std::size_t>(shm::DropReason::no_backend)].set(11);
    }
    for (int start = 0; start < 2; ++start) {
        StateRegion next = take(needs());
        const shm::WorkerBlock& worker = next.state().workers()[0];
        const auto& before_services = next.state().drops(WorkerIndex(0))[0];
        EXPECT_EQ(worker.received.read(), 110U);
        EXPECT_EQ(worker.received.read(), worker.forwarded.read() + worker.punted.read() + worker.dropped.read());
        EXPECT_EQ(before_services.by_reason[static_cast<std::size_t>(shm::DropReason::lost_in_restart)].read(), 39U);
    }
}

TEST(StateShape, HasRoomForBothHalvesOfEveryFlow) {
    for (std::uint16_t workers = 1; workers <= 8; ++workers) {
        const auto shape = shm::state_shape(workers, 1'000'001);
        EXPECT_GE(shape.buckets_per_worker * 4 * workers, 2'000'002U);
        EXPECT_LE(shape.buckets_per_worker * 4 * workers, 2'000'002U + 4U * workers);
    }
    EXPECT_EQ(shm::state_shape(1, 0).buckets_per_worker, 1U);
}

}  // namespace
}  // namespace shunt::dataplane
