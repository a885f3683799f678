#include "dataplane/worker_loop.h"

#include "dataplane/wedge.h"

#include <gtest/gtest.h>

#include <string>

namespace shunt::dataplane {
namespace {

// Plays the polls that `packets` says ('1' something, '0' nothing), then stops; writes down what it was asked to do.
class ScriptedWorker {
  public:
    explicit ScriptedWorker(std::string packets) : packets_(std::move(packets)) {}
    std::uint32_t poll_once() noexcept {
        EXPECT_TRUE(online_);
        const bool found = packets_[polls_] == '1';
        if (++polls_ == packets_.size()) stop = true;
        return found ? 1 : 0;
    }
    void go_offline() noexcept { online_ = false; }
    void go_online() noexcept { online_ = true; }
    bool online() const { return online_; }
    std::size_t polls() const { return polls_; }

    std::atomic<bool> stop{false};

  private:
    std::string packets_;
    std::size_t polls_{};
    bool online_{false};
};

std::vector<std::size_t> sleeps(ScriptedWorker& worker, bool may_sleep) {
    std::vector<std::size_t> at;
    run_worker(worker, worker.stop, may_sleep, [&] {
        EXPECT_FALSE(worker.online()) << "nobody must wait for a sleeper";
        at.push_back(worker.polls());
    });
    EXPECT_FALSE(worker.online());
    return at;
}

TEST(WorkerLoop, SleepsAfterAThousandEmptyBurstsAndThenAfterEachFurtherOne) {
    ScriptedWorker worker(std::string(999, '0') + "1" + std::string(1002, '0') + "1" + std::string(999, '0'));
    EXPECT_EQ(sleeps(worker, true), (std::vector<std::size_t>{2000, 2001, 2002}));
}

TEST(WorkerLoop, AWedgedWorkerStandsStillOnlineForItsTime) {
    ScriptedWorker worker("111");
    Wedge wedge;
    ManualClock clock;
    int rests = 0;
    const auto rest = [&] {
        EXPECT_TRUE(worker.online()) << "it holds its generation";
        EXPECT_EQ(worker.polls(), 1U);
        clock.advance(Duration::milliseconds(10));
        ++rests;
    };
    Wedgeable wedgeable(worker, wedge, clock, rest);
    wedgeable.go_online();
    wedgeable.poll_once();
    wedge.drive_in(Duration::milliseconds(100));
    wedgeable.poll_once();
    EXPECT_EQ(rests, 10);
    wedgeable.poll_once();
    EXPECT_EQ(worker.polls(), 3U);
}

TEST(WorkerLoop, PollsWithoutPauseWhereItMayNotSleep) {
    ScriptedWorker worker(std::string(5000, '0'));
    EXPECT_TRUE(sleeps(worker, false).empty());
    EXPECT_EQ(worker.polls(), 5000U);
}

}  // namespace
}  // namespace shunt::dataplane
