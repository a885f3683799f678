// Every scheduler through real workers: whom flows that open are given to, against the scheduler's definition; and what
// of that a flow keeps.
#include <gtest/gtest.h>

#include <cmath>

#include "src/base/random.h"
#include "tests/support/path_families.h"

namespace shunt::test {
namespace {

using Counts = std::map<std::string, double>;

// A service with one backend per weight, 198.18.2.11 first.
config::Service scheduled(Scheduler scheduler, const std::vector<std::uint32_t>& weights) {
    std::vector<std::string> backends;
    for (std::size_t i = 0; i < weights.size(); ++i) backends.push_back("198.18.2." + std::to_string(11 + i) + ":8080");
    config::Service service =
        make_service("web", {V4::vip + std::string("/tcp"), V4::vip + std::string("/udp")}, backends);
    service.scheduler = scheduler;
    for (std::size_t i = 0; i < weights.size(); ++i) service.backends[i].weight = weights[i];
    return service;
}

Packet opening(std::uint32_t n) {
    Packet p = packet(V4::client(n), V4::vip);
    p.tcp_flags = tcp_syn;
    return p;
}
Packet closing(std::uint32_t n) {
    Packet p = packet(V4::client(n), V4::vip);
    p.tcp_flags = tcp_fin | tcp_ack;
    return p;
}

class Scheduling {
  public:
    explicit Scheduling(config::Service service, std::uint16_t workers = 1)
        : instance({std::move(service)}, workers, 1U << 14), workers_(workers) {}

    // Flows first to last - 1, each on some worker; who got how many.
    Counts open(std::uint32_t first, std::uint32_t last) {
        Counts counts;
        for (std::uint32_t n = first; n < last; ++n) {
            const std::string to = instance.forward(opening(n), worker_of(n)).to();
            ++counts[to];
            ++live[to];
            backend_of[n] = to;
            if (n % 16 == 0) instance.sum_flows();
        }
        return counts;
    }
    void close(std::uint32_t n) {
        EXPECT_EQ(instance.forward(closing(n), worker_of(n)).to(), backend_of[n]);
        --live[backend_of[n]];
    }
    std::size_t worker_of(std::uint32_t n) const { return Random(n)() % workers_; }
    // What all workers count for the backends of the TCP listener.
    Counts counted() {
        Counts counts;
        const auto tables = instance.tables();
        for (std::uint32_t i = 1; i < tables.backends.count(); ++i) {
            const auto& backend = tables.backends[i];
            if (backend.protocol != Protocol::tcp) continue;
            const auto handle = shm::Handle::of(i, backend.incarnation);
            double& sum = counts[address_and_port(backend.address, backend.port.host())];
            for (std::uint16_t w = 0; w < workers_; ++w) {
                sum += instance.state().own_flows(WorkerIndex(w))[i].of(handle);
            }
        }
        return counts;
    }

    Instance instance;
    Counts live;                                      // as they should be counted
    std::map<std::uint32_t, std::string> backend_of;  // by flow

  private:
    std::uint16_t workers_;
};

std::string name_of(std::size_t backend) { return "198.18.2." + std::to_string(11 + backend) + ":8080"; }

// Pearson's statistic of counts that should be in proportion to weights.
double chi_square(const Counts& counts, const std::vector<std::uint32_t>& weights) {
    double all = 0, sum = 0, result = 0;
    for (const auto& [name, count] : counts) all += count;
    for (const auto weight : weights) sum += weight;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const double expected = all * weights[i] / sum;
        const auto found = counts.find(name_of(i));
        const double count = found == counts.end() ? 0 : found->second;
        if (weights[i] == 0) {
            EXPECT_EQ(count, 0);
        } else {
            result += (count - expected) * (count - expected) / expected;
        }
    }
    return result;
}

// Exceeded by chance once in a thousand, for up to five backends (four degrees of freedom).
constexpr double unlikely = 18.47;

TEST(Schedulers, ThatHashOrDrawFollowWeights) {
    const std::vector<std::uint32_t> weights{100, 200, 0, 50, 100};
    for (const Scheduler scheduler : {Scheduler::maglev, Scheduler::source_hash, Scheduler::random}) {
        config::Service service = scheduled(scheduler, weights);
        service.table_size = 65537;
        if (scheduler == Scheduler::source_hash) service.affinity = Affinity::source_port;
        Scheduling run(service, 2);
        EXPECT_LT(chi_square(run.open(0, 6000), weights), unlikely) << to_string(scheduler);
        // And after a change.
        run.instance.services()[0].backends[1].weight = 50;
        run.instance.services()[0].backends[2].weight = 300;
        run.instance.publish();
        EXPECT_LT(chi_square(run.open(6000, 12000), {100, 50, 300, 50, 100}), unlikely) << to_string(scheduler);
    }
}

// A ring's shares are not its weights exactly: what must fit are the slots.
TEST(Schedulers, ARingFollowsItsSlots) {
    Scheduling run(scheduled(Scheduler::ring, {100, 200, 300}));
    const auto tables = run.instance.tables();
    std::vector<std::uint32_t> slots(3);
    for (const std::uint16_t slot : tables.slots(tables.listeners[1])) ++slots.at(slot);
    EXPECT_LT(chi_square(run.open(0, 6000), slots), unlikely);
}

TEST(Schedulers, RoundRobinGivesEverybodyTheSame) {
    for (const std::uint16_t workers : std::array<std::uint16_t, 3>{1, 2, 4}) {
        Scheduling run(scheduled(Scheduler::round_robin, {100, 1, 1000, 50, 0}), workers);
        for (int round = 0; round < 50; ++round) {
            for (std::uint16_t w = 0; w < workers; ++w) {
                for (int turn = 0; turn < 4; ++turn) {
                    const auto n = static_cast<std::uint32_t>((round * workers + w) * 4 + turn);
                    ++run.live[run.instance.forward(opening(n), w).to()];
                }
            }
            for (std::size_t i = 0; i < 4; ++i) ASSERT_EQ(run.live[name_of(i)], (round + 1) * workers);
        }
        EXPECT_EQ(run.live.size(), 4U);
    }
}

TEST(Schedulers, WeightedRoundRobinIsSmooth) {
    const std::vector<std::uint32_t> weights{500, 100, 100, 0, 300};
    Scheduling run(scheduled(Scheduler::weighted_round_robin, weights));
    for (std::uint32_t n = 0; n < 1000; ++n) {
        run.open(n, n + 1);
        for (std::size_t i = 0; i < weights.size(); ++i) {
            const double ideal = (n + 1) * weights[i] / 1000.0;
            // From any turn on: less than two from it, because the first is somewhere in the order.
            ASSERT_LT(std::abs(run.live[name_of(i)] - ideal), 2) << n;
        }
    }
    for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_EQ(run.live[name_of(i)], weights[i]);
    run.instance.services()[0].backends[0].weight = 0;
    run.instance.publish();
    const Counts after = run.open(1000, 1500);
    EXPECT_EQ(after.at(name_of(1)), 100);
    EXPECT_EQ(after.at(name_of(4)), 300);
}

TEST(Schedulers, WorkersDoNotStartInStep) {
    for (const Scheduler scheduler :
         {Scheduler::round_robin, Scheduler::weighted_round_robin, Scheduler::least_connections}) {
        Scheduling run(scheduled(scheduler, {100, 100, 100, 100}), 4);
        std::map<std::string, int> first;
        for (std::uint16_t w = 0; w < 4; ++w) ++first[run.instance.forward(opening(w), w).to()];
        EXPECT_EQ(first.size(), 4U) << to_string(scheduler);
    }
}

TEST(Schedulers, LeastConnectionsLevelsWhatLives) {
    for (const std::uint16_t workers : std::array<std::uint16_t, 3>{1, 2, 4}) {
        const double slack = workers == 1 ? 1 : 16;  // what opens between two sums
        Scheduling run(scheduled(Scheduler::least_connections, {100, 100, 1, 1000}), workers);
        run.open(0, 800);
        for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(run.live[name_of(i)], 200, slack);
        // All flows of one backend end: the next ones are its.
        for (std::uint32_t n = 0; n < 800; ++n) {
            if (run.backend_of[n] == name_of(2)) run.close(n);
        }
        EXPECT_EQ(run.live[name_of(2)], 0);
        run.instance.sum_flows();
        const Counts next = run.open(800, 900);
        EXPECT_NEAR(next.at(name_of(2)), 100, slack) << workers;
        run.open(900, 1200);
        for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(run.live[name_of(i)], 250, slack);
        EXPECT_EQ(run.counted(), run.live);
    }
}

TEST(Schedulers, WeightedLeastConnectionsLevelsByWeight) {
    for (const std::uint16_t workers : std::array<std::uint16_t, 3>{1, 2, 4}) {
        const double slack = workers == 1 ? 2 : 16;
        const std::vector<std::uint32_t> weights{100, 300, 0, 600};
        Scheduling run(scheduled(Scheduler::weighted_least_connections, weights), workers);
        run.open(0, 1000);
        for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(run.live[name_of(i)], weights[i], slack) << workers;
        run.instance.services()[0].backends[2].weight = 1000;
        run.instance.publish();
        run.open(1000, 2000);
        for (std::size_t i : {0U, 1U, 3U}) EXPECT_NEAR(run.live[name_of(i)], weights[i], slack) << workers;
        EXPECT_NEAR(run.live[name_of(2)], 1000, 2 * slack);
    }
}

// Of two drawn the lighter: the most loaded is within a few of the mean, where lots alone would leave some sixty.
TEST(Schedulers, PowerOfTwoStaysClose) {
    for (const std::uint16_t workers : std::array<std::uint16_t, 2>{1, 4}) {
        const std::vector<std::uint32_t> weights{100, 100, 200, 100, 100};
        Scheduling run(scheduled(Scheduler::power_of_two, weights), workers);
        run.open(0, 3000);
        for (std::size_t i = 0; i < 5; ++i) EXPECT_NEAR(run.live[name_of(i)], weights[i] * 5, 20) << workers;
        for (std::uint32_t n = 0; n < 3000; ++n) {
            if (run.backend_of[n] == name_of(0)) run.close(n);
        }
        run.instance.sum_flows();
        const Counts next = run.open(3000, 3400);
        // It is drawn in 1 - (5/6)² of all cases, and then wins.
        EXPECT_NEAR(next.at(name_of(0)), 400 * (1 - 25.0 / 36), 40) << workers;
    }
}

TEST(Schedulers, BoundedLoadKeepsItsBoundUnderASkewedSource) {
    const std::vector<std::uint32_t> weights{100, 100, 200, 100};
    for (const std::uint16_t factor : std::array<std::uint16_t, 3>{101, 125, 200}) {
        for (const std::uint16_t workers : std::array<std::uint16_t, 3>{1, 2, 4}) {
            config::Service service = scheduled(Scheduler::maglev_bounded, weights);
            service.affinity = Affinity::source;
            service.load_factor = factor;
            Scheduling run(service, workers);
            const double slack = workers == 1 ? 0 : 8;  // what opens between two sums
            for (std::uint32_t n = 0; n < 1000; ++n) {
                // Nine of ten flows from one address, which the table alone would give to one backend.
                Packet p = opening(n);
                p.source_port = static_cast<std::uint16_t>(1024 + n);
                if (n % 10 != 0) p.source = *IpAddress::parse("203.0.113.254");
                ++run.live[run.instance.forward(p, run.worker_of(n)).to()];
                if (n % 4 == 0) run.instance.sum_flows();
                for (std::size_t i = 0; i < 4; ++i) {
                    const double bound = std::ceil(factor / 100.0 * (n + 1) * weights[i] / 500 - 1e-9);
                    ASSERT_LE(run.live[name_of(i)], bound + slack) << n << " " << i << " " << factor;
                }
            }
        }
    }
}

TEST(Schedulers, BoundedLoadIsMaglevWhereNobodyIsFull) {
    config::Service bounded = scheduled(Scheduler::maglev_bounded, {100, 100, 100});
    bounded.load_factor = 1000;
    Scheduling one(bounded), other(scheduled(Scheduler::maglev, {100, 100, 100}));
    one.open(0, 500);
    other.open(0, 500);
    EXPECT_EQ(one.backend_of, other.backend_of);
}

TEST(Schedulers, AffinityKeepsASourceTogether) {
    for (const Scheduler scheduler : {Scheduler::maglev, Scheduler::ring, Scheduler::source_hash}) {
        config::Service service = scheduled(scheduler, {100, 100, 100, 100});
        service.affinity = Affinity::source;
        service.vips.push_back(vip("198.18.0.10:80/tcp"));
        Scheduling run(service, 2);
        std::map<std::string, std::string> backend_of;
        for (std::uint32_t n = 0; n < 500; ++n) {
            Packet p = opening(n);
            if (n % 2) p.destination_port = 80;
            const Seen seen = run.instance.forward(p, run.worker_of(n));
            EXPECT_EQ(backend_of.emplace(p.source.text(), seen.to()).first->second, seen.to());
            // The reply finds its listener, with a flow or without one.
            Packet back = packet(seen.to(), seen.from());
            EXPECT_EQ(run.instance.forward(back, 1 - run.worker_of(n)).from(), n % 2 ? "198.18.0.10:80" : V4::vip);
        }
        std::set<std::string> used;
        for (const auto& [source, backend] : backend_of) used.insert(backend);
        EXPECT_EQ(used.size(), 4U) << to_string(scheduler);
    }
}

// What every scheduler must keep, whatever it chooses by.
class EveryScheduler : public testing::TestWithParam<SchedulerTraits> {};

TEST_P(EveryScheduler, AFlowKeepsItsBackendOnEveryWorker) {
    for (const std::uint16_t workers : std::array<std::uint16_t, 2>{2, 4}) {
        Scheduling run(scheduled(GetParam().scheduler, {100, 200, 100}), workers);
        run.open(0, 200);
        auto& backends = run.instance.services()[0].backends;
        backends[0].weight = 1;
        backends[1].weight = 0;
        backends.push_back(backend("198.18.2.44:8080"));
        run.instance.publish();
        Random random(workers);
        for (int step = 0; step < 1000; ++step) {
            const auto n = static_cast<std::uint32_t>(random.below(200));
            const std::size_t worker = random.below(workers);
            if (random.below(2)) {
                ASSERT_EQ(run.instance.forward(packet(V4::client(n), V4::vip), worker).to(), run.backend_of[n]);
            } else {
                ASSERT_EQ(run.instance.forward(packet(run.backend_of[n], V4::client(n)), worker).from(), V4::vip);
            }
        }
        // Copies on other workers are nobody's flows again; every one is still counted, and once.
        EXPECT_EQ(run.counted().at(name_of(0)), run.live[name_of(0)]);
        double all = 0;
        for (const auto& [name, count] : run.counted()) all += count;
        EXPECT_EQ(all, 200);
        run.instance.expect_conservation();
    }
}

// A packet of a connection that nobody knows: the same backend everywhere, and its reply is derived.
TEST_P(EveryScheduler, WithoutAFlowTheTableDecides) {
    Scheduling here(scheduled(GetParam().scheduler, {100, 200, 100}), 2);
    Scheduling there(scheduled(GetParam().scheduler, {100, 200, 100}), 4);
    Scheduling third(scheduled(GetParam().scheduler, {100, 200, 100}));
    here.open(1000, 1100);
    for (std::uint32_t n = 0; n < 100; ++n) {
        const Seen one = here.instance.forward(packet(V4::client(n), V4::vip), n % 2);
        const Seen other = there.instance.forward(packet(V4::client(n), V4::vip), n % 4);
        ASSERT_EQ(one.to(), other.to());
        ASSERT_EQ(third.instance.forward(packet(one.to(), V4::client(n))).from(), V4::vip);
    }
}

// No room in the flow table: the next packet of the connection goes where the first one went.
TEST_P(EveryScheduler, WhatIsNotRememberedGoesByTheTable) {
    Instance full({scheduled(GetParam().scheduler, {100, 200, 100})}, 1, 2);
    std::map<std::uint32_t, std::string> flows;
    for (std::uint32_t n = 0; n < 60; ++n) {
        // Not embryonic: those would give way.
        flows[n] = full.forward(packet(V4::client(n), V4::vip, Protocol::udp)).to();
    }
    EXPECT_GT(full.state().workers()[0].flows_not_remembered.read(), 40U);
    for (const auto& [n, backend] : flows) {
        ASSERT_EQ(full.forward(packet(V4::client(n), V4::vip, Protocol::udp)).to(), backend);
    }
}

TEST_P(EveryScheduler, NobodyIsANamedDrop) {
    Instance instance({scheduled(GetParam().scheduler, {100, 200})});
    for (auto& b : instance.services()[0].backends) b.state = config::BackendState::drain;
    instance.publish();
    EXPECT_EQ(instance.fate(opening(1).build()), "no_backend");
    instance.expect_conservation();
}

std::string name_of_case(const testing::TestParamInfo<SchedulerTraits>& of) {
    std::string name(of.param.name);
    std::erase(name, '-');
    return name;
}
INSTANTIATE_TEST_SUITE_P(Of, EveryScheduler, testing::ValuesIn(schedulers), name_of_case);

// ---- what counts as a live flow

struct Counting : testing::Test {
    Scheduling run{scheduled(Scheduler::least_connections, {100, 100}), 2};
    double all() {
        double sum = 0;
        for (const auto& [name, count] : run.counted()) sum += count;
        return sum;
    }
    void pass(Duration time) {
        run.instance.clock.advance(time);
        run.instance.sweep();
    }
};

TEST_F(Counting, AFlowCountsFromItsSynToItsFin) {
    run.open(1, 2);
    EXPECT_EQ(all(), 1);
    run.open(1, 2);  // the SYN again: the same flow
    EXPECT_EQ(all(), 1);
    run.instance.forward(packet(V4::client(1), V4::vip), run.worker_of(1));
    EXPECT_EQ(all(), 1);
    run.instance.forward(closing(1), run.worker_of(1));
    EXPECT_EQ(all(), 0);
    run.instance.forward(closing(1), run.worker_of(1));
    EXPECT_EQ(all(), 0);
    run.open(1, 2);  // the same ports, a new connection
    EXPECT_EQ(all(), 1);
}

TEST_F(Counting, SilenceEndsAFlowWithoutAnotherPacket) {
    run.open(0, 50);
    EXPECT_EQ(all(), 50);
    for (std::uint32_t n = 0; n < 10; ++n) {
        run.instance.forward(packet(V4::client(n), V4::vip), run.worker_of(n));  // established
    }
    pass(Duration::seconds(11));  // the handshakes' time
    EXPECT_EQ(all(), 10);
    pass(Duration::seconds(3590));
    EXPECT_EQ(all(), 0);
}

TEST_F(Counting, FlowsOfAVipThatIsGoneCountNoMore) {
    auto service = scheduled(Scheduler::least_connections, {100, 100});
    service.vips.push_back(*Vip::parse("198.18.0.11:443/tcp"));
    Scheduling both{service, 1};
    for (std::uint32_t n = 0; n < 10; ++n) {
        Packet syn = packet(V4::client(n), "198.18.0.11:443");
        syn.tcp_flags = tcp_syn;
        both.instance.forward(syn);
    }
    service.vips.pop_back();
    both.instance.services() = {service};
    both.instance.publish();
    both.instance.clock.advance(Duration::seconds(1));
    both.instance.sweep();
    double sum = 0;
    for (const auto& [name, count] : both.counted()) sum += count;
    EXPECT_EQ(sum, 0);
}

TEST_F(Counting, AnEvictedFlowIsCountedNoMore) {
    Instance tiny({scheduled(Scheduler::least_connections, {100, 100})}, 1, 2);
    for (std::uint32_t n = 0; n < 100; ++n) tiny.forward(opening(n));  // handshakes give way to handshakes
    std::int32_t sum = 0;
    const auto tables = tiny.tables();
    for (std::uint32_t i = 1; i < tables.backends.count(); ++i) {
        sum += tiny.state().own_flows(WorkerIndex(0))[i].of(shm::Handle::of(i, tables.backends[i].incarnation));
    }
    EXPECT_GT(tiny.state().workers()[0].flows_evicted.read(), 0U);
    EXPECT_EQ(sum, 8);  // two buckets of four
}

TEST_F(Counting, ABackendThatComesBackBeginsWithoutFlows) {
    run.open(0, 40);
    auto& backends = run.instance.services()[0].backends;
    const auto gone = backends[0];
    backends.erase(backends.begin());
    run.instance.publish();
    backends.push_back(gone);
    run.instance.publish();
    EXPECT_EQ(run.counted().at(gone.key()), 0);
    // The flows it had before end: none of its own.
    pass(Duration::seconds(20));
    EXPECT_EQ(all(), 0);
    run.open(100, 140);
    EXPECT_EQ(run.counted().at(gone.key()), 20);
}

// A successor counts what its predecessor left, bucket by bucket, and a flow that ends meanwhile is counted right.
TEST_F(Counting, ASuccessorCountsWhatItFinds) {
    run.open(0, 300);
    run.instance.restart_workers();
    EXPECT_EQ(all(), 0);
    for (std::uint32_t n = 0; n < 50; ++n) run.close(n);
    run.open(300, 350);
    for (std::uint32_t bucket = 0; bucket < 1U << 14; bucket += dataplane::FlowSweep::buckets_per_step) {
        run.instance.poll();  // in a hurry: no time need pass
    }
    EXPECT_EQ(run.counted(), run.live);
    for (std::uint32_t n = 50; n < 350; ++n) run.close(n);
    EXPECT_EQ(all(), 0);
}

// The estimate of a worker: all flows as they were summed, and as many times its own change since as there are workers.
TEST(LiveFlows, AreTheSumAndOnesOwnChangeTimesTheWorkers) {
    Instance instance({scheduled(Scheduler::least_connections, {100, 100})}, 4);
    const auto tables = instance.tables();
    const shm::Handle handle = tables.handles(tables.listeners[1])[0];
    std::vector<dataplane::LiveFlows> workers;
    for (std::uint16_t w = 0; w < 4; ++w) workers.emplace_back(instance.state(), WorkerIndex(w));
    for (int i = 0; i < 5; ++i) workers[0].add(handle);
    for (int i = 0; i < 3; ++i) workers[1].add(handle);
    EXPECT_EQ(workers[0].estimate(handle), 20U);
    EXPECT_EQ(workers[2].estimate(handle), 0U);
    instance.sum_flows();
    for (const auto& worker : workers) EXPECT_EQ(worker.estimate(handle), 8U);
    workers[1].add(handle);
    workers[1].add(handle);
    EXPECT_EQ(workers[1].estimate(handle), 16U);
    EXPECT_EQ(workers[0].estimate(handle), 8U);
    for (int i = 0; i < 5; ++i) workers[1].remove(handle);
    EXPECT_EQ(workers[1].estimate(handle), 0U);  // never below nothing
    workers[1].remove(handle);                   // of a flow that was never counted
    EXPECT_EQ(instance.state().own_flows(WorkerIndex(1))[handle.index()].of(handle), 0);
    instance.sum_flows();
    for (const auto& worker : workers) EXPECT_EQ(worker.estimate(handle), 5U);
    // Another incarnation of the same index.
    const auto next = shm::Handle::of(handle.index(), handle.incarnation() + 1);
    EXPECT_EQ(workers[0].estimate(next), 0U);
    workers[0].add(next);
    EXPECT_EQ(workers[0].estimate(handle), 0U);
    workers[0].remove(handle);
    EXPECT_EQ(instance.state().own_flows(WorkerIndex(0))[handle.index()].of(next), 1);
}

// A burst never waits for the sweep: one poll looks at sixteen buckets, and a pass takes its ten seconds.
TEST(FlowSweep, IsBoundedPerPollAndPerPass) {
    Instance instance({scheduled(Scheduler::maglev, {100, 100})}, 1, 1U << 12);
    for (std::uint32_t n = 0; n < 2000; ++n) instance.forward(opening(n));
    instance.clock.advance(Duration::seconds(11));
    const auto left = [&] {
        std::size_t count = 0;
        dataplane::FlowTable(instance.state().flows(WorkerIndex(0))).for_each([&](auto&&...) { ++count; });
        return count;
    };
    const std::size_t before = left();
    EXPECT_EQ(before, 2000U);
    instance.poll();
    EXPECT_GE(left(), before - 64);  // four to a bucket
    EXPECT_LT(left(), before);
    // Polled every millisecond.
    for (int i = 0; i < 10'500; ++i) {
        instance.clock.advance(Duration::milliseconds(1));
        instance.poll();
    }
    EXPECT_EQ(left(), 0U);
}

}  // namespace
}  // namespace shunt::test
