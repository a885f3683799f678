// The state region seen by others than the data plane: it may be missing, unfinished, damaged, or another the next
// time.
#include "src/shm/state_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "tests/support/temporary_directory.h"

namespace shunt::shm {
namespace {

constexpr StateShape shape{.workers = 1, .handles = 4, .services = 2, .reserved = 0, .buckets_per_worker = 1};

class StateFileTest : public testing::Test {
  protected:
    Region make(const std::string& name, std::uint64_t accepted, const StateShape& of = shape) {
        const std::uint64_t bytes = StateLayout::of(of).total;
        auto region = Region::create(directory_.path() + "/" + name, bytes, bytes);
        EXPECT_TRUE(region) << region.error().text();
        format_state(region->data(), of, {});
        State(region->data()).header().accepted.store(accepted);
        return std::move(*region);
    }
    void point_to(const std::string& name) {
        const std::string aside = link() + ".new";
        EXPECT_EQ(symlink(name.c_str(), aside.c_str()), 0);
        EXPECT_EQ(std::rename(aside.c_str(), link().c_str()), 0);
    }
    std::string link() const { return directory_.path() + "/state"; }

    test::TemporaryDirectory directory_{};
};

TEST_F(StateFileTest, NoticesWhenItIsReplaced) {
    StateFile file(link());
    EXPECT_FALSE(file.look());
    EXPECT_FALSE(file.problem().empty());

    Region first = make("state.1", 5);
    point_to("state.1");
    ASSERT_TRUE(file.look());
    EXPECT_EQ(file.look()->header().accepted.load(), 5u);
    EXPECT_TRUE(file.problem().empty());
    State(first.data()).header().accepted.store(6);
    EXPECT_EQ(file.look()->header().accepted.load(), 6u);

    Region second = make("state.2", 9);
    point_to("state.2");
    ASSERT_TRUE(file.look());
    EXPECT_EQ(file.look()->header().accepted.load(), 9u);
}

TEST_F(StateFileTest, SaysWhetherSomebodyServesIt) {
    Region region = make("state.1", 5);
    point_to("state.1");
    StateFile file(link());
    EXPECT_FALSE(file.held());
    ASSERT_TRUE(file.look());
    EXPECT_FALSE(file.held());
    ASSERT_TRUE(region.try_lock());
    EXPECT_TRUE(file.held());
    region = Region{};
    EXPECT_FALSE(file.held());
}

TEST_F(StateFileTest, RefusesWhatItCannotRead) {
    StateFile file(link());
    {
        Region region = make("state.1", 5);
        point_to("state.1");
        auto& header = State(region.data()).header();
        header.version.store(0);
        EXPECT_FALSE(file.look());
        EXPECT_NE(file.problem().find("not complete"), std::string::npos);
        header.version.store(layout_version + 1);
        EXPECT_FALSE(file.look());
        EXPECT_NE(file.problem().find("layout"), std::string::npos);
        header.version.store(oldest_layout_read - 1);
        EXPECT_FALSE(file.look());
        header.version.store(oldest_layout_read);
        EXPECT_TRUE(file.look());
        file = StateFile(link());
        header.version.store(layout_version);
        header.magic ^= 1;
        EXPECT_FALSE(file.look());
        header.magic ^= 1;
        header.shape.workers = max_workers + 1;
        EXPECT_FALSE(file.look());
        header.shape = shape;
        header.shape.buckets_per_worker = std::uint64_t{1} << 58;
        EXPECT_FALSE(file.look());
        header.shape = shape;
        EXPECT_TRUE(file.look());
    }
    std::filesystem::resize_file(directory_.path() + "/state.1", 100);
    StateFile again(link());
    EXPECT_FALSE(again.look());
}

}  // namespace
}  // namespace shunt::shm
