// Requests to a data plane: numbers, room in the ring, and what becomes of them when it goes.
#include "controlplane/publish/requests.h"

#include <gtest/gtest.h>

namespace shunt::controlplane {
namespace {

class RequestsTest : public testing::Test {
  protected:
    RequestsTest() {
        tables_.random_seed = {{5, 6, 7, 8}};
        state_.tables_identity = shm::identity_of(tables_);
    }
    void answer(std::uint64_t number, std::uint64_t flows) {
        state_.answers[number % shm::request_ring] = {number, shm::RequestOutcome::done, 0, flows};
        state_.answered.store(number);
    }
    shm::TablesHeader tables_{};
    shm::StateHeader state_{};
};

TEST_F(RequestsTest, ARequestIsAnsweredByItsNumber) {
    const auto first = ask_to_kill(tables_, &state_, {.family = 4});
    const auto second = ask_to_kill(tables_, &state_, {.family = 6});
    ASSERT_TRUE(first && second);
    EXPECT_EQ(*first, 1U);
    EXPECT_EQ(*second, 2U);
    EXPECT_EQ(tables_.requested.load(), 2U);
    EXPECT_EQ(tables_.requests[2].number, 2U);
    EXPECT_EQ(tables_.requests[2].filter.family, 6);
    EXPECT_FALSE(end_of(*first, &state_));
    answer(1, 7);
    ASSERT_TRUE(end_of(*first, &state_));
    EXPECT_TRUE(end_of(*first, &state_)->carried_out);
    EXPECT_EQ(end_of(*first, &state_)->flows, 7U);
    EXPECT_FALSE(end_of(*second, &state_));
}

TEST_F(RequestsTest, TheRingHoldsSoManyAtATime) {
    for (std::uint32_t i = 0; i < shm::request_ring; ++i) ASSERT_TRUE(ask_to_kill(tables_, &state_, {}));
    EXPECT_FALSE(ask_to_kill(tables_, &state_, {}));
    answer(1, 0);
    EXPECT_TRUE(ask_to_kill(tables_, &state_, {}));
}

TEST_F(RequestsTest, WithoutADataPlaneOfTheseTablesNobodyIsAsked) {
    EXPECT_FALSE(ask_to_kill(tables_, nullptr, {}));
    state_.tables_identity = 0;
    EXPECT_FALSE(ask_to_kill(tables_, &state_, {}));
    EXPECT_EQ(tables_.requested.load(), 0U);
}

TEST_F(RequestsTest, ADataPlaneThatEndsOrIsReplacedDidNotCarryItOut) {
    ASSERT_TRUE(ask_to_kill(tables_, &state_, {}));
    ASSERT_TRUE(end_of(1, nullptr));
    EXPECT_FALSE(end_of(1, nullptr)->carried_out);
    state_.answered.store(1);  // by a successor, which passes over what it finds
    ASSERT_TRUE(end_of(1, &state_));
    EXPECT_FALSE(end_of(1, &state_)->carried_out);
    state_.answers[1] = {1, shm::RequestOutcome::unknown, 0, 0};
    EXPECT_FALSE(end_of(1, &state_)->carried_out);
}

}  // namespace
}  // namespace shunt::controlplane
