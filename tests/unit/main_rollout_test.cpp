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
    std::optional<Generation> step() { return rollout_.step(workers_); }
    void pass(std::size_t worker, std::uint64_t generation) { workers_[worker].passed.store(generation); }

    std::array<shm::WorkerBlock, 2> workers_{};
    Rollout rollout_;
};

TEST_F(RolloutTest, AGenerationIsThroughWhenEveryWorkerHasPassedIt) {
    EXPECT_FALSE(step());
    rollout_.accepted(Generation(5));
    EXPECT_FALSE(step());
    pass(0, 5);
    EXPECT_FALSE(step());
    EXPECT_TRUE(rollout_.waiting());
    pass(1, 5);
    EXPECT_EQ(step(), Generation(5));
    EXPECT_FALSE(rollout_.waiting());
    EXPECT_FALSE(step()) << "said once";
}

TEST_F(RolloutTest, NobodyWaitsForASleeper) {
    rollout_.accepted(Generation(5));
    pass(0, 5);
    workers_[1].online.store(0);
    EXPECT_EQ(step(), Generation(5));
}

TEST_F(RolloutTest, ANewerGenerationTakesThePlaceOfOneThatWaits) {
    rollout_.accepted(Generation(5));
    pass(0, 5);
    EXPECT_FALSE(step());
    rollout_.accepted(Generation(6));
    pass(1, 6);
    EXPECT_FALSE(step());
    pass(0, 6);
    EXPECT_EQ(step(), Generation(6));
}

}  // namespace
}  // namespace shunt::dataplane
