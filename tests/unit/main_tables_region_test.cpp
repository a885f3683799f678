#include "dataplane/main/tables_region.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "dataplane/main/instance_lock.h"
#include "dataplane/main/notify.h"

namespace shunt::dataplane {
namespace {

namespace fs = std::filesystem;

class RunDirectory : public testing::Test {
  protected:
    RunDirectory() {
        std::string name = (fs::temp_directory_path() / "shunt-run-XXXXXX").string();
        directory_ = ::mkdtemp(name.data());
    }
    ~RunDirectory() override { fs::remove_all(directory_); }
    std::string path(const std::string& name) const { return directory_ + "/" + name; }

    std::string directory_;
};

class TablesRegionTest : public RunDirectory {
  protected:
    static constexpr std::uint64_t bytes = 8192, reserved = 1 << 20;

    shm::Region create(const std::string& name) {
        auto region = shm::Region::create(path(name), bytes, reserved);
        auto& header = region->at<shm::TablesHeader>(0);
        header.magic = shm::tables_magic;
        header.reserved_bytes = reserved;
        header.file_bytes.store(bytes);
        return *std::move(region);
    }
    static void finish(shm::Region& region, std::uint32_t version = shm::layout_version) {
        region.at<shm::TablesHeader>(0).version.store(version);
    }
    bool map() {
        const auto mapped = tables_.map();
        EXPECT_TRUE(mapped) << (mapped ? "" : mapped.error().text());
        return mapped && *mapped;
    }

    TablesRegion tables_{path("tables")};
};

TEST_F(TablesRegionTest, IsMappedOnceItsWriterHasFinishedIt) {
    EXPECT_FALSE(map());
    shm::Region writer = create("tables");
    EXPECT_FALSE(map()) << "no version yet";
    finish(writer);
    EXPECT_TRUE(map());
    EXPECT_TRUE(tables_.mapped());
    EXPECT_EQ(tables_.readable(), bytes);
}

TEST_F(TablesRegionTest, GrowsWithTheFileAndNeverReadsBeyondIt) {
    shm::Region writer = create("tables");
    finish(writer);
    ASSERT_TRUE(map());
    ASSERT_TRUE(writer.grow(65536));
    EXPECT_EQ(tables_.readable(), bytes) << "not announced yet";
    writer.at<shm::TablesHeader>(0).file_bytes.store(65536);
    EXPECT_EQ(tables_.readable(), 65536U);
    writer.at<std::uint64_t>(60000) = 42;
    EXPECT_EQ(*reinterpret_cast<const std::uint64_t*>(tables_.data() + 60000), 42U);
    fs::resize_file(path("tables"), bytes);
    EXPECT_EQ(tables_.readable(), bytes) << "cut short by somebody";
}

TEST_F(TablesRegionTest, AFileInItsPlaceIsNoticed) {
    shm::Region writer = create("tables");
    finish(writer);
    ASSERT_TRUE(map());
    EXPECT_FALSE(tables_.replaced());
    shm::Region second = create("tables.new");
    finish(second);
    fs::rename(path("tables.new"), path("tables"));
    EXPECT_TRUE(tables_.replaced());
    fs::remove(path("tables"));
    EXPECT_FALSE(tables_.replaced()) << "nothing has taken its place";
}

TEST_F(TablesRegionTest, OtherLayoutsAndOtherFilesAreRefusedWithTheRemedy) {
    shm::Region writer = create("tables");
    finish(writer, shm::layout_version + 1);
    const auto newer = tables_.map();
    ASSERT_FALSE(newer);
    const std::string its_version = "version " + std::to_string(shm::layout_version + 1);
    EXPECT_NE(newer.error().message.find(its_version), std::string::npos) << newer.error().text();
    EXPECT_NE(newer.error().remedy, "");
    finish(writer);
    writer.at<shm::TablesHeader>(0).magic ^= 1;
    EXPECT_FALSE(tables_.map());
    EXPECT_FALSE(tables_.mapped());
}

TEST_F(TablesRegionTest, TheLayoutBeforeIsReadAndOlderOnesAreNot) {
    shm::Region writer = create("tables");
    finish(writer, shm::oldest_layout_read - 1);
    EXPECT_FALSE(tables_.map());
    finish(writer, shm::oldest_layout_read);
    EXPECT_TRUE(map());
}

TEST_F(TablesRegionTest, WhatWasKeptOfItCountsAsAnotherFile) {
    shm::Region writer = create("tables.copy");
    finish(writer);
    const auto mapped = tables_.map_copy();
    ASSERT_TRUE(mapped && *mapped);
    EXPECT_FALSE(tables_.is_sound()) << "there is no generation in it";
    EXPECT_FALSE(tables_.replaced());
    shm::Region original = create("tables");
    EXPECT_TRUE(tables_.replaced());
}

TEST_F(TablesRegionTest, APartThatIsMissingReadsAsZeros) {
    shm::Region writer = create("tables");
    finish(writer);
    ASSERT_TRUE(map());
    EXPECT_EQ(tables_.header().magic, shm::tables_magic);
    fs::resize_file(path("tables"), 0);
    EXPECT_EQ(tables_.header().magic, 0U);
    EXPECT_EQ(tables_.data()[reserved - 1], std::byte{0});
}

TEST_F(RunDirectory, ASecondInstanceIsRefusedWithThePidOfTheFirst) {
    const std::string nested = path("run/shunt");
    {
        const auto first = InstanceLock::take(nested);
        ASSERT_TRUE(first);
        const auto second = InstanceLock::take(nested);
        ASSERT_FALSE(second);
        EXPECT_NE(second.error().message.find("pid " + std::to_string(getpid())), std::string::npos);
        EXPECT_TRUE(InstanceLock::take(path("other")));
    }
    EXPECT_TRUE(InstanceLock::take(nested)) << "released with its holder";
}

TEST_F(RunDirectory, TheReadyFileIsThereWhileWeAreReady) {
    { std::fclose(std::fopen(path("dataplane.ready").c_str(), "w")); }
    {
        ReadyFile ready(directory_);
        EXPECT_TRUE(fs::exists(path("dataplane.ready"))) << "it may be of a predecessor that hands over";
        ready.remove_leftover();
        EXPECT_FALSE(fs::exists(path("dataplane.ready")));
        EXPECT_TRUE(ready.announce());
        EXPECT_TRUE(fs::exists(path("dataplane.ready")));
    }
    EXPECT_FALSE(fs::exists(path("dataplane.ready")));
    EXPECT_FALSE(ReadyFile(path("nowhere")).announce());
}

}  // namespace
}  // namespace shunt::dataplane
