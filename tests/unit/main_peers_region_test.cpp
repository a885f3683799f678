#include "dataplane/main/peers_region.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "tests/support/temporary_directory.h"

namespace shunt::dataplane {
namespace {

class PeersRegionTest : public testing::Test {
  protected:
    // As the control plane does: complete before it has its name.
    void publish(std::uint64_t identity, std::uint64_t buckets = 8) {
        const std::string fresh = path() + ".new";
        auto region = shm::Region::create(fresh, shm::peers_bytes(buckets), shm::peers_bytes(buckets));
        ASSERT_TRUE(region);
        shm::format_peers(region->data(), buckets, {{1, 2, 3, 4}}, identity);
        const FlowKey key{IpAddress::v4(203, 0, 113, 7), Be16(4000), ListenerIndex(3), Be16{}};
        const FlowEntry entry{ListenerIndex(3),       Be16{},     shm::Handle::of(5, 1),
                              FlowState::established, Tick{1000}, false};
        for (auto& bucket : shm::Peers(region->data()).flows()) shm::fill_flow(bucket, 0, key, entry);
        region->at<shm::PeersHeader>(0).entries.set(1);
        ASSERT_EQ(std::rename(fresh.c_str(), path().c_str()), 0);
    }
    std::string path() const { return directory_.path() + "/peers"; }
    static std::optional<FlowEntry> find(const PeersRegion& region) {
        return region.flows()->find(IpAddress::v4(203, 0, 113, 7), Be16(4000), [](const FlowEntry&) { return true; });
    }
    static Instant at(std::int64_t seconds) { return Instant{} + Duration::seconds(seconds); }

    test::TemporaryDirectory directory_{};
    PeersRegion region_{path()};
};

TEST_F(PeersRegionTest, IsMappedWhenItIsThereAndOfTheTablesInForce) {
    region_.look(7, {});
    EXPECT_EQ(region_.flows(), nullptr);
    publish(8);
    region_.look(7, {});
    EXPECT_EQ(region_.flows(), nullptr);
    region_.look(8, {});
    ASSERT_NE(region_.flows(), nullptr);
    EXPECT_EQ(find(region_)->handle, shm::Handle::of(5, 1));
    region_.look(9, {});
    EXPECT_EQ(region_.flows(), nullptr);
}

// Its ticks are those of the clock; a node's leave out the time when it had no data plane.
TEST_F(PeersRegionTest, SpeaksInTheTicksOfTheNode) {
    publish(7);
    region_.look(7, Duration::seconds(100));
    EXPECT_EQ(find(region_)->seen, Tick{600});
}

TEST_F(PeersRegionTest, WhatIsReplacedStaysUntilNobodyLooksIntoIt) {
    publish(7);
    region_.look(7, {});
    const PeerFlows* const old = region_.flows();
    publish(7, 16);
    region_.look(7, {});
    EXPECT_NE(region_.flows(), old);
    EXPECT_EQ(region_.replaced(), 1U);
    region_.release(at(10), at(10));  // workers were told at 10 s
    region_.release(at(10), at(11));  // a worker's last poll began then
    EXPECT_EQ(region_.replaced(), 1U);
    EXPECT_TRUE(old->find(IpAddress::v4(203, 0, 113, 7), Be16(4000), [](const FlowEntry&) { return true; }));
    region_.release(at(11), at(12));
    EXPECT_EQ(region_.replaced(), 0U);
    EXPECT_TRUE(find(region_));
}

TEST_F(PeersRegionTest, AFileThatIsNoneIsNotUsed) {
    publish(7, 1000);
    std::filesystem::resize_file(path(), shm::peers_bytes(10));
    region_.look(7, {});
    EXPECT_EQ(region_.flows(), nullptr);
    std::filesystem::resize_file(path(), 100);
    region_.look(7, {});
    EXPECT_EQ(region_.flows(), nullptr);
}

}  // namespace
}  // namespace shunt::dataplane
