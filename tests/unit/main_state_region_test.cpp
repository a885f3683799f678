#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "dataplane/main/state_region.h"

namespace shunt::dataplane {
namespace {

namespace fs = std::filesystem;

class StateRegionTest : public testing::Test {
  protected:
    StateRegionTest() {
        std::string name = "/dev/shm/shunt-state-XXXXXX";
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
    shm::Region open(const std::string& name) const {
        auto region = shm::Region::open(directory_ + "/" + name, shm::Region::Access::read_write);
        EXPECT_TRUE(region) << name;
        return *std::move(region);
    }
    // As a program of this layout would have left it.
    void reseal(const std::string& name, std::uint32_t version) const {
        shm::Region region = open(name);
        auto& header = region.at<shm::StateHeader>(0);
        header.version.store(version);
        header.seal.store(shm::seal_of(header));
    }
    static StateNeeds with_workers(std::uint32_t workers, Duration d) {
        StateNeeds result = later(d);
        result.shape.workers = workers;
        return result;
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

// What nobody may believe is replaced, and its flows are given up: said once, loudly.
TEST_F(StateRegionTest, WhatCannotBeTrustedIsReplacedByAnEmptyOne) {
    StateNeeds other_boot = needs();
    other_boot.boot_id = "11111111-aaaa-bbbb-cccc-121212121212";
    { take(needs()).state().flows(WorkerIndex(1))[3].units[2].key.store(42); }
    const auto expect_new = [&](const StateNeeds& wanted, StateRegion::Origin origin, const std::string& why) {
        StateRegion region = take(wanted);
        EXPECT_EQ(region.origin(), origin) << region.remark();
        EXPECT_NE(region.remark().find("given up: " + why), std::string::npos) << region.remark();
        EXPECT_TRUE(region.predecessors().empty());
        EXPECT_EQ(region.state().flows(WorkerIndex(1))[3].units[2].key.load(), 0U);
    };
    expect_new(other_boot, StateRegion::Origin::fresh, "it is from before the last boot");
    EXPECT_EQ(link(), "state.2");
    EXPECT_FALSE(fs::exists(directory_ + "/state.1"));
    fs::resize_file(directory_ + "/state.2", 8192);
    expect_new(other_boot, StateRegion::Origin::damaged, "it is shorter than its header says");
    EXPECT_EQ(link(), "state.3");
    { open("state.3").at<shm::StateHeader>(0).magic ^= 1; }
    expect_new(other_boot, StateRegion::Origin::damaged, "it is not a state region");
    { open("state.4").at<shm::StateHeader>(0).version.store(shm::oldest_layout_read - 1); }
    expect_new(other_boot, StateRegion::Origin::damaged, "its header is damaged");
    { reseal("state.5", shm::oldest_layout_read - 1); }
    expect_new(other_boot, StateRegion::Origin::damaged, "it has layout 3");
    EXPECT_EQ(link(), "state.6");
}

TEST_F(StateRegionTest, CutShortAnywhereItIsReplaced) {
    { take(needs()); }
    const std::uint64_t whole = fs::file_size(directory_ + "/state");
    for (std::uint64_t bytes = 0; bytes < whole; bytes += bytes < 8192 ? 509 : whole / 17) {
        fs::resize_file(directory_ + "/state", bytes);
        StateRegion region = take(needs());
        EXPECT_EQ(region.origin(), bytes == 0 ? StateRegion::Origin::fresh : StateRegion::Origin::damaged) << bytes;
        EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 2) << bytes;
    }
}

// What a successor must rely on is sealed; nothing else in the header can do harm.
TEST_F(StateRegionTest, EveryBitOfTheHeaderMayFlip) {
    {
        StateRegion region = take(needs());
        EXPECT_TRUE(region.bind_tables(11));
    }
    const auto is_sealed = [](std::size_t byte) {
        return byte < offsetof(shm::StateHeader, version) + sizeof(std::uint32_t) ||
               (byte >= offsetof(shm::StateHeader, predecessors) &&
                byte < offsetof(shm::StateHeader, seal) + sizeof(std::uint64_t));
    };
    std::string pristine(shm::first_worker_offset, '\0');
    for (std::size_t bit = 0; bit < sizeof(shm::StateHeader) * 8; ++bit) {
        {
            shm::Region region = open("state");
            std::memcpy(pristine.data(), region.data(), pristine.size());
            region.at<std::uint8_t>(bit / 8) ^= static_cast<std::uint8_t>(1U << bit % 8);
            const bool is_told = shm::flaw_of_state(region.data(), region.file_bytes()).has_value();
            ASSERT_EQ(is_told, is_sealed(bit / 8)) << bit / 8;
            if (bit % 61 != 0) std::memcpy(region.data(), pristine.data(), pristine.size());
        }
        if (bit % 61 != 0) continue;
        const auto origin = take(later(Duration::seconds(1))).origin();
        ASSERT_EQ(origin, is_sealed(bit / 8) ? StateRegion::Origin::damaged : StateRegion::Origin::adopted) << bit / 8;
    }
}

TEST_F(StateRegionTest, ANewerLayoutIsRefusedAndKept) {
    { take(needs()); }
    reseal("state.1", shm::layout_version + 1);
    StateNeeds others = needs();
    others.shape.workers = 1;
    for (const StateNeeds& wanted : {needs(), others}) {
        const auto region = StateRegion::take(directory_, wanted);
        ASSERT_FALSE(region);
        EXPECT_NE(region.error().message.find("newer"), std::string::npos);
        EXPECT_NE(region.error().message.find("layout " + std::to_string(shm::layout_version + 1)), std::string::npos);
        EXPECT_NE(region.error().remedy, "");
        EXPECT_FALSE(StateRegion::prepare(directory_, wanted));
        EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 2);
    }
}

TEST_F(StateRegionTest, ASuccessorOfAnotherShapeLooksAsideIntoWhatWasThere) {
    {
        StateRegion first = take(needs());
        EXPECT_TRUE(first.bind_tables(11));
        first.state().header().heartbeat.store(Duration::seconds(110).nanoseconds);
        first.state().workers()[0].heartbeat.set(static_cast<std::uint64_t>(Duration::seconds(500).nanoseconds));
        first.state().flows(WorkerIndex(1))[3].units[2].key.store(42);
    }
    StateRegion second = take(with_workers(1, Duration::seconds(15)));
    EXPECT_EQ(second.origin(), StateRegion::Origin::successor);
    EXPECT_NE(second.remark().find("looked for there"), std::string::npos) << second.remark();
    EXPECT_EQ(link(), "state.2");
    const auto& header = second.state().header();
    EXPECT_EQ(header.flow_seed, needs().flow_seed) << "flows are found by the old seed";
    EXPECT_EQ(header.tables_identity, 11U);
    EXPECT_EQ(header.downtime_nanoseconds, Duration::seconds(5).nanoseconds) << "a clock ahead of ours is none";
    EXPECT_EQ(header.predecessors[0].number, 1U);
    EXPECT_EQ(header.predecessors[0].died_at, Duration::seconds(110).nanoseconds);
    EXPECT_EQ(header.predecessors_kept.load(), 1U);
    ASSERT_EQ(second.predecessors().regions().size(), 1U);
    EXPECT_EQ(second.predecessors().regions()[0].flows(WorkerIndex(1))[3].units[2].key.load(), 42U);
}

TEST_F(StateRegionTest, FourPredecessorsAreKeptTheNewestFirst) {
    for (std::uint32_t workers = 1; workers <= 7; ++workers) take(with_workers(workers, {}));
    StateRegion last = take(with_workers(7, Duration::seconds(1)));
    EXPECT_TRUE(last.adopted());
    std::vector<std::uint64_t> numbers;
    for (const auto& predecessor : last.state().header().predecessors) numbers.push_back(predecessor.number);
    EXPECT_EQ(numbers, (std::vector<std::uint64_t>{6, 5, 4, 3}));
    std::vector<std::uint32_t> workers;
    for (const auto& region : last.predecessors().regions()) workers.push_back(region.shape().workers);
    EXPECT_EQ(workers, (std::vector<std::uint32_t>{6, 5, 4, 3}));
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 6) << "and state";
}

TEST_F(StateRegionTest, APredecessorThatIsDamagedIsLeftOut) {
    { take(with_workers(1, {})); }
    { take(with_workers(2, {})); }
    { take(with_workers(3, {})); }
    { open("state.1").at<shm::StateHeader>(0).flow_seed.words[1] ^= 1; }
    EXPECT_EQ(take(with_workers(3, {})).predecessors().regions().size(), 1U);
    EXPECT_FALSE(fs::exists(directory_ + "/state.1"));
    EXPECT_TRUE(fs::exists(directory_ + "/state.2"));
    fs::resize_file(directory_ + "/state.2", 8192);
    StateRegion last = take(with_workers(3, {}));
    EXPECT_TRUE(last.adopted());
    EXPECT_EQ(last.state().header().predecessors_kept.load(), 0U);
}

TEST_F(StateRegionTest, TheLayoutBeforeIsLookedInto) {
    {
        StateRegion first = take(needs());
        first.state().flows(WorkerIndex(1))[3].units[2].key.store(42);
        auto& header = first.state().header();
        header.version.store(shm::oldest_layout_read);
        std::memset(static_cast<void*>(&header.predecessors), 0,
                    sizeof header - offsetof(shm::StateHeader, predecessors));
    }
    StateRegion second = take(needs());
    EXPECT_EQ(second.origin(), StateRegion::Origin::successor);
    EXPECT_NE(second.remark().find("layout 4"), std::string::npos) << second.remark();
    ASSERT_EQ(second.predecessors().regions().size(), 1U);
    EXPECT_EQ(second.predecessors().regions()[0].flows(WorkerIndex(1))[3].units[2].key.load(), 42U);
}

// Whatever their numbers, and whatever the deaths lost on the way.
TEST_F(StateRegionTest, CountersGoOnWithOtherWorkers) {
    std::uint64_t received = 0;
    std::uint64_t backend_packets = 0;
    for (const std::uint32_t workers : {2U, 1U, 3U, 3U, 2U}) {
        StateRegion region = take(with_workers(workers, {}));
        std::uint64_t sum = 0;
        for (const shm::WorkerBlock& worker : region.state().workers()) {
            EXPECT_EQ(worker.received.read(), worker.forwarded.read() + worker.punted.read() + worker.dropped.read());
            sum += worker.received.read();
        }
        EXPECT_EQ(sum, received);
        std::uint64_t packets = 0;
        for (std::uint16_t i = 0; i < workers; ++i) {
            packets += region.state().backends(WorkerIndex(i))[5].back.packets.read();
        }
        EXPECT_EQ(packets, backend_packets);
        for (std::uint16_t i = 0; i < workers; ++i) {
            shm::WorkerBlock& worker = region.state().workers()[i];
            worker.ports[1].received.add(100 + i);
            worker.received.add(100 + i);
            worker.forwarded.add(60);
            region.state().backends(WorkerIndex(i))[5].back.packets.add(7);
            received += 100U + i;
            backend_packets += 7;
        }
        region.state().ports()[1].driver_missed.add(3);
        region.state().header().refusals[1].add(1);
    }
    StateRegion last = take(with_workers(1, {}));
    EXPECT_EQ(last.state().ports()[1].driver_missed.read(), 15U);
    EXPECT_EQ(last.state().header().refusals[1].read(), 5U);
    EXPECT_EQ(last.state().workers()[0].ports[1].received.read(), received);
}

// An upgrade: everything is there before the old one stops, and nobody notices until then.
TEST_F(StateRegionTest, ASuccessorIsPreparedBesideALivingOne) {
    StateRegion old = take(needs());
    EXPECT_TRUE(old.bind_tables(11));
    auto next = StateRegion::prepare(directory_, later(Duration::seconds(5)));
    ASSERT_TRUE(next) << next.error().text();
    EXPECT_EQ(link(), "state.1");
    EXPECT_EQ(next->state().header().flow_seed, needs().flow_seed);
    ASSERT_EQ(next->predecessors().regions().size(), 1U) << "workers can be made";
    old.state().workers()[0].received.add(10);
    old.state().workers()[0].forwarded.add(10);
    old.state().header().heartbeat.store(Duration::seconds(109).nanoseconds);
    ASSERT_TRUE(next->take_over({Duration::seconds(110).nanoseconds}));
    EXPECT_EQ(link(), "state.2");
    EXPECT_EQ(next->state().header().tables_identity, 11U);
    EXPECT_EQ(next->state().header().downtime_nanoseconds, Duration::seconds(1).nanoseconds);
    EXPECT_EQ(next->state().workers()[0].forwarded.read(), 10U);
    EXPECT_EQ(lost(next->state(), WorkerIndex(0)), 0U);
    EXPECT_FALSE(shm::flaw_of_state(open("state").data(), fs::file_size(directory_ + "/state")));
}

TEST_F(StateRegionTest, AnAbandonedSuccessorLeavesNothingBehind) {
    StateRegion old = take(needs());
    {
        auto next = StateRegion::prepare(directory_, later(Duration::seconds(5)));
        ASSERT_TRUE(next);
        EXPECT_TRUE(fs::exists(directory_ + "/state.2"));
        ASSERT_TRUE(next->take_over({Duration::seconds(110).nanoseconds}));
    }
    ASSERT_TRUE(old.put_in_force());
    old.remove_others();
    EXPECT_EQ(link(), "state.1");
    EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 2);
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
