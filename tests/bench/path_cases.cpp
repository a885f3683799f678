// Packets through a worker.
#include <algorithm>
#include <array>
#include <string>

#include "tests/bench/balancer.h"
#include "tests/bench/bench_port.h"
#include "tests/bench/cases.h"
#include "tests/bench/services.h"

namespace shunt::bench {
namespace {

constexpr std::uint64_t default_flows = 1'048'576;  // of the configuration
constexpr std::uint32_t million = 1'000'000;

constexpr std::array<std::pair<const char*, std::uint32_t>, 4> flow_counts{
    {{"1", 1}, {"10k", 10'000}, {"1M", million}, {"10M", 10 * million}}};

// A table with room for both halves of so many flows; those of IPv6 take twice as much.
shm::StateShape room_for(std::uint64_t flows, std::uint32_t units_per_half) {
    return shm::state_shape(1, std::max(flows, default_flows) * units_per_half);
}

// One in a million may find no room, even with two moves (docs/decisions/0002).
void expect_known(const shm::WorkerBlock& counters, std::uint64_t flows) {
    const std::uint64_t inserted = counters.flows_inserted.read();
    if (inserted <= flows && flows - inserted <= flows / million) return;
    throw std::runtime_error(std::to_string(inserted) + " of " + std::to_string(flows) + " flows were inserted");
}

// Flows that are known: each is inserted by a packet of its own.
std::vector<Sample> known_flows(const config::DesiredState& state, Traffic traffic, std::uint32_t units_per_half,
                                const Plan& plan) {
    const std::uint32_t flows = traffic.flows;
    Balancer<BenchPort> balancer(state, room_for(flows, units_per_half), std::move(traffic));
    pass(balancer, flows);
    expect_known(balancer.counters(), flows);
    return in_turns(balancer, plan);
}

// Every packet the SYN of a flow never seen before. A hundred thousand new flows in a second and ten seconds for a
// handshake: a million half-open flows are in the table, and the places of those before them are free again.
std::vector<Sample> new_flows(const Plan& plan) {
    constexpr std::uint32_t never_repeats = 1U << 30;
    constexpr Kind nat4{"nat", Family::ipv4};
    Balancer<BenchPort> balancer(one_service(nat4), room_for(million, 1), opening(nat4, never_repeats));
    balancer.burst_lasts = Duration{std::int64_t{dataplane::burst_size} * 10'000};
    pass(balancer, 3 * million);
    auto samples = in_turns(balancer, plan);
    const shm::WorkerBlock& counters = balancer.counters();
    if (counters.flows_inserted.read() != balancer.received()) throw std::runtime_error("a new flow was not inserted");
    return samples;
}

std::vector<Sample> stateless(const Plan& plan) {
    Balancer<BenchPort> balancer(stateless_services(), room_for(default_flows, 1), stateless_packets());
    pass(balancer, default_flows / 2);  // every backend has been sent to
    auto samples = in_turns(balancer, plan);
    if (balancer.counters().flows_inserted.read() != 0) throw std::runtime_error("a flow was inserted");
    return samples;
}

}  // namespace

void add_path_cases(std::vector<Case>& cases) {
    cases.push_back({"floor", Unit::cycles_per_packet, [](const Plan& plan) { return in_turns(*make_floor(), plan); }});
    for (const auto& [name, kind] : kinds) {
        for (const auto& [text, flows] : flow_counts) {
            cases.push_back({std::string(name) + "/flows=" + text, Unit::cycles_per_packet,
                             [kind = kind, flows = flows](const Plan& plan) {
                                 return known_flows(one_service(kind), established(kind, flows),
                                                    kind.family == Family::ipv4 ? 1 : 2, plan);
                             }});
        }
    }
    cases.push_back({"new4/flows=1M", Unit::cycles_per_packet, new_flows});
    cases.push_back({"stateless4/services=4096", Unit::cycles_per_packet, stateless});
    cases.push_back({"mixed/flows=1M", Unit::cycles_per_packet,
                     [](const Plan& plan) { return known_flows(mixed_services(), mixed_packets(million), 2, plan); }});
}

}  // namespace shunt::bench
