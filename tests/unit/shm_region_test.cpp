#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "src/shm/drop_reason.h"
#include "src/shm/region.h"
#include "src/shm/state.h"

namespace shunt::shm {
namespace {

class RegionFile : public testing::Test {
  protected:
    RegionFile() {
        std::string name = (std::filesystem::temp_directory_path() / "region-XXXXXX").string();
        directory_ = mkdtemp(name.data());
    }
    ~RegionFile() override { std::filesystem::remove_all(directory_); }
    std::string path() const { return (directory_ / "region").string(); }

    std::filesystem::path directory_;
};

TEST_F(RegionFile, WhatTheWriterStoresAReaderSees) {
    auto writer = Region::create(path(), 8192, 1 << 20);
    ASSERT_TRUE(writer) << writer.error().text();
    std::strcpy(reinterpret_cast<char*>(writer->data()) + 5000, "hello");
    const auto reader = Region::open(path(), Region::Access::read_only);
    ASSERT_TRUE(reader) << reader.error().text();
    EXPECT_STREQ(reinterpret_cast<const char*>(reader->data()) + 5000, "hello");
}

TEST(RegionAnonymous, IsZeroedMemoryOnAnyPages) {
    for (const auto pages : {Region::Pages::small, Region::Pages::huge}) {
        Region region = Region::anonymous(10'000, pages);
        EXPECT_GE(region.reserved(), 10'000U);
        EXPECT_EQ(region.reserved() % region.page_bytes(), 0U);
        EXPECT_EQ(region.at<std::uint64_t>(9992), 0U);
        region.at<std::uint64_t>(9992) = 1;
    }
    EXPECT_EQ(Region::anonymous(10'000, Region::Pages::huge).reserved(), 2U << 20);
}

TEST_F(RegionFile, GrowsInPlaceUpToWhatIsReserved) {
    auto region = Region::create(path(), 4096, 1 << 20);
    ASSERT_TRUE(region);
    const std::byte* before = region->data();
    EXPECT_EQ(region->file_bytes(), 4096U);
    ASSERT_TRUE(region->grow(100'000));
    EXPECT_GE(region->file_bytes(), 100'000U);
    EXPECT_EQ(region->data(), before);
    region->data()[99'999] = std::byte{1};
    ASSERT_TRUE(region->grow(10)) << "never shrinks";
    EXPECT_GE(region->file_bytes(), 100'000U);
    const auto beyond = region->grow(2 << 20);
    ASSERT_FALSE(beyond);
    EXPECT_NE(beyond.error().text().find("the region is full"), std::string::npos);
}

TEST_F(RegionFile, RefusalsNameTheFile) {
    const auto missing = Region::open(path(), Region::Access::read_only);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().file, path());
    EXPECT_FALSE(missing.error().remedy.empty());
    ASSERT_TRUE(Region::create(path(), 4096, 4096));
    EXPECT_FALSE(Region::create(path(), 4096, 4096)) << "an existing file is not overwritten";
}

TEST_F(RegionFile, TheLockDiesWithItsHolder) {
    auto here = Region::create(path(), 4096, 4096);
    ASSERT_TRUE(here);
    int to_parent[2];
    int to_child[2];
    ASSERT_EQ(pipe(to_parent), 0);
    ASSERT_EQ(pipe(to_child), 0);
    const pid_t child = fork();
    if (child == 0) {
        auto region = Region::open(path(), Region::Access::read_write);
        const char answer = region && region->try_lock() ? 'y' : 'n';
        (void)!write(to_parent[1], &answer, 1);
        char wait = 0;
        (void)!read(to_child[0], &wait, 1);
        _exit(0);
    }
    char answer = 0;
    ASSERT_EQ(read(to_parent[0], &answer, 1), 1);
    EXPECT_EQ(answer, 'y');
    EXPECT_TRUE(here->locked_by_other());
    EXPECT_FALSE(here->try_lock());
    ASSERT_EQ(write(to_child[1], "x", 1), 1);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    EXPECT_FALSE(here->locked_by_other());
    EXPECT_TRUE(here->try_lock());
    for (const int fd : {to_parent[0], to_parent[1], to_child[0], to_child[1]}) close(fd);
}

TEST(StateLayout, PartsDoNotOverlapForAnyShape) {
    for (const std::uint32_t workers : {1U, 2U, 64U}) {
        const StateShape shape{workers, 1000, 100, 0, 777};
        const StateLayout at = StateLayout::of(shape);
        EXPECT_GE(at.workers, sizeof(StateHeader));
        EXPECT_GE(at.ports - at.workers, sizeof(WorkerBlock) * workers);
        EXPECT_GE(at.links - at.ports, sizeof(PortBlock) * max_ports);
        EXPECT_GE(at.neighbours - at.links, sizeof(LinkWord) * max_next_hops);
        EXPECT_GE(at.drops - at.neighbours, sizeof(NeighbourSlot) * neighbour_slots);
        EXPECT_GE(at.backends - at.drops, sizeof(ServiceDrops) * workers * shape.services);
        EXPECT_GE(at.flows - at.backends, sizeof(BackendCounters) * workers * shape.handles);
        EXPECT_GE(at.total - at.flows, sizeof(FlowBucket) * workers * shape.buckets_per_worker);
    }
}

TEST(DropReasons, EveryOneHasItsOwnNameAndASentence) {
    std::set<std::string_view> names;
    for (const DropReasonText& text : drop_reasons) {
        EXPECT_TRUE(names.insert(text.name).second) << text.name;
        EXPECT_GT(text.meaning.size(), 10U) << text.name;
    }
}

TEST(LinkWords, PackAndUnpack) {
    const MacAddress mac{{0x02, 0xff, 0x00, 0x10, 0x20, 0x0b}};
    EXPECT_EQ(unpack_mac(pack_mac(mac)), mac);
    EXPECT_EQ(pack_mac(mac), 0x02ff0010200bULL);
}

}  // namespace
}  // namespace shunt::shm
