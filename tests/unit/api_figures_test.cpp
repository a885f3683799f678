// What the data plane counts, as documents.
#include "src/api/figures.h"

#include <gtest/gtest.h>

#include <cstring>

#include "src/shm/region.h"

namespace shunt::api {
namespace {

using shm::DropReason;

class FiguresTest : public testing::Test {
  protected:
    static constexpr shm::StateShape shape{
        .workers = 2, .handles = 16, .services = 4, .reserved = 0, .buckets_per_worker = 1};

    FiguresTest() { shm::format_state(region_.data(), shape, {}); }
    shm::StateReader reader() const { return shm::StateReader(region_.data()); }
    void drop(std::uint16_t worker, std::uint32_t service, DropReason reason, std::uint64_t n) {
        state_.drops(WorkerIndex(worker))[service].by_reason[static_cast<std::size_t>(reason)].add(n);
    }

    shm::Region region_{shm::Region::anonymous(shm::StateLayout::of(shape).total)};
    shm::State state_{(shm::format_state(region_.data(), shape, {}), region_.data())};
};

TEST_F(FiguresTest, Workers) {
    auto& worker = state_.workers()[1];
    worker.core = 3;
    worker.online.store(1);
    worker.passed.store(42);
    worker.heartbeat.set(2'000'000'000);
    worker.received.set(10);
    worker.forwarded.set(7);
    worker.punted.set(1);
    worker.dropped.set(2);
    std::strcpy(state_.ports()[0].name.data(), "lan0");
    state_.header().port_count.store(1);
    worker.ports[0].received.set(10);

    const auto document = workers(reader(), Instant{2'250'000'000})["workers"];
    ASSERT_EQ(document.size(), 2u);
    EXPECT_TRUE(document[0]["heartbeat_age_ms"].is_null());
    const auto& json = document[1];
    EXPECT_EQ(json["id"], 1);
    EXPECT_EQ(json["core"], 3);
    EXPECT_EQ(json["online"], true);
    EXPECT_EQ(json["generation"], 42);
    EXPECT_EQ(json["heartbeat_age_ms"], 250);
    EXPECT_EQ(json["received"], 10);
    EXPECT_EQ(json["ports"][0]["port"], "lan0");
    EXPECT_EQ(json["ports"][0]["received"], 10);
    EXPECT_EQ(traffic(reader()).received, 10u);
    EXPECT_EQ(to_json(traffic(reader()))["dropped"], 2);
}

TEST_F(FiguresTest, DropsHaveNamesAndSentences) {
    drop(0, 0, DropReason::header_truncated, 3);
    drop(1, 2, DropReason::no_backend, 5);
    drop(1, 3, DropReason::no_backend, 1);  // of a service that is gone
    const auto name = [](ServiceIndex index) { return std::string(index.value == 2 ? "dns" : ""); };
    const auto document = drops(reader(), name, false)["drops"];
    ASSERT_EQ(document.size(), 3u);
    EXPECT_EQ(document[0]["reason"], "header_truncated");
    EXPECT_TRUE(document[0]["service"].is_null());
    EXPECT_EQ(document[0]["worker"], 0);
    EXPECT_EQ(document[1]["service"], "dns");
    EXPECT_EQ(document[1]["total"], 5);
    EXPECT_FALSE(document[1]["meaning"].get<std::string>().empty());
    EXPECT_TRUE(document[2]["service"].is_null());

    const auto all = drops(reader(), name, true)["drops"];
    // Per worker: without a service, dns, and the one that is gone only where it counted; and the steering program's.
    const std::size_t reasons = shm::drop_reasons.size() - 2;
    EXPECT_EQ(all.size(), 2 * 2 * reasons + 1 + 1);
}

TEST_F(FiguresTest, WhatTheSteeringProgramDroppedBelongsToNoWorker) {
    state_.header().port_count.store(2);
    state_.ports()[0].steered_unattached.set(2);
    state_.ports()[1].steered_unattached.set(3);
    const auto document = drops(
        reader(), [](ServiceIndex) { return std::string(); }, false)["drops"];
    ASSERT_EQ(document.size(), 1u);
    EXPECT_EQ(document[0]["reason"], "steered_unattached");
    EXPECT_TRUE(document[0]["worker"].is_null());
    EXPECT_EQ(document[0]["total"], 5);
}

TEST_F(FiguresTest, PortsAndBackendsAreSumsOverWorkers) {
    state_.header().port_count.store(1);
    std::strcpy(state_.ports()[0].name.data(), "a-name-of-16-by");
    state_.ports()[0].mtu = 1500;
    state_.ports()[0].driver_received.set(12);
    state_.workers()[0].ports[0].received.set(5);
    state_.workers()[1].ports[0].received.set(7);
    const auto port = ports(reader())["ports"][0];
    EXPECT_EQ(port["name"], "a-name-of-16-by");
    EXPECT_EQ(port["received"], 12);
    EXPECT_EQ(port["driver_received"], 12);

    state_.backends(WorkerIndex(0))[7].forth.packets.set(1);
    state_.backends(WorkerIndex(1))[7].forth.packets.set(2);
    state_.backends(WorkerIndex(1))[7].back.bytes.set(9);
    EXPECT_EQ(backend_traffic(reader(), 7).packets, 3u);
    EXPECT_EQ(backend_traffic(reader(), 7).return_bytes, 9u);
    EXPECT_EQ(backend_traffic(reader(), 16).packets, 0u);  // beyond the region's shape
}

}  // namespace
}  // namespace shunt::api
