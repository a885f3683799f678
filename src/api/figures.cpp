#include "src/api/figures.h"

#include <algorithm>
#include <string_view>

namespace shunt::api {
namespace {

template <std::size_t size>
std::string text(const std::array<char, size>& padded) {
    const std::string_view all(padded.data(), padded.size());
    return std::string(all.substr(0, all.find('\0')));
}

std::size_t port_count(const shm::StateReader& state) {
    return std::min<std::size_t>(state.header().port_count.load(std::memory_order_acquire), shm::max_ports);
}

Json port_of_worker(const shm::WorkerBlock::PortCounters& counters, std::string name) {
    return {{"port", std::move(name)},
            {"received", counters.received.read()},
            {"received_bytes", counters.received_bytes.read()},
            {"transmitted", counters.transmitted.read()},
            {"transmitted_bytes", counters.transmitted_bytes.read()},
            {"punted", counters.punted.read()}};
}

Json worker_json(const shm::StateReader& state, const shm::WorkerBlock& worker, std::size_t id, Instant now) {
    const auto heartbeat = Instant{static_cast<std::int64_t>(worker.heartbeat.read())};
    Json json{{"id", id},
              {"core", worker.core},
              {"online", worker.online.load(std::memory_order_relaxed) != 0},
              {"generation", worker.passed.load(std::memory_order_relaxed)},
              {"heartbeat_age_ms", nullptr},
              {"received", worker.received.read()},
              {"forwarded", worker.forwarded.read()},
              {"punted", worker.punted.read()},
              {"dropped", worker.dropped.read()},
              {"originated", worker.originated.read()},
              {"bursts", worker.bursts.read()},
              {"busy_bursts", worker.busy_bursts.read()},
              {"flows_inserted", worker.flows_inserted.read()},
              {"flows_copied", worker.flows_copied.read()},
              {"flows_derived", worker.flows_derived.read()},
              {"flows_not_remembered", worker.flows_not_remembered.read()},
              {"flows_evicted", worker.flows_evicted.read()},
              {"look_asides", worker.look_asides.read()},
              {"ports", Json::array()}};
    if (heartbeat.nanoseconds != 0)
        json["heartbeat_age_ms"] = std::max<std::int64_t>(0, (now - heartbeat).in_milliseconds());
    for (std::size_t port = 0; port < port_count(state); ++port) {
        json["ports"].push_back(port_of_worker(worker.ports[port], text(state.ports()[port].name)));
    }
    return json;
}

bool counted_by_workers(shm::DropReason reason) {
    return reason != shm::DropReason::not_dropped && reason != shm::DropReason::steered_unattached;
}

Json drop_json(shm::DropReason reason, Json service, Json worker, std::uint64_t total) {
    return {{"reason", shm::text_of(reason).name},
            {"service", std::move(service)},
            {"worker", std::move(worker)},
            {"total", total},
            {"meaning", shm::text_of(reason).meaning}};
}

}  // namespace

Traffic traffic(const shm::StateReader& state) {
    Traffic sum;
    for (const auto& worker : state.workers()) {
        sum.received += worker.received.read();
        sum.forwarded += worker.forwarded.read();
        sum.punted += worker.punted.read();
        sum.dropped += worker.dropped.read();
        sum.originated += worker.originated.read();
    }
    return sum;
}

Json to_json(const Traffic& traffic) {
    return {{"received", traffic.received},
            {"forwarded", traffic.forwarded},
            {"punted", traffic.punted},
            {"dropped", traffic.dropped},
            {"originated", traffic.originated}};
}

Json workers(const shm::StateReader& state, Instant now) {
    Json list = Json::array();
    std::size_t id = 0;
    for (const auto& worker : state.workers()) list.push_back(worker_json(state, worker, id++, now));
    return {{"workers", std::move(list)}};
}

Json drops(const shm::StateReader& state, const NameOfService& name_of_service, bool zeros) {
    Json list = Json::array();
    for (std::uint32_t worker = 0; worker < state.shape().workers; ++worker) {
        const auto services = state.drops(WorkerIndex(static_cast<std::uint16_t>(worker)));
        for (std::uint32_t service = 0; service < services.size(); ++service) {
            const std::string name =
                service == 0 ? "" : name_of_service(ServiceIndex(static_cast<std::uint16_t>(service)));
            for (const auto& reason : shm::drop_reasons) {
                if (!counted_by_workers(reason.reason)) continue;
                const auto total = services[service].by_reason[static_cast<std::size_t>(reason.reason)].read();
                const bool named = service == 0 || !name.empty();
                if (total == 0 && !(zeros && named)) continue;
                list.push_back(drop_json(reason.reason, name.empty() ? Json(nullptr) : Json(name), worker, total));
            }
        }
    }
    // Those of the steering program: nobody was attached, so there was no worker either.
    std::uint64_t unattached = 0;
    for (std::size_t i = 0; i < port_count(state); ++i) unattached += state.ports()[i].steered_unattached.read();
    if (unattached != 0 || zeros)
        list.push_back(drop_json(shm::DropReason::steered_unattached, nullptr, nullptr, unattached));
    return {{"drops", std::move(list)}};
}

Json ports(const shm::StateReader& state) {
    Json list = Json::array();
    for (std::size_t i = 0; i < port_count(state); ++i) {
        const auto& port = state.ports()[i];
        std::uint64_t received{}, received_bytes{}, transmitted{}, transmitted_bytes{}, punted{};
        for (const auto& worker : state.workers()) {
            const auto& mine = worker.ports[i];
            received += mine.received.read();
            received_bytes += mine.received_bytes.read();
            transmitted += mine.transmitted.read();
            transmitted_bytes += mine.transmitted_bytes.read();
            punted += mine.punted.read();
        }
        list.push_back({{"name", text(port.name)},
                        {"device", text(port.device)},
                        {"mac", port.mac.text()},
                        {"mtu", port.mtu},
                        {"link_up", port.link_up.load(std::memory_order_relaxed) != 0},
                        {"received", received},
                        {"received_bytes", received_bytes},
                        {"transmitted", transmitted},
                        {"transmitted_bytes", transmitted_bytes},
                        {"punted", punted},
                        {"driver_received", port.driver_received.read()},
                        {"driver_missed", port.driver_missed.read()},
                        {"steered", port.steered.read()},
                        {"steered_unattached", port.steered_unattached.read()}});
    }
    return {{"ports", std::move(list)}};
}

BackendTraffic backend_traffic(const shm::StateReader& state, std::uint32_t handle_index) {
    BackendTraffic sum;
    if (handle_index >= state.shape().handles) return sum;
    for (std::uint32_t worker = 0; worker < state.shape().workers; ++worker) {
        const auto& mine = state.backends(WorkerIndex(static_cast<std::uint16_t>(worker)))[handle_index];
        sum.packets += mine.forth.packets.read();
        sum.bytes += mine.forth.bytes.read();
        sum.return_packets += mine.back.packets.read();
        sum.return_bytes += mine.back.bytes.read();
    }
    return sum;
}

}  // namespace shunt::api
