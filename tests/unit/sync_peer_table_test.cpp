// The region `peers` as a file: kept over a restart, made anew when it cannot be used.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "controlplane/sync/peer_table.h"
#include "src/base/random.h"
#include "tests/support/instance.h"
#include "tests/support/temporary_directory.h"

namespace shunt::test {
namespace {

namespace sync = controlplane::sync;

class PeerTableTest : public testing::Test {
  protected:
    sync::PeersNeeds needs() const {
        return {.buckets = 64, .seed = seed, .tables_identity = 7, .now = instance.clock.now()};
    }
    sync::PeerTable open(const sync::PeersNeeds& wanted) {
        auto table = sync::PeerTable::open(path(), wanted);
        EXPECT_TRUE(table) << table.error().text();
        return *std::move(table);
    }
    std::string path() const { return directory.path() + "/peers"; }
    void put(sync::PeerTable& table, std::uint32_t n, shm::FlowState state = shm::FlowState::established,
             std::uint32_t idle = 0) {
        sync::Resolver resolver;
        resolver.follow(instance.tables());
        const auto flow = resolver.resolve(record(n));
        ASSERT_TRUE(flow);
        table.put(*flow, state, idle, instance.tables(), Tick::at(instance.clock.now()));
    }
    static sync::FlowRecord record(std::uint32_t n) {
        return {.client = IpAddress::v4(203, 0, 113, static_cast<std::uint8_t>(n % 250)),
                .vip = IpAddress::v4(198, 18, 0, 10),
                .backend = IpAddress::v4(198, 18, 2, 11),
                .client_port = Be16(static_cast<std::uint16_t>(1000 + n)),
                .vip_port = Be16(443),
                .backend_port = Be16(8080),
                .protocol = Protocol::tcp,
                .state = shm::FlowState::established};
    }
    std::vector<sync::FlowRecord> all(const sync::PeerTable& table) {
        std::vector<sync::FlowRecord> records;
        for (std::uint64_t b = 0; b < table.size(); ++b) {
            table.visit(b, instance.tables(), Tick::at(instance.clock.now()),
                        [&](const sync::FlowRecord& record) { records.push_back(record); });
        }
        return records;
    }

    static constexpr HashSeed seed{{0x8f1bbcdc5a827999, 0x6ed9eba1ca62c1d6, 0x243f6a8885a308d3, 0x13198a2e03707344}};
    TemporaryDirectory directory;
    Instance instance{{make_service("web", {"198.18.0.10:443/tcp"}, {"198.18.2.11:8080", "198.18.2.12:8080"})}};
};

TEST_F(PeerTableTest, IsKeptOverARestart) {
    {
        auto table = open(needs());
        EXPECT_FALSE(table.kept());
        for (std::uint32_t n = 0; n < 20; ++n) put(table, n);
        table.breathe(instance.clock.now());
    }
    const auto table = open(needs());
    EXPECT_TRUE(table.kept());
    EXPECT_EQ(table.entries(), 20U);
    EXPECT_EQ(all(table).size(), 20U);
}

TEST_F(PeerTableTest, IsMadeAnewForOtherIdsAnotherSizeAnotherBootAndAfterDamage) {
    const auto remade_for = [&](auto spoil) {
        {
            auto table = open(needs());
            put(table, 1);
            table.breathe(instance.clock.now());
        }
        sync::PeersNeeds other = needs();
        spoil(other);
        const auto table = open(other);
        const bool remade = !table.kept() && table.entries() == 0;
        std::filesystem::remove(path());
        return remade;
    };
    EXPECT_TRUE(remade_for([](sync::PeersNeeds& n) { n.tables_identity = 8; }));
    EXPECT_TRUE(remade_for([](sync::PeersNeeds& n) { n.buckets = 65; }));
    EXPECT_TRUE(remade_for([](sync::PeersNeeds& n) { n.now = n.now - Duration::seconds(1); }));
    EXPECT_TRUE(remade_for([&](sync::PeersNeeds&) { std::filesystem::resize_file(path(), 5000); }));
    EXPECT_TRUE(remade_for([&](sync::PeersNeeds&) {
        std::fstream(path(), std::ios::in | std::ios::out | std::ios::binary).write("nonsense", 8);
    }));
    EXPECT_FALSE(remade_for([](sync::PeersNeeds&) {}));
}

TEST_F(PeerTableTest, WhatWasSeenLastHolds) {
    auto table = open(needs());
    instance.clock.advance(Duration::seconds(60));
    put(table, 1, shm::FlowState::closing, 4);
    put(table, 1, shm::FlowState::established, 40);  // came late
    ASSERT_EQ(all(table).size(), 1U);
    EXPECT_EQ(all(table)[0].state, shm::FlowState::closing);
    put(table, 1, shm::FlowState::established, 0);
    EXPECT_EQ(all(table)[0].state, shm::FlowState::established);
    EXPECT_EQ(table.entries(), 1U);
    put(table, 2, shm::FlowState::embryonic, 41);  // over already: 10 s
    EXPECT_EQ(table.entries(), 1U);
}

TEST_F(PeerTableTest, TheLongestSilentGivesWay) {
    auto table = open({.buckets = 1, .seed = seed, .tables_identity = 7, .now = instance.clock.now()});
    instance.clock.advance(Duration::seconds(600));
    for (const std::uint32_t n : {1, 2, 3, 4}) put(table, n, shm::FlowState::established, n == 3 ? 100 : 50);
    put(table, 5);
    EXPECT_EQ(table.entries(), 4U);
    EXPECT_EQ(table.evicted(), 1U);
    for (const auto& record : all(table)) EXPECT_NE(record.client_port, Be16(1003));
}

TEST_F(PeerTableTest, ADamagedTableHarmsNobody) {
    auto table = open(needs());
    for (std::uint32_t n = 0; n < 100; ++n) put(table, n);
    Random random(5);
    std::vector<std::byte> noise(64 * 64);
    for (std::byte& byte : noise) byte = static_cast<std::byte>(random.below(256));
    {
        std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(shm::first_peer_bucket);
        file.write(reinterpret_cast<const char*>(noise.data()), static_cast<std::streamsize>(noise.size()));
    }
    for (std::uint32_t n = 0; n < 500; ++n) put(table, n);
    for (int i = 0; i < 3; ++i) table.sweep(table.size(), instance.tables(), Tick::at(instance.clock.now()));
    EXPECT_LE(all(table).size(), 4 * table.size());
    EXPECT_GT(all(table).size(), 64U);
}

}  // namespace
}  // namespace shunt::test
