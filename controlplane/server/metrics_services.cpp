// Services and their backends. Counters of a backend go when it is removed.
#include <array>
#include <map>

#include "controlplane/server/metrics.h"
#include "src/api/figures.h"
#include "src/api/live.h"

namespace shunt::controlplane {
namespace {

struct OfBackends {
    explicit OfBackends(Families& all)
        : packets(Series::counter(all, "shunt_backend_packets_total", "Packets to and from the backend.")),
          bytes(Series::counter(all, "shunt_backend_bytes_total", "The same in bytes, Ethernet header included.")),
          flows(Series::gauge(all, "shunt_backend_flows", "Live flows that were given to it.")),
          up(Series::gauge(all, "shunt_backend_up", "0: its check says that it is down.")),
          weight(Series::gauge(all, "shunt_backend_weight", "In force, overrides included.")) {}
    Series packets, bytes, flows, up, weight;
};

struct OfServices {
    explicit OfServices(Families& all)
        : packets(Series::counter(all, "shunt_service_packets_total", "Packets of its present backends.")),
          bytes(Series::counter(all, "shunt_service_bytes_total", "The same in bytes.")),
          backends(Series::gauge(all, "shunt_service_backends", "Its backends, by what keeps them from new flows.")) {}
    Series packets, bytes, backends;
};

void add_both(Series& family, Labels labels, std::uint64_t forth, std::uint64_t back) {
    labels.push_back({"direction", "to_backend"});
    family.add(forth, labels);
    labels.back().value = "to_client";
    family.add(back, std::move(labels));
}

std::uint64_t live_flows(const Documents& documents, std::uint32_t index) {
    const auto handle = shm::Handle::of(index, documents.tables.backends[index].incarnation);
    std::int64_t sum = 0;
    for (std::uint16_t worker = 0; worker < documents.state->shape().workers; ++worker) {
        sum += documents.state->own_flows(WorkerIndex(worker))[index].of(handle);
    }
    return sum > 0 ? static_cast<std::uint64_t>(sum) : 0;
}

// What its backends did, summed over the handles they have.
struct Traffic {
    std::uint64_t packets{}, bytes{}, return_packets{}, return_bytes{}, flows{};

    void add(const Traffic& other) {
        packets += other.packets;
        bytes += other.bytes;
        return_packets += other.return_packets;
        return_bytes += other.return_bytes;
    }
};

Traffic traffic_of(const Documents& documents, const api::LiveBackend& live) {
    Traffic sum;
    for (const std::uint32_t handle : live.handles) {
        const auto one = api::backend_traffic(*documents.state, handle);
        sum.add({one.packets, one.bytes, one.return_packets, one.return_bytes});
        sum.flows += live_flows(documents, handle);
    }
    return sum;
}

std::string_view state_of(const config::Backend& backend, Verdict verdict) {
    if (backend.state != config::BackendState::ready) return to_string(backend.state);
    return verdict == Verdict::down ? "down" : verdict == Verdict::up ? "up" : "unchecked";
}

// Of one table of each service and family.
void shares(const Documents& documents, Families& all) {
    auto family = Series::gauge(all, "shunt_backend_share_ratio", "Its part of the service's table.");
    std::map<std::pair<std::uint16_t, bool>, const shm::ListenerRecord*> tables;
    for (std::uint32_t i = 1; i < documents.tables.listeners.count(); ++i) {
        const auto& listener = documents.tables.listeners[i];
        if (listener.in_use) tables.emplace(std::pair(listener.service.value, listener.address.is_v4()), &listener);
    }
    for (const auto& [of, listener] : tables) {
        const auto handles = documents.tables.handles(*listener);
        std::vector<std::uint64_t> counts(handles.size());
        for (const std::uint16_t slot : documents.tables.slots(*listener)) {
            if (slot < counts.size()) ++counts[slot];
        }
        const std::string service(shm::name_of(documents.tables.services[of.first]));
        for (std::size_t i = 0; i < counts.size(); ++i) {
            const auto& backend = documents.tables.backend(handles[i]);
            family.add(static_cast<double>(counts[i]) / listener->table_size,
                       {{"service", service},
                        {"backend", address_and_port(backend.address, backend.configured_port)},
                        {"family", of.second ? "4" : "6"}});
        }
    }
}

}  // namespace

void service_metrics(const Documents& documents, Families& all) {
    OfServices services(all);
    OfBackends backends(all);
    const auto live = api::live_services(documents.tables);
    const auto& state = documents.core.effective_state();
    for (std::size_t s = 0; s < state.services.size(); ++s) {
        const config::Service& service = state.services[s];
        const auto found = live.find(service.name);
        std::map<std::string_view, std::uint64_t> states;
        for (const char* each : {"up", "down", "unchecked", "drain", "maint"}) states[each] = 0;
        Traffic sum;
        for (std::size_t b = 0; b < service.backends.size(); ++b) {
            const config::Backend& backend = service.backends[b];
            const Verdict verdict = documents.core.verdicts().of(s, b);
            ++states[state_of(backend, verdict)];
            const Labels labels{{"service", service.name}, {"backend", backend.key()}};
            backends.up.add(verdict != Verdict::down, labels);
            backends.weight.add(std::uint64_t{backend.weight}, labels);
            if (!documents.state || found == live.end() || !found->second.backends.contains(backend.key())) continue;
            const Traffic one = traffic_of(documents, found->second.backends.at(backend.key()));
            sum.add(one);
            add_both(backends.packets, labels, one.packets, one.return_packets);
            add_both(backends.bytes, labels, one.bytes, one.return_bytes);
            backends.flows.add(one.flows, labels);
        }
        add_both(services.packets, {{"service", service.name}}, sum.packets, sum.return_packets);
        add_both(services.bytes, {{"service", service.name}}, sum.bytes, sum.return_bytes);
        for (const auto& [name, count] : states) {
            services.backends.add(count, {{"service", service.name}, {"state", std::string(name)}});
        }
    }
    shares(documents, all);
}

}  // namespace shunt::controlplane
