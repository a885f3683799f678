#include "dataplane/tables/fragments.h"

#include <gtest/gtest.h>

#include <vector>

namespace shunt::dataplane {
namespace {

constexpr HashSeed seed{{1, 2, 3, 4}};

DatagramKey key(std::uint32_t id) { return {IpAddress::v4(203, 0, 113, 7), IpAddress::v4(198, 18, 0, 10), id, 17}; }

class FragmentsTest : public testing::Test {
  protected:
    bool wait(std::uint32_t id) {
        Parcel parcel;
        parcel.buffer = &buffers_[next_];
        parcel.length = next_;
        const bool waits = fragments_.wait(key(id), parcel, now_);
        if (waits) ++next_;
        return waits;
    }
    void decide(std::uint32_t id, std::uint32_t handle = 1) {
        DatagramFate fate;
        fate.handle = shm::Handle::of(handle, 0);
        fragments_.decide(key(id), fate, now_);
    }
    std::uint32_t handle_of(std::uint32_t id) {
        const DatagramFate* fate = fragments_.find(key(id), now_);
        return fate == nullptr ? 0 : fate->handle.index();
    }
    // The numbers of those that can be taken now.
    std::vector<std::uint32_t> take_all() {
        std::vector<std::uint32_t> taken;
        while (const auto parcel = fragments_.take(now_)) taken.push_back(parcel->length);
        return taken;
    }

    Fragments fragments_{seed, 1};
    Instant now_{1'000'000'000'000};
    std::vector<int> buffers_ = std::vector<int>(10'000);
    std::uint32_t next_{};
};

TEST_F(FragmentsTest, WhatIsDecidedHoldsForTheWholeDatagramAndNoOther) {
    decide(1, 7);
    EXPECT_EQ(handle_of(1), 7U);
    EXPECT_EQ(handle_of(2), 0U);
    DatagramKey other = key(1);
    other.protocol = 6;
    EXPECT_EQ(fragments_.find(other, now_), nullptr);
    decide(1, 8);  // the identification is used again
    EXPECT_EQ(handle_of(1), 8U);
}

TEST_F(FragmentsTest, ThoseThatWaitComeBackInOrderOnceTheirFirstIsDecided) {
    for (const std::uint32_t id : {1U, 2U, 1U, 1U, 2U}) EXPECT_TRUE(wait(id));
    EXPECT_EQ(fragments_.waiting(), 5U);
    EXPECT_TRUE(take_all().empty());
    decide(1);
    EXPECT_EQ(take_all(), (std::vector<std::uint32_t>{0, 2, 3}));
    decide(2);
    EXPECT_EQ(take_all(), (std::vector<std::uint32_t>{1, 4}));
    EXPECT_EQ(fragments_.waiting(), 0U);
}

TEST_F(FragmentsTest, NobodyWaitsLongerThanASecond) {
    EXPECT_TRUE(wait(1));
    now_ = now_ + Duration::milliseconds(600);
    EXPECT_TRUE(wait(2));
    EXPECT_TRUE(wait(1));
    now_ = now_ + Duration::milliseconds(399);
    EXPECT_TRUE(take_all().empty());
    now_ = now_ + Duration::milliseconds(1);
    EXPECT_EQ(take_all(), (std::vector<std::uint32_t>{0, 2})) << "the wait began with the first that came";
    now_ = now_ + Duration::milliseconds(600);
    EXPECT_EQ(take_all(), (std::vector<std::uint32_t>{1}));
    EXPECT_EQ(handle_of(1), 0U);
}

TEST_F(FragmentsTest, WhatWasDecidedIsForgottenAfterTwoSeconds) {
    decide(1, 7);
    now_ = now_ + Duration::milliseconds(1999);
    EXPECT_EQ(handle_of(1), 7U);
    now_ = now_ + Duration::milliseconds(1);
    EXPECT_EQ(handle_of(1), 0U);
}

TEST_F(FragmentsTest, ANewFirstFragmentUnderAnOldIdentificationIsAwaitedFirst) {
    decide(1, 7);
    fragments_.expect(key(1), now_);
    EXPECT_EQ(handle_of(1), 0U);
    EXPECT_TRUE(wait(1));
    fragments_.expect(key(1), now_);  // once more, now that one waits
    decide(1, 8);
    EXPECT_EQ(take_all(), (std::vector<std::uint32_t>{0}));
    EXPECT_EQ(handle_of(1), 8U);
    fragments_.expect(key(1), now_);
    now_ = now_ + Fragments::longest_wait;  // it was never decided, and nobody waited
    EXPECT_TRUE(take_all().empty());
    decide(2, 9);
    EXPECT_EQ(handle_of(2), 9U);
}

TEST_F(FragmentsTest, WorkersShareTheRoom) {
    EXPECT_EQ(Fragments::part(1), Fragments::waiting_room);
    EXPECT_EQ(Fragments::part(4), Fragments::waiting_room / 4);
    EXPECT_EQ(Fragments::part(64), 64U);
    Fragments small(seed, 4);
    std::uint32_t taken_in = 0;
    for (std::uint32_t id = 0; id < 2000; ++id) taken_in += small.wait(key(id / 4), {}, now_);
    EXPECT_EQ(taken_in, Fragments::part(4));
}

TEST_F(FragmentsTest, TheRoomIsBoundedAndUsedAgain) {
    for (int round = 0; round < 3; ++round) {
        std::uint32_t taken_in = 0;
        for (std::uint32_t id = 0; id < 2 * Fragments::waiting_room; ++id) taken_in += wait(id / 4);
        EXPECT_EQ(taken_in, Fragments::waiting_room);
        EXPECT_EQ(fragments_.waiting(), Fragments::waiting_room);
        now_ = now_ + Fragments::longest_wait;
        EXPECT_EQ(take_all().size(), Fragments::waiting_room);
    }
}

// A flood of later fragments takes places, but what is decided meanwhile is remembered again once their wait is over,
// and a flood of first fragments pushes out only what was decided longest ago.
TEST_F(FragmentsTest, AFloodOfFirstFragmentsLeavesTheNewest) {
    for (std::uint32_t id = 0; id < 100'000; ++id) decide(id, 5);
    EXPECT_EQ(handle_of(99'999), 5U);
    EXPECT_TRUE(wait(200'000) || fragments_.waiting() == 0);
}

TEST_F(FragmentsTest, DatagramsThatWaitAreNotPushedOut) {
    for (std::uint32_t id = 0; id < 100; ++id) ASSERT_TRUE(wait(id));
    for (std::uint32_t id = 1000; id < 50'000; ++id) decide(id);
    for (std::uint32_t id = 0; id < 100; ++id) decide(id);
    EXPECT_EQ(take_all().size(), 100U);
}

}  // namespace
}  // namespace shunt::dataplane
