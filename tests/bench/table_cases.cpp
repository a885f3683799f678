// What the control plane computes, and the memory that flows take.
#include "src/balance/maglev.h"
#include "tests/bench/balancer.h"
#include "tests/bench/bench_port.h"
#include "tests/bench/cases.h"
#include "tests/bench/services.h"

namespace shunt::bench {
namespace {

std::vector<Sample> maglev(std::uint32_t table_size, std::uint32_t runs) {
    std::vector<WeightedKey> backends;
    for (std::uint32_t i = 0; i < 1000; ++i) {
        backends.push_back({"198.18." + std::to_string(i / 250) + "." + std::to_string(i % 250) + ":443", 100});
    }
    return milliseconds(runs, [&] {
        if (maglev_table(backends, table_size).size() != table_size) throw std::runtime_error("not a table");
    });
}

// From the change of a backend in the desired state to the end of the worker's first burst with it.
std::vector<Sample> publish() {
    Balancer<BenchPort> balancer(stateless_services(), shm::state_shape(1, 1'048'576), stateless_packets());
    auto& services = balancer.desired().services;
    std::size_t turn = 0;
    return milliseconds(61, [&] {
        auto& backend = services[turn++ * 37 % services.size()].backends[3];
        backend.state = config::BackendState::drain;
        const std::uint64_t before = balancer.counters().passed.load();
        balancer.publish();
        balancer.run(1);
        if (balancer.counters().passed.load() == before) throw std::runtime_error("nothing was published");
    });
}

// Of a table at full size that is filled until one half in a thousand finds no room; all of the state region counts.
std::vector<Sample> flow_bytes(Family family) {
    constexpr std::uint64_t flows = 10'000'000;
    const Kind kind{"nat", family};
    const shm::StateShape shape = shm::state_shape(1, flows);
    Balancer<BenchPort> balancer(one_service(kind), shape, established(kind, 4 * flows));
    balancer.burst_lasts = {};  // nothing is idle: who is in stays in
    const shm::WorkerBlock& counters = balancer.counters();
    while (counters.flows_not_remembered.read() * 1000 <= counters.flows_inserted.read()) pass(balancer, 10'000);
    if (counters.flows_evicted.read() != 0) throw std::runtime_error("an active flow gave way");
    const auto halves = static_cast<double>(counters.flows_inserted.read());
    return {{2 * static_cast<double>(shm::StateLayout::of(shape).total) / halves}};
}

}  // namespace

void add_table_cases(std::vector<Case>& cases) {
    cases.push_back({"maglev/m=65537,n=1000", Unit::ms, [](const Plan&) { return maglev(65'537, 101); }});
    cases.push_back({"maglev/m=655373,n=1000", Unit::ms, [](const Plan&) { return maglev(655'373, 31); }});
    cases.push_back({"publish/services=4096", Unit::ms, [](const Plan&) { return publish(); }});
    cases.push_back({"flow_bytes/nat4", Unit::bytes, [](const Plan&) { return flow_bytes(Family::ipv4); }});
    cases.push_back({"flow_bytes/nat6", Unit::bytes, [](const Plan&) { return flow_bytes(Family::ipv6); }});
}

}  // namespace shunt::bench
