// The generator of the benchmark: what it sends must be what it says, or the figures are of something else.
#include <gtest/gtest.h>

#include <set>

#include "tests/bench/bench_port.h"
#include "tests/bench/flow_order.h"
#include "tests/bench/services.h"

namespace shunt::bench {
namespace {

std::vector<std::uint32_t> round_of(FlowOrder& order, std::uint32_t flows) {
    std::vector<std::uint32_t> round;
    for (std::array<std::uint32_t, 1> next{}; round.size() < flows; round.push_back(next[0])) order.next(next);
    return round;
}

TEST(FlowOrder, EveryFlowOnceInARoundAndEveryRoundInAnotherOrder) {
    for (const std::uint32_t flows : {1U, 2U, 10'000U, 65'537U}) {
        FlowOrder order(7, flows);
        const auto first = round_of(order, flows);
        const auto second = round_of(order, flows);
        for (const auto& round : {first, second}) {
            const std::set<std::uint32_t> all(round.begin(), round.end());
            EXPECT_EQ(all.size(), flows);
            EXPECT_EQ(*all.begin(), 7U);
            EXPECT_EQ(*all.rbegin(), 7 + flows - 1);
        }
        EXPECT_EQ(first == second, flows <= 2);
    }
}

struct Frame {
    test::Seen seen;
    std::uint32_t length;
    bool header_checksum_right;
};

// As many frames as come, as they came. Transport checksums are those of the first flow: the path never looks.
std::vector<Frame> frames_of(Traffic traffic, std::size_t bursts) {
    BenchPort port(std::move(traffic));
    dataplane::Batch batch;
    std::vector<Frame> frames;
    for (std::size_t i = 0; i < bursts; ++i) {
        batch.clear();
        port.receive(batch);
        batch.for_each_staying([&](dataplane::Lane& lane) {
            const bool v4 = lane.header_at<Be16>(12) == ethertype_ipv4;
            frames.push_back({test::read({lane.bytes, lane.length}), lane.length,
                              !v4 || internet_checksum(lane.bytes + sizeof(EthernetHeader), sizeof(Ipv4Header)) == 0});
        });
    }
    EXPECT_EQ(port.received(), frames.size());
    return frames;
}

std::set<std::string> senders(const std::vector<Frame>& frames) {
    std::set<std::string> senders;
    for (const Frame& frame : frames) senders.insert(frame.seen.from());
    return senders;
}

TEST(BenchPort, EveryFlowIsAClientOfItsOwn) {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        const auto frames = frames_of(established({"nat", family}, 3200), 100);
        EXPECT_EQ(senders(frames).size(), 3200U);
        for (const Frame& frame : frames) {
            EXPECT_TRUE(frame.header_checksum_right);
            EXPECT_EQ(frame.seen.tcp_flags, tcp_ack);
            EXPECT_EQ(frame.seen.to(), family == Family::ipv4 ? "198.18.0.0:443" : "[2001:db8::]:443");
        }
    }
}

TEST(BenchPort, TenMillionFlowsAreTenMillionClients) {
    Traffic last = established({"nat", Family::ipv4}, 1);
    last.first_flow = 10'000'000 - 1;
    EXPECT_EQ(frames_of(last, 1).front().seen.from(), "198.19.150.127:1176");
}

TEST(BenchPort, PacketsAreSpreadOverAllServices) {
    std::set<std::string> services;
    for (const Frame& frame : frames_of(stateless_packets(), 4096)) {
        EXPECT_TRUE(frame.header_checksum_right);
        services.insert(frame.seen.to());
    }
    EXPECT_EQ(services.size(), 4096U);
}

TEST(BenchPort, TheMixIsAsItSays) {
    const auto frames = frames_of(mixed_packets(48'000), 1500);
    std::map<std::string, double> share;
    for (const Frame& frame : frames) {
        EXPECT_TRUE(frame.header_checksum_right);
        share[frame.seen.protocol == Protocol::tcp ? "tcp" : "udp"] += 1.0 / 48'000;
        share[frame.seen.source.is_v4() ? "v4" : "v6"] += 1.0 / 48'000;
        share[frame.length < 100 ? "small" : frame.length < 1000 ? "medium" : "large"] += 1.0 / 48'000;
    }
    EXPECT_NEAR(share["tcp"], 0.8, 0.01);
    EXPECT_NEAR(share["v4"], 0.5, 0.01);
    EXPECT_NEAR(share["small"], 7.0 / 12, 0.01);
    EXPECT_NEAR(share["medium"], 4.0 / 12, 0.01);
    EXPECT_NEAR(share["large"], 1.0 / 12, 0.01);
}

}  // namespace
}  // namespace shunt::bench
