// The tables file over restarts: found again, locked, refused, replaced.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "src/shm/generation.h"
#include "src/shm/state.h"
#include "tests/support/fleet.h"
#include "tests/support/tables_oracle.h"
#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

using test::Fleet;
using test::Oracle;

class TablesFileTest : public ::testing::Test {
  protected:
    Result<Publisher> open() {
        return Publisher::open(directory_.path(), directory_.path("state"),
                               {.reserve_bytes = std::uint64_t{64} << 20, .random_seed = seed_});
    }
    void publish_first() {
        auto publisher = open();
        publish(*publisher, fleet_);
    }
    static Generation publish(Publisher& publisher, const Fleet& fleet) {
        Compiler compiler(publisher.tables());
        EXPECT_TRUE(compiler.compile(fleet.inputs()));
        const auto generation = publisher.publish(compiler.image());
        EXPECT_TRUE(generation) << generation.error().text();
        return *generation;
    }
    std::string file() const { return directory_.path("tables"); }
    std::string content() const {
        std::ifstream in(file(), std::ios::binary);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    void write(const std::string& bytes) const { std::ofstream(file(), std::ios::binary) << bytes; }
    // A data plane that had accepted this generation, and is gone.
    void leave_state(std::uint64_t accepted, std::uint64_t identity = 0) {
        const shm::StateShape shape{1, 64, 64, 0, 16};
        auto region = shm::Region::create(directory_.path("state"), shm::StateLayout::of(shape).total,
                                          shm::StateLayout::of(shape).total);
        ASSERT_TRUE(region) << region.error().text();
        shm::format_state(region->data(), shape, {});
        region->at<shm::StateHeader>(0).accepted.store(accepted);
        region->at<shm::StateHeader>(0).tables_identity = identity;
    }

    test::TemporaryDirectory directory_{};
    HashSeed seed_{{5, 6, 7, 8}};
    Fleet fleet_{21, 6};
};

TEST_F(TablesFileTest, IsFoundAgainWithEverythingInIt) {
    {
        auto publisher = open();
        ASSERT_TRUE(publisher) << publisher.error().text();
        EXPECT_FALSE(publisher->tables().generation());
        for (int i = 0; i < 20; ++i) {
            publish(*publisher, fleet_);
            fleet_.edit();
            fleet_.seed.words[0] += 1;
        }
    }
    seed_ = {};
    auto again = open();
    ASSERT_TRUE(again) << again.error().text();
    EXPECT_EQ(again->replaced(), "");
    EXPECT_EQ(again->random_seed().words[0], 5U);
    EXPECT_EQ(again->tables().generation().value, 20U);
    for (int i = 0; i < 20; ++i) {
        const Generation generation = publish(*again, fleet_);
        EXPECT_EQ(publish(*again, fleet_), generation);
        fleet_.edit();
    }
}

TEST_F(TablesFileTest, ASecondControlPlaneIsRefusedAndTheFirstGoesOn) {
    auto first = open();
    publish(*first, fleet_);
    const auto second = open();
    ASSERT_FALSE(second);
    EXPECT_NE(second.error().message.find("another control plane"), std::string::npos) << second.error().text();
    fleet_.edit();
    EXPECT_TRUE(publish(*first, fleet_));
    // Also while the first one's file is damaged: it is not the second's to replace.
    std::string bytes = content();
    bytes[0] ^= 1;
    write(bytes);
    EXPECT_FALSE(open());
}

TEST_F(TablesFileTest, OfANewerLayoutIsLeftAlone) {
    publish_first();
    std::string bytes = content();
    const std::uint32_t newer = shm::layout_version + 1;
    std::memcpy(&bytes[offsetof(shm::TablesHeader, version)], &newer, sizeof newer);
    write(bytes);
    const auto refused = open();
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("layout " + std::to_string(newer)), std::string::npos);
    EXPECT_NE(refused.error().remedy, "");
    EXPECT_EQ(content(), bytes);
}

TEST_F(TablesFileTest, OfTheLayoutBeforeIsUsedAndBecomesThisOne) {
    publish_first();
    std::string bytes = content();
    const auto version = [&]() -> std::uint32_t& {
        return *reinterpret_cast<std::uint32_t*>(&bytes[offsetof(shm::TablesHeader, version)]);
    };
    version() = shm::oldest_layout_read;
    write(bytes);
    {
        auto publisher = open();
        ASSERT_TRUE(publisher) << publisher.error().text();
        EXPECT_EQ(publisher->replaced(), "");
        EXPECT_EQ(publisher->tables().generation().value, 1U);
    }
    bytes = content();
    EXPECT_EQ(version(), shm::layout_version);
    version() = shm::oldest_layout_read - 1;
    write(bytes);
    EXPECT_NE(open()->replaced(), "") << "older ones are given up";
}

TEST_F(TablesFileTest, DamagedIsReplacedAndGenerationsGoOnAboveTheAccepted) {
    publish_first();
    const std::string sound = content();
    leave_state(40);
    const auto flipped = [&](std::size_t at) {
        std::string bytes = sound;
        bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
        return bytes;
    };
    const auto& header = *reinterpret_cast<const shm::TablesHeader*>(sound.data());
    const std::size_t root = header.roots[1].offset.load();
    seed_ = {{9, 9, 9, 9}};
    for (const std::string& bytes : {std::string(), std::string("short"), std::string(8192, 'x'), flipped(0),
                                     flipped(root + sizeof(shm::BlockHeader)), sound.substr(0, sound.size() / 2)}) {
        write(bytes);
        auto publisher = open();
        ASSERT_TRUE(publisher) << publisher.error().text();
        EXPECT_NE(publisher->replaced().find("was replaced"), std::string::npos) << bytes.size();
        EXPECT_FALSE(publisher->tables().generation());
        EXPECT_EQ(publisher->random_seed().words[0], 9U);
        EXPECT_EQ(publish(*publisher, fleet_).value, 41U);
        Oracle().check(fleet_, publisher->tables());
    }
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
        EXPECT_TRUE(entry.path().filename() == "tables" || entry.path().filename() == "state") << entry.path();
    }
}

TEST_F(TablesFileTest, ThatForgotWhatTheDataPlaneUsesIsReplaced) {
    publish_first();
    std::string bytes = content();
    const auto& header = *reinterpret_cast<const shm::TablesHeader*>(bytes.data());
    leave_state(1, shm::identity_of(header));
    bytes[offsetof(shm::TablesHeader, published)] = 0;
    write(bytes);
    auto publisher = open();
    ASSERT_TRUE(publisher) << publisher.error().text();
    EXPECT_NE(publisher->replaced().find("does not know"), std::string::npos);
    EXPECT_EQ(publish(*publisher, fleet_).value, 2U);
}

// Whatever bit of the header is wrong: it is used, refused or replaced, and whoever uses it sees sound tables.
TEST_F(TablesFileTest, NoBitOfItsHeaderHurts) {
    for (config::Service& service : fleet_.state.services) service.check.reset();
    publish_first();
    const std::string sound = content();
    std::size_t used = 0, refused = 0, replaced = 0;
    for (std::size_t bit = 0; bit < sizeof(shm::TablesHeader) * 8; bit += 1 + fleet_.below(bit < 1024 ? 4 : 32)) {
        std::string bytes = sound;
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
        write(bytes);
        auto publisher = open();
        refused += !publisher;
        if (!publisher) continue;
        replaced += !publisher->replaced().empty();
        used += publisher->replaced().empty();
        const Generation before = publisher->tables().generation();
        if (before) Oracle().check(fleet_, publisher->tables());
        fleet_.seed.words[0] += 1;
        EXPECT_GT(publish(*publisher, fleet_), before);
        Oracle().check(fleet_, publisher->tables());
        fleet_.seed.words[0] -= 1;
        ASSERT_FALSE(HasFailure()) << "bit " << bit;
    }
    EXPECT_GT(used, 0U);
    EXPECT_GT(refused, 0U);
    EXPECT_GT(replaced, 0U);
}

TEST_F(TablesFileTest, WithoutItsDirectoryIsRefusedWithARemedy) {
    const auto refused = Publisher::open(directory_.path("absent"), directory_.path("state"));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().remedy, "");
}

}  // namespace
}  // namespace shunt::controlplane
