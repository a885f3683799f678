#include "src/api/flows.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

namespace shunt::api {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 4> by_words{"service", "backend", "state", "worker"};
constexpr std::array<std::string_view, shm::flow_states> state_words{"syn", "established", "fin", "udp"};

Json service_name(const shm::Tables& tables, ServiceIndex index) {
    return std::string(shm::name_of(tables.services[index.value]));
}

Json worker_list(std::uint64_t workers) {
    Json list = Json::array();
    for (int worker = 0; worker < 64; ++worker) {
        if ((workers >> worker & 1) != 0) list.push_back(worker);
    }
    return list;
}

}  // namespace

Json to_json(const shm::Flow& flow, const shm::Tables& tables) {
    const shm::ListenerRecord& listener = *flow.listener;
    return {{"client", flow.key.peer.text()},
            {"client_port", flow.key.peer_port.host()},
            {"vip", Endpoint{listener.address, flow.port_at_vip(), listener.protocol}.text()},
            {"service", service_name(tables, listener.service)},
            {"backend", address_and_port(flow.backend->address, flow.port_at_backend().host())},
            {"state", state_words[static_cast<std::size_t>(flow.entry.state)]},
            {"idle_ms", std::int64_t{flow.idle} * (Tick::nanoseconds / 1'000'000)},
            {"workers", worker_list(flow.workers)}};
}

std::optional<FlowCounts::By> FlowCounts::parse(std::string_view word) noexcept {
    const auto found = std::ranges::find(by_words, word);
    return found == by_words.end() ? std::nullopt : std::optional(static_cast<By>(found - by_words.begin()));
}

std::string_view FlowCounts::word(By by) noexcept { return by_words[static_cast<std::size_t>(by)]; }

void FlowCounts::add(const shm::Flow& flow) {
    switch (by_) {
        case By::service:
            ++counts_[flow.listener->service.value];
            break;
        case By::backend:
            ++counts_[flow.entry.handle.value];
            break;
        case By::state:
            ++counts_[static_cast<std::uint32_t>(flow.entry.state)];
            break;
        case By::worker:
            for (std::uint32_t worker = 0; worker < 64; ++worker) {
                if ((flow.workers >> worker & 1) != 0) ++counts_[worker];
            }
            break;
    }
}

Json FlowCounts::name_of(std::uint32_t id, const shm::Tables& tables) const {
    switch (by_) {
        case By::service:
            return service_name(tables, ServiceIndex(static_cast<std::uint16_t>(id)));
        case By::backend: {
            const shm::BackendRecord& backend = tables.backend(shm::Handle{id});
            return service_name(tables, backend.service).get<std::string>() + "/" +
                   address_and_port(backend.address, backend.port.host());
        }
        case By::state:
            return state_words[id];
        case By::worker:
            return id;
    }
    return nullptr;
}

Json FlowCounts::to_json(const shm::Tables& tables) const {
    std::vector<std::pair<Json, std::uint64_t>> sorted;
    for (const auto& [id, flows] : counts_) sorted.emplace_back(name_of(id, tables), flows);
    std::ranges::sort(sorted, [](const auto& a, const auto& b) {
        return a.second != b.second ? a.second > b.second : a.first < b.first;
    });
    Json list = Json::array();
    for (auto& [name, flows] : sorted) {
        list.push_back({{std::string(word(by_)), std::move(name)}, {"flows", flows}});
    }
    return list;
}

}  // namespace shunt::api
