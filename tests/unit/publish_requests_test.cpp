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
    static Asked kill(const shm::FlowFilter& filter = {}) { return {shm::RequestKind::kill_flows, filter}; }

    shm::TablesHeader tables_{};
    shm::StateHeader state_{};
};

TEST_F(RequestsTest, ARequestIsAnsweredByItsNumber) {
    const auto first = ask(tables_, &state_, kill({.family = 4}));
    const auto second = ask(tables_, &state_, kill({.family = 6}));
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
    for (std::uint32_t i = 0; i < shm::request_ring; ++i) ASSERT_TRUE(ask(tables_, &state_, kill()));
    EXPECT_FALSE(ask(tables_, &state_, kill()));
    answer(1, 0);
    EXPECT_TRUE(ask(tables_, &state_, kill()));
}

TEST_F(RequestsTest, WithoutADataPlaneOfTheseTablesNobodyIsAsked) {
    EXPECT_FALSE(ask(tables_, nullptr, kill()));
    state_.tables_identity = 0;
    EXPECT_FALSE(ask(tables_, &state_, kill()));
    EXPECT_EQ(tables_.requested.load(), 0U);
}

TEST_F(RequestsTest, ADataPlaneThatEndsOrIsReplacedDidNotCarryItOut) {
    ASSERT_TRUE(ask(tables_, &state_, kill()));
    ASSERT_TRUE(end_of(1, nullptr));
    EXPECT_FALSE(end_of(1, nullptr)->carried_out);
    state_.answered.store(1);  // by a successor, which passes over what it finds
    ASSERT_TRUE(end_of(1, &state_));
    EXPECT_FALSE(end_of(1, &state_)->carried_out);
    state_.answers[1] = {1, shm::RequestOutcome::unknown, 0, 0};
    EXPECT_FALSE(end_of(1, &state_)->carried_out);
    EXPECT_FALSE(end_of(1, &state_)->refused);
}

TEST_F(RequestsTest, WhatItRefusesIsToldApart) {
    ASSERT_TRUE(ask(tables_, &state_, {.kind = shm::RequestKind::wedge_worker, .milliseconds = 500}));
    EXPECT_EQ(tables_.requests[1].kind, shm::RequestKind::wedge_worker);
    EXPECT_EQ(tables_.requests[1].milliseconds, 500U);
    state_.answers[1] = {1, shm::RequestOutcome::refused, 0, 0};
    state_.answered.store(1);
    ASSERT_TRUE(end_of(1, &state_));
    EXPECT_TRUE(end_of(1, &state_)->refused);
    EXPECT_FALSE(end_of(1, &state_)->carried_out);
}

}  // namespace
}  // namespace shunt::controlplane
