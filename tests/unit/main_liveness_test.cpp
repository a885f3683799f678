#include "dataplane/main/liveness.h"

#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "dataplane/main/node_watch.h"
#include "src/shm/region.h"
#include "tests/support/temporary_directory.h"

namespace shunt::dataplane {
namespace {

using shm::NodeFault;
using State = shm::NodeHealth::State;

constexpr Duration ms(std::int64_t n) { return Duration::milliseconds(n); }
constexpr Duration hold = ms(3000);
constexpr Duration look = ms(5);

// Two workers and one port, everything as it should be, looked at every five milliseconds.
class LivenessTest : public testing::Test {
  protected:
    LivenessTest() {
        for (auto& worker : workers_) worker.online.store(1);
        port_[0].link_up.store(1);
        pass(7);
    }
    void pass(std::uint64_t generation) {
        accepted_ = Generation(generation);
        for (auto& worker : workers_) worker.passed.store(generation);
    }
    Signs signs() const { return {workers_, port_, accepted_, steered_}; }
    void beat(std::size_t worker) { workers_[worker].heartbeat.set(static_cast<std::uint64_t>(now_.nanoseconds)); }
    void receive(std::uint64_t packets, std::size_t worker = 0) { workers_[worker].ports[0].received.add(packets); }

    // Looks once, after `d`; the workers named did not stand still meanwhile.
    State after(Duration d, std::initializer_list<std::size_t> moving = {0, 1}) {
        now_ = now_ + d;
        for (const std::size_t worker : moving) beat(worker);
        liveness_.look(now_, signs());
        return liveness_.health().state;
    }
    // Looks all the time for `d`. The longest time in a row that the node was unfit.
    Duration unfit_within(Duration d, std::initializer_list<std::size_t> moving = {0, 1}) {
        Duration unfit{};
        for (const Instant end = now_ + d; now_ < end;) {
            if (after(look, moving) == State::unfit) unfit = unfit + look;
        }
        return unfit;
    }
    void make_fit() {
        unfit_within(hold + look);
        ASSERT_EQ(liveness_.health().state, State::fit);
    }
    NodeFault fault() const { return liveness_.health().fault; }

    std::array<shm::WorkerBlock, 2> workers_{};
    std::array<shm::PortBlock, 1> port_{};
    Generation accepted_{};
    bool steered_{true};
    Instant now_{Duration::seconds(1000).nanoseconds};
    Liveness liveness_{hold};
};

TEST_F(LivenessTest, FromBootItIsUnfitUntilItHasBeenSoundForTheHold) {
    EXPECT_EQ(liveness_.health().state, State::unfit);
    EXPECT_EQ(fault(), NodeFault::starting);
    EXPECT_EQ(after(look), State::held);
    EXPECT_EQ(unfit_within(hold - look), Duration{});
    EXPECT_EQ(liveness_.health().state, State::held);
    EXPECT_EQ(after(look), State::fit);
}

TEST_F(LivenessTest, AWedgedWorkerIsAFaultWithin250Milliseconds) {
    make_fit();
    const Instant wedged = now_;
    while (after(look, {0}) == State::fit) ASSERT_LT(now_ - wedged, ms(250));
    EXPECT_GE(now_ - wedged, ms(150)) << "not at the first delay";
    EXPECT_EQ(fault(), NodeFault::worker_still);
    EXPECT_EQ(liveness_.health().place, 1);
    EXPECT_FALSE(liveness_.stalled());
    unfit_within(Duration::seconds(2), {0});
    EXPECT_EQ(liveness_.stalled(), WorkerIndex(1));
    after(look);
    EXPECT_FALSE(liveness_.stalled());
}

TEST_F(LivenessTest, AlsoWhereThisThreadRunsOnlyEveryThirtyMilliseconds) {
    make_fit();
    const Instant wedged = now_;
    while (after(ms(30), {0}) == State::fit) ASSERT_LT(now_ - wedged, ms(250));
}

TEST_F(LivenessTest, AStallOf100MillisecondsIsNone) {
    make_fit();
    for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(unfit_within(ms(100), {0}), Duration{});
        EXPECT_EQ(unfit_within(ms(100), {1}), Duration{});
    }
    EXPECT_EQ(liveness_.health().state, State::fit);
}

TEST_F(LivenessTest, ATimeInWhichThisThreadDidNotRunEitherProvesNothing) {
    make_fit();
    for (int i = 0; i < 7; ++i) EXPECT_EQ(after(Duration::seconds(10), {}), State::fit) << i;
    EXPECT_EQ(after(look), State::fit);
    // 99 ms of all threads, as by SIGSTOP; whoever runs first.
    EXPECT_EQ(after(ms(99), {}), State::fit);
    EXPECT_EQ(after(look), State::fit);
}

TEST_F(LivenessTest, ASleeperThatNeverWakesStandsStill) {
    make_fit();
    workers_[1].online.store(0);
    EXPECT_GT(unfit_within(ms(250), {0}), Duration{});
}

TEST_F(LivenessTest, AWorkerThatKeepsToAnOlderGenerationStandsStill) {
    make_fit();
    accepted_ = Generation(8);
    workers_[0].passed.store(8);
    EXPECT_EQ(unfit_within(ms(100)), Duration{});
    EXPECT_GT(unfit_within(ms(100)), Duration{});
    EXPECT_EQ(liveness_.health().place, 1);
    workers_[1].passed.store(8);
    EXPECT_EQ(after(look), State::held);
}

TEST_F(LivenessTest, WhatComesBackWithinTheHoldIsNotOver) {
    make_fit();
    for (int i = 0; i < 5; ++i) {
        port_[0].link_up.store(0);
        EXPECT_EQ(after(look), State::unfit);
        EXPECT_EQ(fault(), NodeFault::link_down);
        port_[0].link_up.store(1);
        EXPECT_EQ(unfit_within(hold - look), Duration{});
        EXPECT_EQ(liveness_.health().state, State::held);
    }
    EXPECT_EQ(unfit_within(look * 2), Duration{});
    EXPECT_EQ(liveness_.health().state, State::fit);
}

TEST_F(LivenessTest, WithoutTablesOrSteeringNothingIsServed) {
    make_fit();
    steered_ = false;
    EXPECT_EQ(after(look), State::unfit);
    EXPECT_EQ(fault(), NodeFault::no_tables);
    steered_ = true;
    accepted_ = {};
    EXPECT_EQ(after(look), State::unfit);
    pass(9);
    EXPECT_EQ(after(look), State::held);
}

TEST_F(LivenessTest, APortThatTakesNothingOfWhatIsSteeredToItIsAFault) {
    make_fit();
    const auto count = [&](std::uint64_t steered, std::uint64_t received) {
        port_[0].steered.add(steered);
        receive(received, 1);
        liveness_.counted(signs());
        return after(look);
    };
    for (int i = 0; i < 10; ++i) EXPECT_EQ(count(100, i % 2 == 0 ? 200 : 0), State::fit) << "late by a count";
    EXPECT_EQ(count(0, 100), State::fit);
    EXPECT_EQ(count(100, 1), State::fit) << "some are lost";
    EXPECT_EQ(count(1, 0), State::fit);
    EXPECT_EQ(count(1, 0), State::unfit);
    EXPECT_EQ(fault(), NodeFault::nothing_received);
    EXPECT_EQ(count(1, 1), State::held);
    for (int i = 0; i < 10; ++i) EXPECT_EQ(count(0, 0), State::held) << "nothing comes";
}

TEST_F(LivenessTest, ASuccessorAsPlannedIsAsFitAsItsPredecessor) {
    liveness_.inherit(now_);
    steered_ = false;
    EXPECT_EQ(after(look), State::fit);
    EXPECT_EQ(unfit_within(ms(500)), Duration{});
    steered_ = true;
    EXPECT_EQ(after(look), State::fit);
    port_[0].link_up.store(0);
    EXPECT_EQ(after(look), State::unfit);
    port_[0].link_up.store(1);
    EXPECT_EQ(after(look), State::held) << "only once";
}

TEST_F(LivenessTest, ASuccessorThatDoesNotComeToServeIsUnfit) {
    liveness_.inherit(now_);
    steered_ = false;
    EXPECT_EQ(unfit_within(ms(995)), Duration{});
    EXPECT_EQ(after(look), State::unfit);
    steered_ = true;
    EXPECT_EQ(after(look), State::held);
}

// ---- what others hear

class NodeWatchTest : public LivenessTest {
  protected:
    NodeWatchTest() { shm::format_state(region_.data(), shape_, {}); }

    static std::string text(const std::string& path) {
        std::ostringstream text;
        text << std::ifstream(path).rdbuf();
        return text.str();
    }
    std::string turn(Duration d) {
        now_ = now_ + d;
        for (const std::size_t worker : {0, 1}) beat(worker);
        return watch_.turn(now_, signs(), state());
    }
    shm::State state() { return shm::State(region_.data()); }
    shm::NodeHealth health() { return state().header().health.load(); }
    const shm::StateHeader& header() { return state().header(); }

    const shm::StateShape shape_ = shm::state_shape(2, 64);
    shm::Region region_ = shm::Region::anonymous(shm::StateLayout::of(shape_).total);
    test::TemporaryDirectory directory_;
    std::string path_ = directory_.path("ha.dataplane");
    NodeWatch watch_{config::Ha{.hold = hold}, directory_.path()};
};

// What keepalived's inotify sees of a file: it was written and closed so many times, and is still the same file.
class Written {
  public:
    explicit Written(const std::string& path) : fd_(inotify_init1(IN_NONBLOCK)) {
        inotify_add_watch(fd_, path.c_str(), IN_CLOSE_WRITE | IN_MOVE_SELF | IN_DELETE_SELF | IN_ATTRIB);
    }
    ~Written() { close(fd_); }
    Written(const Written&) = delete;
    Written& operator=(const Written&) = delete;

    int times() {
        int count = 0;
        inotify_event event{};
        while (read(fd_, &event, sizeof event) == sizeof event) {
            EXPECT_EQ(event.mask, static_cast<std::uint32_t>(IN_CLOSE_WRITE));
            ++count;
        }
        return count;
    }

  private:
    int fd_;
};

TEST_F(NodeWatchTest, TheFileSaysOneUntilTheHoldIsOverAndOneAfterTheEnd) {
    ASSERT_TRUE(watch_.begin());
    EXPECT_EQ(text(path_), "1\n");
    Written written(path_);
    EXPECT_EQ(turn(look), "nothing is wrong any more: this node can serve if it stays so");
    EXPECT_EQ(turn(hold - look), "");
    EXPECT_EQ(text(path_), "1\n");
    EXPECT_EQ(turn(look), "this node can serve");
    EXPECT_EQ(text(path_), "0\n");
    EXPECT_EQ(written.times(), 1) << "only when something changes";
    EXPECT_EQ(health().state, State::fit);
    EXPECT_EQ(header().health_since.load(), now_.nanoseconds);

    watch_.end(now_, state());
    EXPECT_EQ(text(path_), "1\n");
    EXPECT_EQ(written.times(), 1);
    EXPECT_EQ(health().fault, NodeFault::stopping);
}

TEST_F(NodeWatchTest, SaysWhatIsWrongAndCountsIt) {
    ASSERT_TRUE(watch_.begin());
    turn(look);
    turn(hold);
    port_[0].link_up.store(0);
    state().ports()[0].name = {'l', 'a', 'n', '0'};
    EXPECT_EQ(turn(look), "this node cannot serve: port lan0 has no link");
    EXPECT_EQ(text(path_), "1\n");
    turn(look);
    EXPECT_EQ(header().faults[static_cast<std::size_t>(NodeFault::link_down)].read(), 1U);
}

TEST_F(NodeWatchTest, AFileThatCannotBeWrittenRefusesTheStart) {
    std::filesystem::create_directory(path_);
    const Status begun = watch_.begin();
    ASSERT_FALSE(begun);
    EXPECT_EQ(begun.error().text(), path_ +
                                        ": cannot write this file: Is a directory; name another file in "
                                        "ha.track_files, or make it possible to write this one");
}

TEST_F(NodeWatchTest, AFileThatCannotBeWrittenAnyMoreIsSaidUntilItCan) {
    ASSERT_TRUE(watch_.begin());
    turn(look);
    turn(hold);
    std::filesystem::remove(path_);
    std::filesystem::create_directory(path_);
    EXPECT_EQ(turn(look), "") << "there was nothing to write";
    port_[0].link_up.store(0);
    EXPECT_EQ(turn(look), "keepalived does not hear that this node cannot serve: " + path_ +
                              ": cannot write this file: Is a directory");
    EXPECT_EQ(header().track_file_failed.load(), 1U);
    EXPECT_EQ(turn(look), "");
    std::filesystem::remove(path_);
    EXPECT_EQ(turn(look), path_ + " can be written again");
    EXPECT_EQ(text(path_), "1\n");
    EXPECT_EQ(header().track_file_failed.load(), 0U);
}

TEST_F(NodeWatchTest, AFileThatSomebodyChangedOrRemovedIsWrittenAgain) {
    ASSERT_TRUE(watch_.begin());
    port_[0].link_up.store(0);
    turn(look);
    std::ofstream(path_) << "0\n";
    turn(NodeWatch::file_interval);
    EXPECT_EQ(text(path_), "1\n");
    std::filesystem::remove(path_);
    turn(NodeWatch::file_interval);
    EXPECT_EQ(text(path_), "1\n");
}

TEST_F(NodeWatchTest, APlannedSuccessorLeavesTheFileAsItIs) {
    std::ofstream(path_) << "0\n";
    Written written(path_);
    watch_.take_over(now_, true);
    steered_ = false;
    turn(look);
    steered_ = true;
    turn(look);
    EXPECT_EQ(health().state, State::fit);
    EXPECT_EQ(text(path_), "0\n");
    EXPECT_LE(written.times(), 1);
}

TEST_F(NodeWatchTest, WithoutHaThereIsNoFile) {
    NodeWatch watch(std::nullopt, directory_.path());
    ASSERT_TRUE(watch.begin());
    watch.turn(now_ + look, signs(), state());
    EXPECT_EQ(header().health.load().state, State::held);
    EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(NodeWatchTest, TheConfigurationNamesTheFileAndTheHold) {
    const std::string other = directory_.path("other");
    NodeWatch watch(config::Ha{.track_files = {.dataplane = other}, .hold = ms(100)}, directory_.path());
    ASSERT_TRUE(watch.begin());
    EXPECT_EQ(text(other), "1\n");
    watch.turn(now_ + look, signs(), state());
    watch.turn(now_ + look + ms(100), signs(), state());
    EXPECT_EQ(text(other), "0\n");
}

}  // namespace
}  // namespace shunt::dataplane
