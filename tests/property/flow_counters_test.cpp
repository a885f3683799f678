// Ten times more flows than there is room for, through the worker itself: all are forwarded, and its counters say
// exactly what became of them.
#include <gtest/gtest.h>

#include "src/base/random.h"
#include "src/shm/flow_scan.h"
#include "tests/support/instance.h"

namespace shunt::test {
namespace {

constexpr std::uint32_t buckets = 1024;
constexpr std::uint32_t packets = 10 * 4 * buckets;

IpAddress client(bool v4, std::uint32_t n) {
    if (v4) return IpAddress::v4(198, 19, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n));
    return IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(n >> 8),
                          static_cast<std::uint8_t>(n)});
}

class FlowCounters : public testing::TestWithParam<bool> {};

TEST_P(FlowCounters, AreExactWhenThereIsNoRoom) {
    const bool v4 = GetParam();
    Instance instance({make_service("web", {"198.18.0.10:80/tcp", "[2001:db8::10]:80/tcp"},
                                    {"198.18.2.11", "198.18.2.12", "2001:db8:2::11", "2001:db8:2::12"})},
                      1, buckets);
    Random random(4);
    for (std::uint32_t n = 0; n < packets; n += 32) {
        std::vector<Bytes> burst;
        for (std::uint32_t i = n; i < n + 32; ++i) {
            Packet packet{.source = client(v4, i),
                          .destination = *IpAddress::parse(v4 ? "198.18.0.10" : "2001:db8::10"),
                          .source_port = 40000,
                          .destination_port = 80,
                          .tcp_flags = random.below(8) == 0 ? tcp_syn : tcp_ack};
            burst.push_back(packet.build());
        }
        EXPECT_EQ(instance.burst(burst).sent.size(), 32U);
        if (n % (packets / 8) == 0) instance.clock.advance(Duration::milliseconds(500));
    }
    const shm::WorkerBlock& worker = instance.state().workers()[0];
    const std::uint64_t inserted = worker.flows_inserted.read();
    const std::uint64_t evicted = worker.flows_evicted.read();
    std::uint64_t entries = 0;
    shm::FlowScan scan({});
    while (!scan.step(instance.state(), instance.tables(), Tick::at(instance.clock.now()), 4096,
                      [&](const shm::Flow&) { ++entries; })) {
    }
    EXPECT_EQ(inserted + worker.flows_not_remembered.read(), packets);
    EXPECT_EQ(entries, inserted - evicted);  // nothing was here long enough to die
    EXPECT_GT(evicted, packets / 10);
    EXPECT_GT(worker.flows_not_remembered.read(), packets / 10);
    EXPECT_GT(entries, (v4 ? 4U : 2U) * buckets * 9 / 10);
    instance.expect_conservation();
}
INSTANTIATE_TEST_SUITE_P(Families, FlowCounters, testing::Bool());

}  // namespace
}  // namespace shunt::test
