// Nothing is freed under a data plane: what it holds decides what may be published.
#include <gtest/gtest.h>

#include <filesystem>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "src/shm/generation.h"
#include "src/shm/state.h"
#include "tests/support/fleet.h"
#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

using test::Fleet;

// The state region of a data plane, held by it until this object dies.
class DataPlane {
  public:
    DataPlane(const test::TemporaryDirectory& directory, const std::string& name) {
        auto region = shm::Region::create(directory.path(name), shm::StateLayout::of(shape).total,
                                          shm::StateLayout::of(shape).total);
        EXPECT_TRUE(region) << region.error().text();
        region_ = *std::move(region);
        EXPECT_TRUE(region_.try_lock());
        shm::format_state(region_.data(), shape, {});
    }
    shm::StateHeader& header() { return region_.at<shm::StateHeader>(0); }
    shm::WorkerBlock& worker(std::size_t i) { return shm::State(region_.data()).workers()[i]; }

  private:
    static constexpr shm::StateShape shape{2, 64, 64, 0, 16};
    shm::Region region_{};
};

class Gating : public ::testing::Test {
  protected:
    Gating() {
        auto publisher =
            Publisher::open(directory_.path(), directory_.path("state"), {.reserve_bytes = std::uint64_t{64} << 20});
        EXPECT_TRUE(publisher) << publisher.error().text();
        publisher_ = std::make_unique<Publisher>(*std::move(publisher));
    }
    // The next generation; 0 if it may not be.
    std::uint64_t publish() {
        fleet_.seed.words[0] += 1;
        EXPECT_TRUE(compiler_.compile(fleet_.inputs()));
        const bool may = publisher_->may_publish();
        const auto generation = publisher_->publish(compiler_.image());
        EXPECT_EQ(may, bool(generation));
        return generation ? generation->value : 0;
    }
    void publish_up_to(std::uint64_t last) {
        for (std::uint64_t g = publisher_->tables().generation().value + 1; g <= last; ++g) ASSERT_EQ(publish(), g);
    }
    void point_state_at(const std::string& name) {
        std::filesystem::create_symlink(name, directory_.path("new"));
        std::filesystem::rename(directory_.path("new"), directory_.path("state"));
    }

    test::TemporaryDirectory directory_{};
    Fleet fleet_{31, 3};
    Compiler compiler_{};
    std::unique_ptr<Publisher> publisher_{};
};

TEST_F(Gating, WithoutADataPlaneEveryChangeIsAcceptedAtOnce) {
    publish_up_to(30);
    const Progress progress = publisher_->progress();
    EXPECT_FALSE(progress.alive);
    EXPECT_EQ(progress.published.value, 30U);
    EXPECT_TRUE(progress.passed_by_all(Generation(30)));
}

TEST_F(Gating, TheAcceptedGenerationStaysUntilAnotherIs) {
    DataPlane plane(directory_, "state.1");
    point_state_at("state.1");
    publish_up_to(3);
    plane.header().accepted = 3;
    publish_up_to(10);
    EXPECT_EQ(publish(), 0U);  // 11 would take the place of 3
    EXPECT_EQ(publish(), 0U);
    EXPECT_TRUE(shm::find_root(*reinterpret_cast<const shm::TablesHeader*>(publisher_->region()), Generation(3)));
    plane.header().accepted = 4;
    EXPECT_EQ(publish(), 11U);
    EXPECT_EQ(publish(), 0U);
}

TEST_F(Gating, AWorkerHoldsWhatItHasNotPassed) {
    DataPlane plane(directory_, "state.1");
    point_state_at("state.1");
    publish_up_to(9);
    plane.header().accepted = 9;
    plane.worker(0).online = 1;
    plane.worker(0).passed = 2;
    plane.worker(1).passed = 1;  // asleep
    EXPECT_EQ(publish(), 0U);    // 10 would take the place of 2
    plane.worker(0).passed = 3;
    EXPECT_EQ(publish(), 10U);
    plane.worker(0).online = 0;
    EXPECT_EQ(publish(), 11U);
}

TEST_F(Gating, AnAttachingDataPlaneStopsEverything) {
    publish_up_to(2);
    DataPlane plane(directory_, "state.1");
    plane.header().attaching = 1;
    EXPECT_EQ(publish(), 3U);  // nobody knows of it yet
    point_state_at("state.1");
    EXPECT_EQ(publish(), 0U);
    plane.header().attaching = 0;
    EXPECT_EQ(publish(), 4U);
}

TEST_F(Gating, ADeadDataPlaneHoldsNothing) {
    {
        DataPlane plane(directory_, "state.1");
        point_state_at("state.1");
        publish_up_to(1);
        plane.header().accepted = 1;
        plane.header().attaching = 1;
        plane.worker(0).online = 1;
        EXPECT_EQ(publish(), 0U);
        EXPECT_TRUE(publisher_->progress().alive);
    }
    publish_up_to(20);
    EXPECT_FALSE(publisher_->progress().alive);
}

TEST_F(Gating, ASuccessorsRegionCountsAndThePredecessorsWhileItLives) {
    auto old_plane = std::make_unique<DataPlane>(directory_, "state.1");
    point_state_at("state.1");
    publish_up_to(2);
    old_plane->header().accepted = 2;
    EXPECT_EQ(publisher_->progress().accepted.value, 2U);
    DataPlane new_plane(directory_, "state.2");
    point_state_at("state.2");
    new_plane.header().accepted = 2;
    publish_up_to(9);
    new_plane.header().accepted = 9;
    EXPECT_EQ(publisher_->progress().accepted.value, 9U);
    EXPECT_EQ(publish(), 0U);
    old_plane.reset();
    EXPECT_EQ(publish(), 10U);
}

TEST_F(Gating, AStateOfAnotherLayoutIsToldAndNothingIsFreed) {
    DataPlane plane(directory_, "state.1");
    plane.header().version = 99;
    point_state_at("state.1");
    EXPECT_EQ(publish(), 0U);
    EXPECT_NE(publisher_->progress().problem.find("layout 99"), std::string::npos);
    plane.header().version = 0;  // it is just being made
    EXPECT_EQ(publish(), 1U);
}

TEST_F(Gating, AStateThatIsCutShortUnderUsIsNotTouched) {
    auto plane = std::make_unique<DataPlane>(directory_, "state.1");
    point_state_at("state.1");
    plane->header().accepted = 1;
    publish_up_to(2);
    std::filesystem::resize_file(directory_.path("state.1"), 0);
    EXPECT_EQ(publish(), 3U);
    EXPECT_FALSE(publisher_->progress().alive);
    std::filesystem::resize_file(directory_.path("state.1"), 8192);
    EXPECT_FALSE(publisher_->progress().alive);
}

TEST_F(Gating, ProgressSaysWhoHasPassed) {
    DataPlane plane(directory_, "state.1");
    point_state_at("state.1");
    publish_up_to(5);
    const auto progress = [&] { return publisher_->progress(); };
    EXPECT_FALSE(progress().passed_by_all(Generation(5)));
    plane.header().accepted = 5;
    EXPECT_TRUE(progress().passed_by_all(Generation(5)));  // both asleep: they take 5 when they wake
    plane.worker(0).online = 1;
    plane.worker(0).passed = 4;
    EXPECT_FALSE(progress().passed_by_all(Generation(5)));
    EXPECT_TRUE(progress().passed_by_all(Generation(4)));
    EXPECT_EQ(progress().workers_past(Generation(5)), 1U);
    plane.worker(0).passed = 5;
    EXPECT_TRUE(progress().passed_by_all(Generation(5)));
    plane.header().refused_generation = 6;
    plane.header().refusals[static_cast<std::size_t>(shm::RefusalReason::index)].add(2);
    EXPECT_EQ(progress().refused.value, 6U);
    EXPECT_EQ(progress().refusals[static_cast<std::size_t>(shm::RefusalReason::index)], 2U);
}

}  // namespace
}  // namespace shunt::controlplane
