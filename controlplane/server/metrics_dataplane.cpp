// What the data plane counts, by worker, port and reason. Counters outlive it: a successor goes on with them.
#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "controlplane/server/metrics.h"
#include "src/shm/drop_reason.h"

namespace shunt::controlplane {
namespace {

using Counter = shm::Counter shm::WorkerBlock::*;
using PortCounter = shm::Counter shm::WorkerBlock::PortCounters::*;

template <std::size_t size>
std::string text(const std::array<char, size>& padded) {
    const std::string_view all(padded.data(), padded.size());
    return std::string(all.substr(0, all.find('\0')));
}

Labels of_worker(std::size_t worker) { return {{"worker", std::to_string(worker)}}; }

void workers(const shm::StateReader& state, Instant now, Families& all) {
    const auto by_worker = [&](const char* name, const char* help, Counter counter) {
        auto family = Series::counter(all, name, help);
        for (std::size_t i = 0; i < state.workers().size(); ++i) {
            family.add((state.workers()[i].*counter).read(), of_worker(i));
        }
    };
    using Block = shm::WorkerBlock;
    by_worker("shunt_worker_received_packets_total", "received = forwarded + punted + dropped.", &Block::received);
    by_worker("shunt_worker_forwarded_packets_total", "Sent to a backend or back to a client.", &Block::forwarded);
    by_worker("shunt_worker_punted_packets_total", "Given to the kernel.", &Block::punted);
    by_worker("shunt_worker_dropped_packets_total", "Dropped, for whatever reason.", &Block::dropped);
    by_worker("shunt_worker_originated_packets_total", "Made by Shunt; no part of received.", &Block::originated);
    by_worker("shunt_worker_bursts_total", "Polls of a port.", &Block::bursts);
    by_worker("shunt_worker_busy_bursts_total", "Those that found packets.", &Block::busy_bursts);
    by_worker("shunt_flow_table_insertions_total", "Flows remembered.", &Block::flows_inserted);
    by_worker("shunt_flow_table_evictions_total", "Flows that gave way to others.", &Block::flows_evicted);
    by_worker("shunt_flows_not_remembered_total", "Flows for which there was no room.", &Block::flows_not_remembered);
    by_worker("shunt_flow_look_asides_total", "Looks into other workers' tables.", &Block::look_asides);
    auto age = Series::gauge(all, "shunt_worker_heartbeat_age_seconds", "Since the worker's last poll.");
    for (std::size_t i = 0; i < state.workers().size(); ++i) {
        const Instant then{static_cast<std::int64_t>(state.workers()[i].heartbeat.read())};
        const auto passed = std::max<std::int64_t>(0, (now - then).nanoseconds);
        if (then.nanoseconds != 0) age.add(static_cast<double>(passed) / 1e9, of_worker(i));
    }
    Series::gauge(all, "shunt_flow_table_capacity", "Entries of one flow that fit, over all workers.")
        .add(4 * state.shape().buckets_per_worker * state.shape().workers);
}

void ports(const shm::StateReader& state, Families& all) {
    const auto blocks = state.ports().first(
        std::min<std::size_t>(state.header().port_count.load(std::memory_order_acquire), shm::max_ports));
    const auto by_port = [&](const char* name, const char* help, PortCounter counter) {
        auto family = Series::counter(all, name, help);
        for (std::size_t i = 0; i < blocks.size(); ++i) {
            std::uint64_t sum = 0;
            for (const auto& worker : state.workers()) sum += (worker.ports[i].*counter).read();
            family.add(sum, {{"port", text(blocks[i].name)}});
        }
    };
    using Counters = shm::WorkerBlock::PortCounters;
    by_port("shunt_port_rx_packets_total", "Received by workers.", &Counters::received);
    by_port("shunt_port_rx_bytes_total", "The same in bytes.", &Counters::received_bytes);
    by_port("shunt_port_tx_packets_total", "Sent by workers.", &Counters::transmitted);
    by_port("shunt_port_tx_bytes_total", "The same in bytes.", &Counters::transmitted_bytes);
    by_port("shunt_punt_packets_total", "Given to the kernel.", &Counters::punted);
    auto missed = Series::counter(all, "shunt_port_rx_missed_total", "What the driver had no room for.");
    auto steered = Series::counter(all, "shunt_port_steered_packets_total", "What XDP steered to workers.");
    auto link = Series::gauge(all, "shunt_port_link_up", "1: the port has a link.");
    for (const auto& block : blocks) {
        const Labels port{{"port", text(block.name)}};
        missed.add(block.driver_missed.read(), port);
        steered.add(block.steered.read(), port);
        link.add(block.link_up.load(std::memory_order_relaxed) != 0, port);
    }
}

// By name: indices of services are used again.
void drops(const Documents& documents, Families& all) {
    std::map<std::pair<std::string, std::string_view>, std::uint64_t> sums;
    const shm::StateReader& state = *documents.state;
    for (std::uint16_t worker = 0; worker < state.shape().workers; ++worker) {
        const auto services = state.drops(WorkerIndex(worker));
        const auto known =
            std::clamp(documents.tables.services.count(), 1U, static_cast<std::uint32_t>(services.size()));
        for (std::uint32_t service = 0; service < known; ++service) {
            const auto name = [&] { return std::string(shm::name_of(documents.tables.services[service])); };
            for (const auto& reason : shm::drop_reasons) {
                const auto count = services[service].by_reason[static_cast<std::size_t>(reason.reason)].read();
                if (count != 0) sums[{service == 0 ? "" : name(), reason.name}] += count;
            }
        }
    }
    std::uint64_t unattached = 0;
    for (const auto& port : state.ports()) unattached += port.steered_unattached.read();
    sums[{"", shm::text_of(shm::DropReason::steered_unattached).name}] += unattached;
    auto family = Series::counter(all, "shunt_drops_total",
                                  "Dropped packets; service is empty before one is known. Reasons: shunt drops --all.");
    for (const auto& [of, count] : sums) family.add(count, {{"reason", std::string(of.second)}, {"service", of.first}});
}

}  // namespace

void dataplane_metrics(const Documents& documents, Families& all) {
    Series::gauge(all, "shunt_dataplane_up", "1: a data plane runs.").add(documents.core.progress().alive);
    if (!documents.state) return;
    workers(*documents.state, documents.now.instant, all);
    ports(*documents.state, all);
    drops(documents, all);
}

}  // namespace shunt::controlplane
