#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "controlplane/health/machine.h"
#include "src/base/clock.h"
#include "src/base/random.h"

namespace shunt::controlplane {
namespace {

CheckSpec spec_of(std::uint32_t number, config::Check check = {}) {
    return check_spec(IpAddress::v4(Be32(0xc6120000U + number)), 80, check);  // 198.18.0.0 and up
}

std::vector<WantedCheck> wanted_of(std::uint32_t count, config::Check check = {}, Verdict initial = Verdict::unknown) {
    std::vector<WantedCheck> wanted;
    for (std::uint32_t i = 0; i < count; ++i) wanted.push_back({spec_of(i, check), initial});
    return wanted;
}

// Plays the prober and the core's loop on a hand-moved clock: `world` says what a probe started at a time would find
// and how long that takes.
class Driver {
  public:
    struct Answer {
        Outcome outcome;
        Duration after;
    };
    using World = std::function<Answer(const CheckSpec&, Instant)>;
    struct Start {
        CheckSpec spec;
        Instant at;
        Duration lag;
    };

    explicit Driver(World world, std::uint64_t seed = 1) : machine(seed), world_(std::move(world)) {}

    void run_until(Instant end) {
        while (const auto next = next_event()) {
            if (*next > end) break;
            clock.set(std::max(*next, clock.now()));
            finish_probes();
            for (ProbeRequest& request : machine.due(clock.now())) start(std::move(request));
        }
        clock.set(end);
    }
    void run(Duration time) { run_until(clock.now() + time); }

    ManualClock clock;
    HealthMachine machine;
    std::vector<Start> starts;
    std::vector<Transition> transitions;

  private:
    std::optional<Instant> next_event() const {
        std::optional<Instant> next = machine.next_due();
        if (!running_.empty() && (!next || running_.begin()->first < *next)) next = running_.begin()->first;
        return next;
    }
    void start(ProbeRequest request) {
        starts.push_back({request.spec, clock.now(), request.lag});
        const Answer answer = world_(request.spec, clock.now());
        const Instant end = clock.now() + answer.after;
        running_.emplace(end, ProbeResult{request.id, answer.outcome, "said so", end, answer.after});
    }
    void finish_probes() {
        while (!running_.empty() && running_.begin()->first <= clock.now()) {
            const ProbeResult result = running_.begin()->second;
            running_.erase(running_.begin());
            if (auto transition = machine.apply(result)) transitions.push_back(*transition);
        }
    }

    World world_;
    std::multimap<Instant, ProbeResult> running_;
};

Driver::World always(Outcome outcome) {
    return [outcome](const CheckSpec&, Instant) { return Driver::Answer{outcome, Duration::milliseconds(3)}; };
}

// One check, fed result by result: the text says 's'uccess or 'f'ailure, the answer how the verdict went on.
class Verdicts : public testing::Test {
  protected:
    explicit Verdicts() : machine_(1) {}

    std::string after(Verdict initial, const std::string& results, std::uint32_t rise = 2, std::uint32_t fall = 3) {
        const WantedCheck wanted{spec_of(1, {.rise = rise, .fall = fall}), initial};
        machine_ = HealthMachine(1);
        machine_.reconfigure({&wanted, 1}, clock_.now());
        std::string verdicts;
        for (const char c : results) {
            feed(c == 's' ? Outcome::ok : c == 'f' ? Outcome::refused : Outcome::not_run);
            const Verdict verdict = machine_.verdict(wanted.spec);
            verdicts += verdict == Verdict::unknown ? '?' : to_string(verdict).front();
        }
        return verdicts;
    }
    void feed(Outcome outcome, Duration duration = Duration::milliseconds(1)) {
        clock_.set(*machine_.next_due());
        for (const ProbeRequest& request : machine_.due(clock_.now())) {
            clock_.advance(duration);
            machine_.apply({request.id, outcome, "text", clock_.now(), duration});
        }
    }

    ManualClock clock_;
    HealthMachine machine_;
};

TEST_F(Verdicts, TheFirstResultDecidesTheUnknown) {
    EXPECT_EQ(after(Verdict::unknown, "s"), "u");
    EXPECT_EQ(after(Verdict::unknown, "f"), "d");
    EXPECT_EQ(to_string(machine_.verdict(spec_of(9))), "unknown");  // no such check
}

TEST_F(Verdicts, RiseAndFallCountResultsInARow) {
    EXPECT_EQ(after(Verdict::unknown, "sffsfff"), "uuuuuud");
    EXPECT_EQ(after(Verdict::unknown, "sfffsfss"), "uuuddddu");
    EXPECT_EQ(after(Verdict::unknown, "sfs", 1, 1), "udu");
}

TEST_F(Verdicts, ABackendThatNeverSucceededComesInWithItsFirstSuccess) {
    EXPECT_EQ(after(Verdict::unknown, "ffffs", 5, 3), "ddddu");
    EXPECT_EQ(after(Verdict::unknown, "ffsfffss", 2, 3), "dduuuddu") << "later successes are counted";
}

TEST_F(Verdicts, WhatWasReadBackIsHeldUntilRiseOrFall) {
    EXPECT_EQ(after(Verdict::down, "ss"), "du");
    EXPECT_EQ(after(Verdict::up, "fff"), "uud");
}

TEST_F(Verdicts, OurOwnFaultSaysNothing) {
    EXPECT_EQ(after(Verdict::unknown, "xx"), "??");
    EXPECT_EQ(machine_.verdict(spec_of(1, {.rise = 2, .fall = 3})), Verdict::unknown);
    EXPECT_EQ(after(Verdict::up, "ffxf"), "uuud") << "neither for nor against";
    EXPECT_EQ(machine_.status(spec_of(1, {.rise = 2, .fall = 3}))->probes, 4U);
}

TEST_F(Verdicts, ATimeoutSeenFarTooLateSaysNothing) {
    EXPECT_EQ(after(Verdict::up, "", 1, 1), "");
    const CheckSpec spec = spec_of(1, {.rise = 1, .fall = 1});
    feed(Outcome::timeout, Duration::seconds(60));  // this process was stopped
    EXPECT_EQ(machine_.verdict(spec), Verdict::up);
    EXPECT_EQ(machine_.status(spec)->last_outcome, Outcome::not_run);
    feed(Outcome::timeout, Duration::milliseconds(801));
    EXPECT_EQ(machine_.verdict(spec), Verdict::down);
}

TEST(HealthMachine, TellsWhatItKnowsOfACheck) {
    Outcome outcome = Outcome::ok;
    Driver driver([&](const CheckSpec&, Instant) { return Driver::Answer{outcome, Duration::milliseconds(7)}; });
    driver.machine.reconfigure(wanted_of(1), driver.clock.now());
    driver.run(Duration::seconds(5));
    outcome = Outcome::bad_status;
    driver.run(Duration::seconds(10));
    ASSERT_EQ(driver.transitions.size(), 2U);
    EXPECT_EQ(driver.transitions[0].to, Verdict::up);
    EXPECT_EQ(driver.transitions[1].from, Verdict::up);
    EXPECT_EQ(driver.transitions[1].to, Verdict::down);
    EXPECT_EQ(driver.transitions[1].text, "said so");
    EXPECT_EQ(driver.transitions[1].spec, spec_of(0));
    const CheckStatus* status = driver.machine.status(spec_of(0));
    ASSERT_NE(status, nullptr);
    EXPECT_EQ(status->since, driver.transitions[1].at);
    EXPECT_EQ(status->last_outcome, Outcome::bad_status);
    EXPECT_EQ(status->last_duration, Duration::milliseconds(7));
    EXPECT_EQ(status->against, 0U);
}

TEST(HealthMachine, OneCheckHoweverManyShareIt) {
    Driver driver(always(Outcome::ok));
    std::vector<WantedCheck> wanted = wanted_of(1);
    wanted.push_back({spec_of(0), Verdict::up});  // the second service knows what the first does not
    wanted.push_back({spec_of(0, {.type = config::CheckType::http}), Verdict::unknown});
    driver.machine.reconfigure(wanted, driver.clock.now());
    EXPECT_EQ(driver.machine.size(), 2U);
    EXPECT_EQ(driver.machine.verdict(spec_of(0)), Verdict::up);
    EXPECT_EQ(driver.machine.due(driver.clock.now() + Duration::seconds(1)).size(), 2U);
}

TEST(HealthMachine, TheCheckOfAServicesOwnPortWins) {
    EXPECT_EQ(check_spec(IpAddress::v4(198, 18, 2, 11), 80, {}).text(), "tcp 198.18.2.11:80");
    const config::Check http{.type = config::CheckType::http, .path = "/x", .port = 8443};
    EXPECT_EQ(check_spec(*IpAddress::parse("2001:db8::1"), 80, http).text(), "http [2001:db8::1]:8443 /x");
}

TEST(HealthMachine, ReconfigurationKeepsWhatDidNotChange) {
    HealthMachine machine(1);
    ManualClock clock;
    machine.reconfigure(wanted_of(2), clock.now());
    const auto requests = machine.due(clock.now() + Duration::seconds(1));
    ASSERT_EQ(requests.size(), 2U);
    machine.apply({requests[0].id, Outcome::ok, "", clock.now(), {}});
    const auto due = machine.next_due();

    machine.reconfigure(wanted_of(3), clock.now());
    EXPECT_EQ(machine.size(), 3U);
    EXPECT_EQ(machine.verdict(spec_of(0)), Verdict::up);
    EXPECT_EQ(machine.next_due(), clock.now()) << "the new one at once";
    EXPECT_EQ(machine.due(clock.now()).size(), 1U) << "the one in flight is not started again";
    EXPECT_EQ(machine.next_due(), due) << "the old one as planned";
    EXPECT_TRUE(machine.apply({requests[1].id, Outcome::refused, "", clock.now(), {}}));
    EXPECT_EQ(machine.verdict(spec_of(1)), Verdict::down);
}

TEST(HealthMachine, AnswersOfChecksThatAreGoneAreIgnored) {
    HealthMachine machine(1);
    ManualClock clock;
    machine.reconfigure(wanted_of(1), clock.now());
    const auto old = machine.due(clock.now());
    machine.reconfigure({}, clock.now());
    EXPECT_EQ(machine.size(), 0U);
    EXPECT_FALSE(machine.next_due());
    EXPECT_FALSE(machine.apply({old[0].id, Outcome::ok, "", clock.now(), {}}));
    machine.reconfigure(wanted_of(1), clock.now());
    const auto fresh = machine.due(clock.now());
    EXPECT_FALSE(machine.apply({old[0].id, Outcome::ok, "", clock.now(), {}})) << "a check of the same name is another";
    EXPECT_TRUE(machine.apply({fresh[0].id, Outcome::ok, "", clock.now(), {}}));
    EXPECT_FALSE(machine.apply({fresh[0].id, Outcome::refused, "", clock.now(), {}}));
    EXPECT_EQ(machine.status(spec_of(0))->probes, 1U) << "answered already";
}

TEST(HealthMachine, AChecksPlanGoesWithIt) {
    HealthMachine machine(1);
    ManualClock clock;
    machine.reconfigure(wanted_of(2), clock.now());
    machine.reconfigure({}, clock.now());
    EXPECT_FALSE(machine.next_due());
    EXPECT_TRUE(machine.due(clock.now() + Duration::seconds(9)).empty());
}

std::map<std::uint64_t, std::vector<Driver::Start>> by_check(const std::vector<Driver::Start>& starts) {
    std::map<std::uint64_t, std::vector<Driver::Start>> result;
    for (const auto& start : starts) result[start.spec.address.low_word()].push_back(start);
    return result;
}

TEST(Schedule, IntervalsRunFromStartToStartAndJitterOnlyShortens) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Driver driver(always(Outcome::ok), seed);
        driver.machine.reconfigure(wanted_of(20), driver.clock.now());
        driver.run(Duration::seconds(20));
        std::set<std::int64_t> distinct;
        for (const auto& [address, starts] : by_check(driver.starts)) {
            EXPECT_LE(starts[1].at - starts[0].at, Duration::seconds(1));
            for (std::size_t i = 2; i < starts.size(); ++i) {
                const Duration interval = starts[i].at - starts[i - 1].at;
                EXPECT_LE(interval, Duration::seconds(1));
                EXPECT_GE(interval, Duration::milliseconds(900));
                distinct.insert(interval.in_milliseconds());
            }
        }
        EXPECT_GT(distinct.size(), 50U) << "of 101 possible";
        EXPECT_TRUE(std::all_of(driver.starts.begin(), driver.starts.end(),
                                [](const auto& start) { return start.lag == Duration{}; }));
    }
}

// Starts of the last second, at most in any 10 ms.
std::size_t densest(const std::vector<Driver::Start>& starts, Instant end) {
    std::map<std::int64_t, std::size_t> buckets;
    std::size_t most = 0;
    for (const auto& start : starts) {
        if (start.at > end - Duration::seconds(1)) {
            most = std::max(most, ++buckets[start.at.nanoseconds / 10'000'000]);
        }
    }
    return most;
}

TEST(Schedule, ChecksThatBeganTogetherSpreadOut) {
    Driver driver(always(Outcome::ok));
    driver.machine.reconfigure(wanted_of(1000), driver.clock.now());
    driver.run(Duration::milliseconds(101));
    EXPECT_EQ(by_check(driver.starts).size(), 1000U) << "the first ones within 100 ms";
    EXPECT_LE(densest(driver.starts, driver.clock.now()), 130U) << "and not all at once";
    driver.run(Duration::seconds(3));
    EXPECT_LT(densest(driver.starts, driver.clock.now()), 35U) << "10 on average";
}

TEST(Schedule, ALongPauseLeavesNoHerd) {
    Driver driver(always(Outcome::ok));
    driver.machine.reconfigure(wanted_of(1000), driver.clock.now());
    driver.run(Duration::seconds(5));
    driver.clock.advance(Duration::seconds(60));
    driver.run(Duration::seconds(3));
    EXPECT_LT(densest(driver.starts, driver.clock.now()), 35U);
}

TEST(Schedule, NeverTwoProbesOfACheckAtOnce) {
    Driver driver([](const CheckSpec&, Instant) { return Driver::Answer{Outcome::timeout, Duration::seconds(5)}; });
    driver.machine.reconfigure(wanted_of(1, {.timeout = Duration::seconds(5)}), driver.clock.now());
    driver.run(Duration::seconds(31));
    ASSERT_EQ(driver.starts.size(), 7U);
    for (std::size_t i = 1; i < driver.starts.size(); ++i) {
        EXPECT_EQ(driver.starts[i].at - driver.starts[i - 1].at, Duration::seconds(5));
    }
}

TEST(Schedule, TheSameSeedGivesTheSameRun) {
    const auto run = [](std::uint64_t seed) {
        Driver driver(always(Outcome::ok), seed);
        driver.machine.reconfigure(wanted_of(50), driver.clock.now());
        driver.run(Duration::seconds(10));
        std::vector<Instant> times;
        for (const auto& start : driver.starts) times.push_back(start.at);
        return times;
    };
    EXPECT_EQ(run(7), run(7));
    EXPECT_NE(run(7), run(8));
}

// What the operator is promised: down within fall x interval + timeout of the last byte served, however the backend
// died, however long its answers took before.
TEST(Detection, IsWithinItsBound) {
    Random random(42);
    const auto milliseconds = [&](std::uint64_t from, std::uint64_t to) {
        return Duration::milliseconds(static_cast<std::int64_t>(from + random.below(to - from + 1)));
    };
    Duration closest = Duration::seconds(-100);  // to its bound, over all runs
    for (int run = 0; run < 2000; ++run) {
        config::Check check{.fall = static_cast<std::uint32_t>(1 + random.below(5))};
        check.interval = milliseconds(100, 3000);
        check.timeout = milliseconds(50, static_cast<std::uint64_t>(check.interval.in_milliseconds()));
        const bool silent = random.below(2) == 0;
        const auto dies = Instant{} + Duration::seconds(1000) + milliseconds(4000, 30'000);
        Driver driver(
            [&](const CheckSpec& spec, Instant start) {
                const Duration latency{static_cast<std::int64_t>(
                    random.below(static_cast<std::uint64_t>(spec.check.timeout.nanoseconds)))};
                if (start + latency <= dies) return Driver::Answer{Outcome::ok, latency};
                if (silent) return Driver::Answer{Outcome::timeout, spec.check.timeout};
                return Driver::Answer{Outcome::refused, std::max(dies - start, Duration{})};
            },
            random());
        driver.machine.reconfigure(wanted_of(1, check), driver.clock.now());
        driver.run_until(dies + Duration::seconds(60));
        ASSERT_EQ(driver.transitions.size(), 2U);
        const Duration bound = check.interval * check.fall + check.timeout;
        const Duration taken = driver.transitions[1].at - dies;
        EXPECT_LE(taken, bound);
        EXPECT_GE(taken, Duration{});
        closest = std::max(closest, taken - bound);
    }
    EXPECT_GT(closest, Duration::milliseconds(-100)) << "the bound is tight: a longer schedule would break it";
}

TEST(Detection, AFlappingBackendIsBoundedByRiseAndFall) {
    int probe = 0;
    Driver driver([&](const CheckSpec&, Instant) {
        return Driver::Answer{++probe % 2 == 0 ? Outcome::ok : Outcome::reset, Duration::milliseconds(1)};
    });
    driver.machine.reconfigure(wanted_of(1), driver.clock.now());
    driver.run(Duration::seconds(60));
    EXPECT_EQ(driver.transitions.size(), 2U) << "down with its first failure, up with its first success, then no more";
}

}  // namespace
}  // namespace shunt::controlplane
