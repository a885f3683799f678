#include "src/api/live.h"

#include <cstdio>

namespace shunt::api {
namespace {

using Json = nlohmann::json;

std::string key_of(const shm::BackendRecord& backend) {
    return address_and_port(backend.address, backend.configured_port);
}

const shm::ListenerRecord* listener_of(const shm::Tables& tables, ServiceIndex service, Family family) {
    for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
        const auto& listener = tables.listeners[i];
        if (listener.in_use && listener.service == service && listener.address.family() == family) return &listener;
    }
    return nullptr;
}

}  // namespace

std::string hash_text(std::uint64_t table_hash) {
    char text[17];
    std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(table_hash));
    return text;
}

Result<Json> live_table(const shm::Tables& tables, std::string_view service, Family family) {
    ServiceIndex index;
    for (std::uint32_t i = 1; i < tables.services.count() && !index; ++i) {
        if (shm::name_of(tables.services[i]) == service) index = ServiceIndex(static_cast<std::uint16_t>(i));
    }
    if (!index) return Error{.message = "service \"" + std::string(service) + "\" is not in the published tables"};
    const auto* listener = listener_of(tables, index, family);
    const int number = static_cast<int>(family);
    if (listener == nullptr) {
        return Error{.message =
                         "service \"" + std::string(service) + "\" has no IPv" + std::to_string(number) + " VIP"};
    }
    const auto slots = tables.slots(*listener);
    const auto handles = tables.handles(*listener);
    std::vector<std::uint64_t> shares(handles.size());
    Json positions = Json::array();
    for (const std::uint16_t slot : slots) {
        if (slot < shares.size()) ++shares[slot];
        positions.push_back(slot);
    }
    if (slots.empty()) positions = Json(std::vector<int>(listener->table_size, -1));
    Json backends = Json::array();
    for (std::size_t i = 0; i < handles.size(); ++i) {
        const auto& backend = tables.backend(handles[i]);
        backends.push_back({{"key", key_of(backend)}, {"weight", backend.weight}, {"slots", shares[i]}});
    }
    const auto hash = tables.services[index.value].table_hash[family == Family::ipv4 ? 0 : 1];
    return Json{{"service", service},
                {"family", number},
                {"scheduler", to_string(tables.services[index.value].scheduler)},
                {"only_table", listener->choice == Choice::by_table},
                {"table_size", listener->table_size},
                {"generation", tables.generation().value},
                {"source", "live"},
                {"backends", std::move(backends)},
                {"slots", std::move(positions)},
                {"hash", hash_text(hash)}};
}

std::map<std::string, LiveService> live_services(const shm::Tables& tables, std::string_view only) {
    std::map<std::string, LiveService> services;
    std::vector<LiveService*> by_index(tables.services.count());
    for (std::uint32_t i = 1; i < tables.services.count(); ++i) {
        const auto& record = tables.services[i];
        if (record.name[0] == '\0' || (!only.empty() && shm::name_of(record) != only)) continue;
        by_index[i] = &services[std::string(shm::name_of(record))];
        by_index[i]->index = ServiceIndex(static_cast<std::uint16_t>(i));
        by_index[i]->table_hash = record.table_hash;
    }
    const auto service_of = [&](ServiceIndex index) {
        return index.value < by_index.size() ? by_index[index.value] : nullptr;
    };
    for (std::uint32_t i = 1; i < tables.backends.count(); ++i) {
        const auto& record = tables.backends[i];
        auto* service = service_of(record.service);
        if (service == nullptr || record.status == shm::BackendStatus::absent) continue;
        auto& backend = service->backends[key_of(record)];
        backend.handles.push_back(i);
        backend.takes_new_flows = backend.takes_new_flows || record.status == shm::BackendStatus::ready;
    }
    for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
        const auto& listener = tables.listeners[i];
        auto* service = service_of(listener.service);
        if (service == nullptr || !listener.in_use || listener.slots != 0) continue;
        service->without_backends.push_back(Vip{listener.address, listener.ports(), listener.protocol}.text());
    }
    return services;
}

}  // namespace shunt::api
