// Lives of a data plane on one directory, one after the other: what one remembers the next ones find, whatever their
// number of workers, and nobody needs what was left for longer than it says something.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/main/requests.h"
#include "dataplane/main/state_region.h"
#include "src/base/random.h"
#include "src/shm/state_file.h"
#include "tests/support/instance.h"
#include "tests/support/temporary_directory.h"

namespace shunt::test {
namespace {

using dataplane::StateRegion;

constexpr std::uint64_t tables_identity = 77;

// One data plane, from its start to its death.
class Life {
  public:
    Life(Instance& world, const std::string& directory, std::uint32_t workers, std::uint64_t buckets = 64)
        : world_(world),
          region_(take(directory, {workers, 64, 4, 0, buckets}, world.clock.now())),
          hand_over_(static_cast<std::uint16_t>(workers)) {
        bound_ = region_.bind_tables(tables_identity);
        state().header().accepted.store(world.tables().generation().value);
        const auto predecessors = region_.predecessors().regions();
        for (std::uint16_t i = 0; i < workers; ++i) {
            ports_.push_back(std::make_unique<dataplane::MemoryPort>(pool_, port_mac));
            workers_.push_back(std::make_unique<Worker>(world.tables_region(), state(), WorkerIndex(i),
                                                        std::vector{ports_[i].get()}, world.clock, hand_over_,
                                                        predecessors));
        }
    }
    Life(Life&&) = delete;

    // Where a packet went; unspecified: nowhere.
    Seen send(const Packet& packet, std::size_t worker) {
        EXPECT_TRUE(ports_[worker]->inject(packet.build()));
        state().header().heartbeat.store(world_.clock.now().nanoseconds);
        workers_[worker]->poll_once();
        Seen seen;
        for (const auto* buffer : ports_[worker]->sent()) seen = read(buffer->bytes());
        ports_[worker]->clear_output();
        return seen;
    }
    void poll() {
        for (auto& worker : workers_) worker->poll_once();
    }
    // The main thread, until it has passed through all that was left.
    void tidy(int turns = 200) {
        for (int turn = 0; turn < turns; ++turn) {
            world_.clock.advance(Duration::milliseconds(100));
            region_.predecessors().turn(state(), world_.tables(), world_.clock.now(), tick());
            poll();
        }
    }
    Tick tick() const { return Tick::at({world_.clock.now().nanoseconds - header().downtime_nanoseconds}); }
    // How often each client's flow is met, as `shunt flow list` would.
    std::map<std::string, int> flows() {
        const auto left = region_.predecessors().regions();
        std::map<std::string, int> met;
        shm::FlowScan scan({});
        while (!scan.step({state(), left}, world_.tables(), tick(), 50, [&](const shm::Flow& flow) {
            if (flow.is_first()) ++met[flow.key.peer.text()];
        })) {
        }
        return met;
    }
    void expect_conservation() {
        for (const shm::WorkerBlock& worker : state().workers()) {
            EXPECT_EQ(worker.received.read(), worker.forwarded.read() + worker.punted.read() + worker.dropped.read());
        }
    }

    shm::State state() { return region_.state(); }
    const shm::StateHeader& header() const { return const_cast<Life*>(this)->state().header(); }
    StateRegion& region() { return region_; }
    Worker& worker(std::size_t i) { return *workers_[i]; }
    bool bound() const { return bound_; }

  private:
    static StateRegion take(const std::string& directory, const shm::StateShape& shape, Instant now) {
        auto region = StateRegion::take(
            directory, {.shape = shape,
                        .boot_id = "0f0f0f0f",
                        .flow_seed = {{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93}},
                        .now = now,
                        .memory_available = 1 << 30});
        EXPECT_TRUE(region) << region.error().text();
        return *std::move(region);
    }

    Instance& world_;
    StateRegion region_;
    dataplane::MemoryPool pool_{256};
    std::vector<std::unique_ptr<dataplane::MemoryPort>> ports_;
    dataplane::HandOver hand_over_;
    std::vector<std::unique_ptr<Worker>> workers_;
    bool bound_{};
};

class Succession : public testing::TestWithParam<bool> {
  protected:
    Succession() { world_.clock.advance(Duration::seconds(1000)); }

    static bool v4() { return GetParam(); }
    static Packet packet(int client, std::uint8_t flags) {
        return {.source = *IpAddress::parse((v4() ? "203.0.113." : "2001:db8:c::") + std::to_string(client)),
                .destination = *IpAddress::parse(v4() ? "198.18.0.10" : "2001:db8::10"),
                .source_port = 40000,
                .destination_port = 80,
                .tcp_flags = flags};
    }
    Packet reply(int client) const {
        Packet result = packet(client, tcp_ack);
        return {.source = chosen_.at(client),
                .destination = result.source,
                .source_port = 80,
                .destination_port = 40000,
                .tcp_flags = tcp_ack};
    }
    void open(Life& life, int first, int last) {
        for (int client = first; client <= last; ++client) {
            const std::size_t worker = static_cast<std::size_t>(client) % life.state().shape().workers;
            life.send(packet(client, tcp_syn), worker);
            chosen_[client] = life.send(packet(client, tcp_ack), worker).destination;
            // RSS deals the replies to somebody else.
            life.send(reply(client), (worker + 1) % life.state().shape().workers);
        }
    }
    // The next packets of everybody's, some of whom are first heard of by a reply.
    void expect_all_go_on(Life& life) {
        const std::uint32_t workers = life.state().shape().workers;
        for (const auto& [client, backend] : chosen_) {
            const auto worker = static_cast<std::size_t>(client * 7 / 3) % workers;
            if (client % 3 == 0) {
                ASSERT_EQ(life.send(reply(client), (worker + 1) % workers).destination, packet(client, 0).source);
            }
            ASSERT_EQ(life.send(packet(client, tcp_ack), worker).destination, backend) << client;
            ASSERT_EQ(life.send(reply(client), (worker + 1) % workers).destination, packet(client, 0).source);
        }
    }
    // The table does not say any more what it said when the flows opened.
    void change_the_table() {
        first_is_heavy_ = !first_is_heavy_;
        auto& backends = world_.services()[0].backends;
        for (auto& backend : backends) backend.weight = first_is_heavy_ ? 1 : 100;
        backends[0].weight = first_is_heavy_ ? 100 : 1;
        world_.publish();
    }
    void expect_each_once(Life& life) {
        const auto met = life.flows();
        EXPECT_EQ(met.size(), chosen_.size());
        for (const auto& [client, times] : met) EXPECT_EQ(times, 1) << client;
    }

    Instance world_{{make_service("web", {v4() ? "198.18.0.10:80/tcp" : "[2001:db8::10]:80/tcp"},
                                  {v4() ? "198.18.2.11" : "2001:db8:2::11", v4() ? "198.18.2.12" : "2001:db8:2::12",
                                   v4() ? "198.18.2.13" : "2001:db8:2::13"})}};
    TemporaryDirectory directory_{"/dev/shm"};  // where regions are: a disk would be a bottleneck
    std::map<int, IpAddress> chosen_;
    bool first_is_heavy_{};
};
INSTANTIATE_TEST_SUITE_P(Families, Succession, testing::Bool());

TEST_P(Succession, FlowsGoOnWithAnyNumberOfWorkersAndAnySize) {
    struct Shape {
        std::uint32_t workers;
        std::uint64_t buckets;
    };
    int next = 1;
    for (const Shape shape : {Shape{2, 64}, Shape{1, 64}, Shape{3, 32}, Shape{2, 200}, Shape{2, 200}, Shape{1, 100}}) {
        Life life(world_, directory_.path(), shape.workers, shape.buckets);
        expect_each_once(life);
        expect_all_go_on(life);
        open(life, next, next + 19);
        next += 20;
        expect_each_once(life);
        change_the_table();
        life.state().header().accepted.store(world_.tables().generation().value);
        expect_all_go_on(life);
        life.expect_conservation();
        world_.clock.advance(Duration::seconds(1));
    }
}

// What nobody knows but a predecessor is what keeps it.
TEST_P(Succession, APredecessorIsLetGoOfWhenNobodyNeedsItAnyMore) {
    {
        Life first(world_, directory_.path(), 2);
        open(first, 1, 40);
    }
    Life second(world_, directory_.path(), 1);
    second.tidy();
    EXPECT_EQ(second.header().predecessors_kept.load(), 1U) << "40 flows have not spoken yet";
    EXPECT_EQ(second.flows().size(), 40U);
    expect_all_go_on(second);
    expect_each_once(second);
    second.tidy();
    EXPECT_EQ(second.header().predecessors_kept.load(), 0U);
    EXPECT_TRUE(second.region().predecessors().empty());
    EXPECT_FALSE(std::filesystem::exists(directory_.path("state.1")));
    expect_each_once(second);
    expect_all_go_on(second);
}

TEST_P(Succession, FlowsThatFallSilentEndInTimeThereToo) {
    {
        Life first(world_, directory_.path(), 2);
        open(first, 1, 40);
    }
    world_.clock.advance(Duration::seconds(100'000));  // of downtime, which does not count
    Life second(world_, directory_.path(), 1);
    EXPECT_EQ(second.flows().size(), 40U);
    world_.clock.advance(Duration::seconds(3590));
    EXPECT_EQ(second.flows().size(), 40U);
    world_.clock.advance(Duration::seconds(11));
    EXPECT_EQ(second.flows().size(), 0U);
    second.tidy();
    EXPECT_TRUE(second.region().predecessors().empty());
}

// Of a flow that closed here nothing is left there; and a worker that stands between two looks is waited for.
TEST_P(Succession, WhatAWorkerKnowsIsClearedOnceItIsQuiet) {
    {
        Life first(world_, directory_.path(), 2);
        open(first, 1, 10);
    }
    Life second(world_, directory_.path(), 1);
    second.send(packet(1, tcp_ack), 0);
    const auto left = [&] {
        std::uint64_t units = 0;
        for (const auto& region : second.region().predecessors().regions()) {
            for (std::uint16_t i = 0; i < 2; ++i) {
                for (const auto& bucket : region.flows(WorkerIndex(i))) {
                    for (std::uint8_t unit = 0; unit < 4; ++unit) units += shm::read_flow(bucket, unit).has_value();
                }
            }
        }
        return units;
    };
    EXPECT_EQ(left(), 20U) << "both halves of each";
    for (int turn = 0; turn < 10; ++turn) {
        second.region().predecessors().turn(second.state(), world_.tables(), world_.clock.now(), second.tick());
    }
    EXPECT_EQ(left(), 20U);
    second.tidy();
    EXPECT_EQ(left(), 18U);
    EXPECT_EQ(second.flows().size(), 10U);
}

TEST_P(Succession, KilledFlowsAreKilledThereToo) {
    {
        Life first(world_, directory_.path(), 2);
        open(first, 1, 40);
    }
    Life second(world_, directory_.path(), 1);
    for (int client = 1; client <= 10; ++client) second.send(packet(client, tcp_ack), 0);
    shm::TablesHeader tables{};
    dataplane::Requests requests(tables, second.state(), {&second.worker(0).forget_list()}, {},
                                 &second.region().predecessors());
    tables.requests[1] = {1, shm::RequestKind::kill_flows, 0, {}};
    tables.requested.store(1);
    for (int turn = 0; turn < 100 && second.header().answered.load() == 0; ++turn) {
        requests.turn(world_.tables(), second.tick());
        second.poll();
    }
    EXPECT_EQ(second.header().answers[1].flows, 40U);
    EXPECT_EQ(second.flows().size(), 0U);
    change_the_table();
    second.state().header().accepted.store(world_.tables().generation().value);
    int moved = 0;
    for (const auto& [client, backend] : chosen_) {
        moved += second.send(packet(client, tcp_ack), 0).destination != backend;
    }
    EXPECT_GT(moved, 0) << "they choose again";
}

TEST_P(Succession, OtherTablesMakeWhatWasLeftMeaningless) {
    {
        Life first(world_, directory_.path(), 2);
        open(first, 1, 10);
    }
    Life second(world_, directory_.path(), 1);
    EXPECT_TRUE(second.bound());
    EXPECT_FALSE(second.region().bind_tables(tables_identity + 1));
    EXPECT_EQ(second.flows().size(), 0U);
    EXPECT_FALSE(std::filesystem::exists(directory_.path("state.1")));
}

// `shunt flow list` and the metrics read by the name `state`.
TEST_P(Succession, ReadersFollow) {
    shm::StateFile file(directory_.path("state"));
    {
        Life first(world_, directory_.path(), 2);
        open(first, 1, 10);
        ASSERT_TRUE(file.look());
        EXPECT_TRUE(file.left().empty());
    }
    Life second(world_, directory_.path(), 1);
    ASSERT_TRUE(file.look());
    EXPECT_EQ(file.look()->header().incarnation, 2U);
    ASSERT_EQ(file.left().size(), 1U);
    EXPECT_EQ(file.left()[0].header().incarnation, 1U);
    world_.clock.advance(Duration::seconds(4000));
    second.tidy();
    ASSERT_TRUE(file.look());
    EXPECT_TRUE(file.left().empty());
    std::filesystem::resize_file(directory_.path("state.2"), 8192);
    EXPECT_FALSE(file.look()) << "cut short under the reader";
    EXPECT_NE(file.problem(), "");
}

// Schedulers by load count every flow once, whoever copied it.
TEST_P(Succession, CopiedFlowsAreCountedOnce) {
    {
        Life first(world_, directory_.path(), 2);
        open(first, 1, 30);
    }
    Life second(world_, directory_.path(), 3);
    expect_all_go_on(second);
    std::int32_t all = 0;
    const shm::Tables tables = world_.tables();
    for (std::uint32_t index = 1; index < 64; ++index) {
        const shm::BackendRecord* record = index < tables.backends.count() ? &tables.backends[index] : nullptr;
        if (record == nullptr) continue;
        for (std::uint16_t i = 0; i < 3; ++i) {
            all += second.state().own_flows(WorkerIndex(i))[index].of(shm::Handle::of(index, record->incarnation));
        }
    }
    EXPECT_EQ(all, 30);
}

// Nothing that memory can say brings a worker to its knees: at worst a flow is not found.
TEST_P(Succession, TenThousandFlippedBitsDoNoHarm) {
    {
        Life first(world_, directory_.path(), 2, 16);
        open(first, 1, 60);
    }
    const std::string path = directory_.path("state.1");
    std::string pristine;
    {
        const auto region = shm::Region::open(path, shm::Region::Access::read_only);
        pristine.assign(reinterpret_cast<const char*>(region->data()), region->file_bytes());
    }
    const shm::StateLayout at = shm::StateLayout::of({2, 64, 4, 0, 16});
    Random random(7);
    constexpr int rounds = 20;
    constexpr int flips = 500;
    for (int round = 0; round < rounds; ++round) {
        std::filesystem::remove_all(directory_.path());
        std::filesystem::create_directory(directory_.path());
        {
            auto region = shm::Region::create(path, pristine.size(), pristine.size());
            std::memcpy(region->data(), pristine.data(), pristine.size());
            for (int flip = 0; flip < flips; ++flip) {
                // Half of them anywhere, half where flows and their keys are.
                const std::uint64_t first = flip % 2 == 0 ? shm::first_worker_offset : at.flows;
                const std::uint64_t byte = first + random.below(at.total - first);
                region->at<std::uint8_t>(byte) ^= static_cast<std::uint8_t>(1U << random.below(8));
            }
            std::filesystem::create_hard_link(path, directory_.path("state"));
        }
        Life life(world_, directory_.path(), round % 2 == 0 ? 2 : 1, 16);  // adopted, or looked aside into
        EXPECT_NE(life.region().origin(), StateRegion::Origin::damaged);
        for (int client = 1; client <= 120; ++client) {
            const std::size_t worker = static_cast<std::size_t>(client) % life.state().shape().workers;
            life.send(packet(client, client % 5 == 0 ? tcp_syn : tcp_ack), worker);
            if (chosen_.contains(client)) life.send(reply(client), worker);
        }
        life.flows();
        life.tidy(40);
        life.expect_conservation();
    }
}

}  // namespace
}  // namespace shunt::test
