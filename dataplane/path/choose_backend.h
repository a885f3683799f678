// Step 5: only for packets without a flow: the service's scheduler says where to; remember it if there is room.
//
// Only a flow that opens here, and is remembered, goes by turn, chance or load. Everything else goes by the table,
// which says the same on every worker and node, before and after a restart: packets of connections nobody knows, flows
// there is no room for, errors, and replies, whose listener is derived by it.
#pragma once

#include "dataplane/path/look_up_flow.h"
#include "dataplane/schedulers/list.h"

namespace shunt::dataplane {

struct ChooseBackend {
    FlowContext& context;
    SchedulerMemory& memory;

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

    bool remember(Lane& lane) noexcept {
        const auto flags = context.tables.listeners[lane.listener.value].flags;
        if (!lane.may_remember || !(flags & shm::ListenerRecord::flows_on)) return false;
        return context.remember(lane, next_state(lane, FlowState::established), true);
    }

    Verdict choose(Lane& lane) noexcept {
        const shm::ListenerRecord& listener = context.tables.listeners[lane.listener.value];
        const std::uint64_t hash = context.tables.hash(listener, lane.tuple);
        const shm::Handle by_table = context.tables.choose(listener, hash);
        if (!by_table) return Verdict::drop(shm::DropReason::no_backend);
        lane.handle = by_table;
        const bool opens = lane.may_remember && (lane.is_opening() || !lane.is_tcp());
        if (opens && listener.choice != Choice::by_table) {
            const auto chosen = Schedulers::choose(Opening::of(context.tables, lane.listener, hash), memory);
            if (chosen) lane.handle = chosen;
        }
        if (!remember(lane)) lane.handle = by_table;
        return Verdict::keep();
    }

    // A reply without a known flow (this node just took over, the table was full, or the service keeps no flows): it
    // belongs to the listener whose table gives this backend for this client.
    Verdict derive(Lane& lane) noexcept {
        const shm::SourceRecord& source = context.tables.sources[lane.source.value];
        bool direct_access = false;
        for (std::uint32_t i = 0; i < source.count && i < source.listeners.size(); ++i) {
            const ListenerIndex index = source.listeners[i];
            const shm::ListenerRecord& listener = context.tables.listeners[index.value];
            direct_access |= (listener.flags & shm::ListenerRecord::direct_access) != 0;
            const FiveTuple forward{lane.peer(), listener.address, lane.peer_port(), listener.port, listener.protocol};
            const shm::Handle handle = context.tables.choose(listener, context.tables.hash(listener, forward));
            if (!handle || context.tables.backend(handle).source != lane.source) continue;
            lane.listener = index;
            lane.service = listener.service;
            lane.handle = handle;
            context.counters.flows_derived.add(1);
            static_cast<void>(remember(lane));
            return Verdict::keep();
        }
        return direct_access ? Verdict::punt() : Verdict::drop(shm::DropReason::return_unknown);
    }
};

}  // namespace shunt::dataplane
