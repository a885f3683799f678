#include "controlplane/sync/resolver.h"

namespace shunt::controlplane::sync {

FlowRecord to_record(const shm::FlowKey& key, const shm::ListenerRecord& listener, const shm::BackendRecord& backend,
                     shm::FlowState state, std::uint32_t idle) {
    return {.client = key.peer,
            .vip = listener.address,
            .backend = backend.address,
            .client_port = key.peer_port,
            .vip_port = key.service_port == Be16{} ? listener.port : key.service_port,
            .backend_port = backend.port,
            .protocol = listener.protocol,
            .state = state,
            .idle = idle};
}

void Resolver::follow(const shm::Tables& tables) {
    if (tables.generation() == tables_.generation()) return;
    tables_ = tables;
    handles_.clear();
    for (std::uint32_t i = 1; i < tables.backends.count(); ++i) {
        const shm::BackendRecord& backend = tables.backends[i];
        if (backend.status == shm::BackendStatus::absent) continue;
        handles_[{backend.service, {backend.address, backend.port, backend.protocol}}] =
            shm::Handle::of(i, backend.incarnation);
    }
}

std::optional<Resolved> Resolver::resolve(const FlowRecord& record) const {
    if ((record.protocol == Protocol::tcp) == (record.state == shm::FlowState::datagram)) return std::nullopt;
    const ListenerIndex index = tables_.listener_of(record.vip, record.vip_port, record.protocol);
    const shm::ListenerRecord& listener = tables_.listeners[index.value];
    if (!listener.in_use || !(listener.flags & shm::ListenerRecord::flows_on)) return std::nullopt;
    const auto found = handles_.find({listener.service, {record.backend, record.backend_port, record.protocol}});
    if (found == handles_.end()) return std::nullopt;
    const Be16 service_port = listener.has_many_ports() ? record.vip_port : Be16{};
    return Resolved{{record.client, record.client_port, index, service_port}, found->second, &listener};
}

}  // namespace shunt::controlplane::sync
