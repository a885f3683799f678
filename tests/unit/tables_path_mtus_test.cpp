#include "dataplane/tables/path_mtus.h"

#include <gtest/gtest.h>

#include <vector>

namespace shunt::dataplane {
namespace {

class PathMtusTest : public testing::Test {
  protected:
    static IpAddress address(int n) {
        return IpAddress::v4(198, 18, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n));
    }

    std::vector<shm::PathMtuSlot> slots_{64};
    shm::Counter lowered_;
    PathMtus mtus_{slots_, lowered_};
    Tick now_{100};
};

TEST_F(PathMtusTest, KeepsTheLeastThatWasSaid) {
    EXPECT_EQ(mtus_.find(address(1), now_), std::nullopt);
    mtus_.lower(address(1), 1400, now_);
    EXPECT_EQ(mtus_.find(address(1), now_), 1400);
    mtus_.lower(address(1), 1450, now_);
    EXPECT_EQ(mtus_.find(address(1), now_), 1400);
    mtus_.lower(address(1), 1300, now_);
    EXPECT_EQ(mtus_.find(address(1), now_), 1300);
    EXPECT_EQ(mtus_.find(address(2), now_), std::nullopt);
}

TEST_F(PathMtusTest, ForgetsAfterTenMinutes) {
    mtus_.lower(address(1), 1400, now_);
    EXPECT_EQ(mtus_.find(address(1), Tick{now_.value + 2399}), 1400);
    EXPECT_EQ(mtus_.find(address(1), Tick{now_.value + 2400}), std::nullopt);
    mtus_.lower(address(1), 1450, Tick{now_.value + 2400});
    EXPECT_EQ(mtus_.find(address(1), Tick{now_.value + 2400}), 1450) << "what is forgotten binds no longer";
}

TEST_F(PathMtusTest, BelievesNothingBelowWhatEveryPathTakes) {
    mtus_.lower(address(1), 0, now_);
    EXPECT_EQ(mtus_.find(address(1), now_), 552);
    const IpAddress six = *IpAddress::parse("2001:db8::1");
    mtus_.lower(six, 100, now_);
    EXPECT_EQ(mtus_.find(six, now_), 1280);
}

TEST_F(PathMtusTest, WhenItIsFullNothingElseIsHarmed) {
    for (int n = 0; n < 1000; ++n) mtus_.lower(address(n), static_cast<std::uint16_t>(1000 + n % 400), now_);
    int known = 0;
    for (int n = 0; n < 1000; ++n) {
        const auto mtu = mtus_.find(address(n), now_);
        if (!mtu) continue;
        ++known;
        EXPECT_EQ(*mtu, 1000 + n % 400);
    }
    EXPECT_GT(known, 32);
    EXPECT_LE(known, 64);
}

}  // namespace
}  // namespace shunt::dataplane
