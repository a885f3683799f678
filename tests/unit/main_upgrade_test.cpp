// A planned upgrade's parts, without a data plane: what is said and handed over, successors that fail, requests that
// outlive the process they were asked of, and when a supervisor starts what died.
#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "dataplane/main/back_off.h"
#include "dataplane/main/channel.h"
#include "dataplane/main/inheritance.h"
#include "dataplane/main/requests.h"
#include "dataplane/main/successor.h"
#include "src/base/clock.h"
#include "tests/support/instance.h"

namespace shunt::dataplane {
namespace {

constexpr Duration soon = Duration::seconds(5);

struct Pipe {
    Pipe() { EXPECT_EQ(::pipe(ends), 0); }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe() {
        for (const int end : ends) ::close(end);
    }
    int ends[2]{};
};

TEST(Channel, MessagesComeInOrderWithTheirDescriptors) {
    auto channel = Channel::open();
    ASSERT_TRUE(channel);
    auto& [ours, theirs] = *channel;
    Channel other(std::move(theirs));
    const Pipe pipe;
    ASSERT_TRUE(ours.send({.kind = Message::Kind::socket, .interface = 7, .worker = 3}, pipe.ends[1]));
    ASSERT_TRUE(ours.send({.kind = Message::Kind::all, .number = hand_over_protocol}));
    const auto first = other.receive(soon), second = other.receive(soon);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->message.interface, 7);
    EXPECT_EQ(first->message.worker, 3U);
    ASSERT_EQ(::write(first->descriptor.get(), "x", 1), 1);
    char byte = 0;
    EXPECT_EQ(::read(pipe.ends[0], &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
    EXPECT_EQ(second->message.number, hand_over_protocol);
    EXPECT_FALSE(second->descriptor);
    EXPECT_FALSE(other.receive(Duration{}));
    EXPECT_FALSE(other.closed());
    { const Channel gone = std::move(ours); }
    EXPECT_FALSE(other.receive(soon));
    EXPECT_TRUE(other.closed());
    EXPECT_FALSE(other.send({}));
}

class InheritanceTest : public testing::Test {
  protected:
    InheritanceTest() : channel_(*Channel::open()) {}
    ~InheritanceTest() override { ::prctl(PR_SET_PDEATHSIG, 0); }
    Result<Inheritance> read() { return Inheritance::read(channel_.second.release()); }
    void say(const Message& message) { channel_.first.send(message, pipe_.ends[0]); }

    Pipe pipe_;
    std::pair<Channel, xdp::Descriptor> channel_;
};

TEST_F(InheritanceTest, WhatFitsIsWorkedOnWhatDoesNotIsNot) {
    constexpr xdp::FrameShape shape{100, 2048};
    for (std::uint32_t worker = 0; worker < 2; ++worker) {
        say({.kind = Message::Kind::frames, .worker = worker, .shape = shape});
        say({.kind = Message::Kind::socket, .interface = 5, .worker = worker});
    }
    say({.kind = Message::Kind::interface_lock, .interface = 5});
    say({.kind = Message::Kind::instance_lock});
    say({.kind = Message::Kind::state_lock});
    channel_.first.send({.kind = Message::Kind::all, .number = hand_over_protocol});
    const auto from = read();
    ASSERT_TRUE(from) << from.error().text();
    EXPECT_TRUE(from->instance_lock && from->state_lock && from->interface_locks.at(5));
    EXPECT_TRUE(from->fits({5}, 2, shape));
    EXPECT_FALSE(from->fits({5}, 1, shape));
    EXPECT_FALSE(from->fits({6}, 2, shape));
    EXPECT_FALSE(from->fits({5, 6}, 2, shape));
    EXPECT_FALSE(from->fits({5}, 2, {200, 2048}));
}

TEST_F(InheritanceTest, AnotherProtocolIsRefusedWithASentence) {
    channel_.first.send({.kind = Message::Kind::all, .number = hand_over_protocol + 1});
    const auto from = read();
    ASSERT_FALSE(from);
    EXPECT_NE(from.error().message.find("another way"), std::string::npos);
}

TEST_F(InheritanceTest, NobodyHandsOver) {
    { const Channel gone = std::move(channel_.first); }
    EXPECT_FALSE(read());
}

std::string failure_of(const std::string& program, const std::vector<std::string>& arguments, Duration limit) {
    const MonotonicClock clock;
    auto successor = Successor::start(program, arguments, {}, clock.now() + limit);
    if (!successor) return successor.error().text();
    while (successor->look(clock.now()) == Successor::Progress::preparing) std::this_thread::yield();
    successor->kill();
    successor->wait_until_gone();
    EXPECT_TRUE(successor->is_gone());
    return successor->failure();
}

TEST(Successor, OneThatFailsIsSaidHow) {
    EXPECT_NE(failure_of("/nowhere/at-all", {"x"}, soon).find("cannot be executed"), std::string::npos);
    EXPECT_NE(failure_of("/bin/false", {"false"}, soon).find("exit code 1"), std::string::npos);
    EXPECT_NE(failure_of("/bin/sh", {"sh", "-c", "kill -9 $$"}, soon).find("signal 9"), std::string::npos);
    EXPECT_NE(failure_of("/bin/sh", {"sh", "-c", "exec sleep 100"}, Duration::milliseconds(50)).find("in time"),
              std::string::npos);
    EXPECT_NE(failure_of("/bin/sh", {"sh", "-c", "exec 3>&-; exec sleep 100"}, Duration::milliseconds(50)).find("time"),
              std::string::npos);
}

class UpgradeRequests : public testing::Test {
  protected:
    UpgradeRequests()
        : instance_({test::make_service("web", {"198.18.0.10:80/tcp"}, {"198.18.2.11"})}, 1),
          requests_(header_, instance_.state(), {&instance_.worker(0).forget_list()}) {}
    void ask(shm::RequestKind kind) {
        const std::uint64_t number = header_.requested.load() + 1;
        header_.requests[number % shm::request_ring] = {number, kind, 1500, {}};
        header_.requested.store(number);
    }
    void turn(Requests& requests) { requests.turn(instance_.tables(), Tick::at(instance_.clock.now())); }
    std::uint64_t answered() { return instance_.state().header().answered.load(); }
    const shm::RequestAnswer& answer(std::uint64_t number) {
        return instance_.state().header().answers[number % shm::request_ring];
    }

    shm::TablesHeader header_{};
    test::Instance instance_;
    Requests requests_;
};

TEST_F(UpgradeRequests, AnUpgradeIsUnderWayUntilItIsAnswered) {
    std::string("/new/program").copy(header_.program.data(), header_.program.size() - 1);
    ask(shm::RequestKind::upgrade);
    ask(shm::RequestKind::kill_flows);
    turn(requests_);
    turn(requests_);
    ASSERT_TRUE(requests_.upgrade());
    EXPECT_EQ(requests_.upgrade()->program, "/new/program");
    EXPECT_EQ(requests_.upgrade()->limit, Duration::milliseconds(1500));
    EXPECT_EQ(answered(), 0U);
    requests_.refuse_upgrade("it will not");
    EXPECT_EQ(answered(), 1U);
    EXPECT_EQ(answer(1).outcome, shm::RequestOutcome::refused);
    EXPECT_STREQ(instance_.state().header().refusal.data(), "it will not");
}

TEST_F(UpgradeRequests, ASuccessorAnswersTheOneItWasStartedForAndGoesOn) {
    ask(shm::RequestKind::upgrade);
    turn(requests_);
    ask(shm::RequestKind::none);
    Requests successor(header_, instance_.state(), {&instance_.worker(0).forget_list()}, {}, nullptr, 1);
    turn(successor);
    EXPECT_EQ(answered(), 0U);
    successor.finish_upgrade(Duration::milliseconds(3), 77);
    EXPECT_EQ(answered(), 1U);
    EXPECT_EQ(answer(1).outcome, shm::RequestOutcome::done);
    EXPECT_EQ(answer(1).successor, 77U);
    EXPECT_EQ(answer(1).gap_nanoseconds, 3'000'000);
    turn(successor);
    EXPECT_EQ(answered(), 2U);
    EXPECT_EQ(answer(2).outcome, shm::RequestOutcome::unknown);
}

TEST(BackOff, WhatLivedIsStartedAtOnceWhatDiesAtOnceEverLater) {
    BackOff back_off;
    const auto dies = [&] { return back_off.after(Duration::milliseconds(999)).in_milliseconds(); };
    for (const std::int64_t wait : {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000}) EXPECT_EQ(dies(), wait);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(back_off.after(BackOff::longest), Duration{}) << i;
    EXPECT_EQ(dies(), 0);
    EXPECT_EQ(dies(), 100);
}

}  // namespace
}  // namespace shunt::dataplane
