// Step 5: only for packets without a flow: the service's table says where to; remember it if there is room.
#pragma once

#include "dataplane/path/look_up_flow.h"

namespace shunt::dataplane {

struct ChooseBackend {
    FlowContext& context;

    void prefetch(Lane&) noexcept {}

    Verdict apply(Lane& lane) noexcept {
        if (lane.handle) return Verdict::keep();
        // An earlier packet of this burst may have opened the flow.
        if (lane.may_remember) {
            const auto found = context.find(context.own, lane);
            const bool again = found && lane.is_opening() && lane.direction == Direction::to_backend;
            if (found && !(again && !is_eligible(found->entry.handle))) {
                context.adopt(lane, found->entry);
                return Verdict::keep();
            }
        }
        return lane.direction == Direction::to_backend ? choose(lane) : derive(lane);
    }

  private:
    bool is_eligible(shm::Handle handle) const noexcept {
        return context.tables.backend(handle).status == shm::BackendStatus::ready;
    }

    void remember(Lane& lane) noexcept {
        const auto flags = context.tables.listeners[lane.listener.value].flags;
        if (!lane.may_remember || !(flags & shm::ListenerRecord::flows_on)) return;
        context.remember(lane, next_state(lane, FlowState::established));
    }

    Verdict choose(Lane& lane) noexcept {
        const shm::ListenerRecord& listener = context.tables.listeners[lane.listener.value];
        lane.handle = context.tables.choose(listener, hash_tuple(context.tables.site_seed(), lane.tuple));
        if (!lane.handle) return Verdict::drop(shm::DropReason::no_backend);
        remember(lane);
        return Verdict::keep();
    }

    // A reply without a known flow (this node just took over, the table was full, or the service keeps no flows): it
    // belongs to the listener whose table gives this backend for this client: one that leads to this port of the
    // backend, or one whose packets keep their port.
    Verdict derive(Lane& lane) noexcept {
        const FiveTuple& t = lane.tuple;
        const SourceNumber any(context.tables.source_map.find(t.source, shm::any_port, t.protocol));
        bool direct_access = false;
        const bool derived = derive_from(lane, lane.source, direct_access) ||
                             (any != lane.source && derive_from(lane, any, direct_access));
        if (derived) return Verdict::keep();
        return direct_access ? Verdict::punt() : Verdict::drop(shm::DropReason::return_unknown);
    }

    bool derive_from(Lane& lane, SourceNumber number, bool& direct_access) noexcept {
        const shm::Tables& tables = context.tables;
        const shm::SourceRecord& source = tables.sources[number.value];
        for (std::uint32_t i = 0; i < source.count && i < source.listeners.size(); ++i) {
            const ListenerIndex index = source.listeners[i];
            const shm::ListenerRecord& listener = tables.listeners[index.value];
            direct_access |= (listener.flags & shm::ListenerRecord::direct_access) != 0;
            const bool many = listener.has_many_ports();
            const Be16 port = many ? lane.tuple.source_port : listener.port;
            // From a port of the backend's own nobody can tell which port it was; nor are all ports the listener's.
            const bool is_its_port =
                source.port == shm::any_port && tables.listener_of(listener.address, port, listener.protocol) == index;
            if (many && !is_its_port) continue;
            const FiveTuple forward{lane.peer(), listener.address, lane.peer_port(), port, listener.protocol};
            const shm::Handle handle = tables.choose(listener, hash_tuple(tables.site_seed(), forward));
            if (!handle || tables.backend(handle).source != number) continue;
            lane.listener = index;
            lane.service_port = many ? port : Be16{};
            lane.service = listener.service;
            lane.handle = handle;
            context.counters.flows_derived.add(1);
            remember(lane);
            return true;
        }
        return false;
    }
};

}  // namespace shunt::dataplane
