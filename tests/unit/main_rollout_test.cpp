#include "dataplane/main/rollout.h"

#include <gtest/gtest.h>

#include <array>

namespace shunt::dataplane {
namespace {

class RolloutTest : public testing::Test {
  protected:
    RolloutTest() {
        for (auto& worker : workers_) worker.online.store(1);
    }
    std::optional<Generation> step(Duration d) {
        now_ = now_ + d;
        return rollout_.step(now_, workers_);
    }
    void pass(std::size_t worker, std::uint64_t generation) { workers_[worker].passed.store(generation); }

    std::array<shm::WorkerBlock, 2> workers_{};
    Instant now_{Duration::seconds(1000).nanoseconds};
    Rollout rollout_;
    const Duration tick_ = Duration::milliseconds(1);
};

TEST_F(RolloutTest, AGenerationIsThroughWhenEveryWorkerHasPassedIt) {
    EXPECT_FALSE(step(tick_));
    rollout_.accepted(Generation(5));
    EXPECT_FALSE(step(tick_));
    pass(0, 5);
    EXPECT_FALSE(step(tick_));
    EXPECT_TRUE(rollout_.waiting());
    pass(1, 5);
    EXPECT_EQ(step(tick_), Generation(5));
    EXPECT_FALSE(rollout_.waiting());
    EXPECT_FALSE(step(tick_)) << "said once";
}

TEST_F(RolloutTest, NobodyWaitsForASleeper) {
    rollout_.accepted(Generation(5));
    pass(0, 5);
    workers_[1].online.store(0);
    EXPECT_EQ(step(tick_), Generation(5));
}

TEST_F(RolloutTest, ANewerGenerationTakesThePlaceOfOneThatWaits) {
    rollout_.accepted(Generation(5));
    pass(0, 5);
    EXPECT_FALSE(step(tick_));
    rollout_.accepted(Generation(6));
    pass(1, 6);
    EXPECT_FALSE(step(tick_));
    pass(0, 6);
    EXPECT_EQ(step(tick_), Generation(6));
}

TEST_F(RolloutTest, AWorkerThatKeepsAGenerationWaitingIsStalledAfterTwoSeconds) {
    step(tick_);
    rollout_.accepted(Generation(5));
    pass(0, 5);
    for (int i = 0; i < 2000; ++i) step(tick_);
    EXPECT_FALSE(rollout_.stalled());
    step(tick_);
    EXPECT_EQ(rollout_.stalled(), WorkerIndex(1));
    rollout_.accepted(Generation(6));
    EXPECT_FALSE(rollout_.stalled());
}

TEST_F(RolloutTest, NothingIsProvedByATimeInWhichThisThreadDidNotRunEither) {
    rollout_.accepted(Generation(5));
    step(tick_);
    for (int i = 0; i < 19; ++i) step(Duration::seconds(60));
    EXPECT_FALSE(rollout_.stalled());
}

TEST_F(RolloutTest, StandingStillWithoutAGenerationWaitingIsNoStall) {
    for (int i = 0; i < 100; ++i) step(Duration::milliseconds(100));
    EXPECT_FALSE(rollout_.stalled());
}

}  // namespace
}  // namespace shunt::dataplane
