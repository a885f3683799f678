// Step 4: known flow to its backend, if that incarnation of the backend is still there.
//
// Each worker keeps its own entries. RSS may put the two directions of a flow on different workers, and a restart may
// deal flows to other workers, so a packet that opens nothing and is not known here looks into the other tables,
// read-only and within a budget per burst, and its entry is copied (DESIGN section 4). Nothing is decided for good
// before that look-aside was done.
#pragma once

#include <span>

#include "dataplane/path/batch.h"
#include "dataplane/path/flow_policy.h"
#include "dataplane/tables/flow_table.h"

namespace shunt::dataplane {

// How many packets of one burst may look aside: replies and packets to listeners apart, so that a flood of one kind
// does not starve the other.
struct LookAsideBudget {
    static constexpr std::uint32_t per_burst = 16;
    std::uint32_t to_backend{per_burst};
    std::uint32_t to_client{per_burst};

    bool take(Direction direction) noexcept {
        std::uint32_t& left = direction == Direction::to_backend ? to_backend : to_client;
        if (left == 0) return false;
        --left;
        return true;
    }
};

// What the steps that know flows share during one burst.
struct FlowContext {
    const shm::Tables& tables;
    FlowTable& own;
    std::span<const FlowTable> others;  // of the other workers; later also the predecessor's
    FlowPolicy policy;
    LookAsideBudget& budget;
    shm::WorkerBlock& counters;

    // The entry of this lane's flow in a table.
    std::optional<FlowTable::Found> find(const FlowTable& table, const Lane& lane) const noexcept {
        const bool reply = lane.direction == Direction::to_client;
        return table.find(lane.bucket_hash, lane.peer(), lane.peer_port(), [&](const FlowEntry& entry) {
            const bool of_listener = entry.listener == lane.listener && entry.service_port == lane.service_port;
            if (!reply && !of_listener) return false;
            const shm::ListenerRecord& listener = tables.listeners[entry.listener.value];
            const shm::BackendRecord* backend = policy.backend_of(entry, listener);
            return backend != nullptr && (!reply || answers(*backend, entry, lane));
        });
    }

    // Is it from this backend of the entry? One whose packets keep their port answers from the port they came to.
    static bool answers(const shm::BackendRecord& backend, const FlowEntry& entry, const Lane& lane) noexcept {
        const FiveTuple& t = lane.tuple;
        if (backend.port != shm::any_port) return backend.source == lane.source;
        return entry.service_port == t.source_port && backend.address == t.source && backend.protocol == t.protocol;
    }

    // The lane belongs to this flow.
    void adopt(Lane& lane, const FlowEntry& entry) const noexcept {
        lane.handle = entry.handle;
        lane.listener = entry.listener;
        lane.service_port = entry.service_port;
        lane.service = tables.listeners[entry.listener.value].service;
    }

    void remember(const Lane& lane, FlowState state) noexcept {
        const FlowKey key{lane.peer(), lane.peer_port(), lane.listener, lane.service_port};
        const FlowEntry entry{lane.listener, lane.service_port, lane.handle, state, policy.now};
        const auto outcome =
            own.insert(lane.bucket_hash, key, entry, [this](const FlowEntry& e) { return policy.classify(e); });
        switch (outcome) {
            case FlowTable::Inserted::evicted:
                counters.flows_evicted.add(1);
                [[fallthrough]];
            case FlowTable::Inserted::fresh:
                counters.flows_inserted.add(1);
                break;
            case FlowTable::Inserted::replaced:
                break;
            case FlowTable::Inserted::no_room:
                counters.flows_not_remembered.add(1);
                break;
        }
    }
};

struct LookUpFlow {
    FlowContext& context;

    void prefetch(Lane& lane) noexcept { context.own.prefetch(lane.bucket_hash); }

    Verdict apply(Lane& lane) noexcept {
        if (lane.handle || !keeps_flows(lane)) return Verdict::keep();
        if (const auto found = context.find(context.own, lane)) return continue_flow(lane, *found);
        if (lane.is_opening() && lane.direction == Direction::to_backend) return may_choose(lane);
        return look_aside(lane);
    }

  private:
    // A service without flows has nothing to find, and its endpoints belong to no other: all its replies are derived.
    bool keeps_flows(const Lane& lane) const noexcept {
        const ListenerIndex listener = lane.direction == Direction::to_backend
                                           ? lane.listener
                                           : context.tables.sources[lane.source.value].listeners[0];
        return (context.tables.listeners[listener.value].flags & shm::ListenerRecord::flows_on) != 0;
    }

    // An error about a packet is no packet of the flow: it neither makes nor refreshes an entry.
    static Verdict may_choose(Lane& lane) noexcept {
        lane.may_remember = !lane.is_quote();
        return Verdict::keep();
    }

    Verdict continue_flow(Lane& lane, const FlowTable::Found& found) noexcept {
        const bool eligible = context.tables.backend(found.entry.handle).status == shm::BackendStatus::ready;
        if (lane.direction == Direction::to_backend && lane.is_opening() && !eligible) return may_choose(lane);
        context.adopt(lane, found.entry);
        if (lane.is_quote()) return Verdict::keep();
        FlowEntry entry = found.entry;
        entry.seen = context.policy.now;
        entry.state = next_state(lane, entry.state);
        context.own.touch(found.position, entry);
        return Verdict::keep();
    }

    Verdict look_aside(Lane& lane) noexcept {
        if (context.others.empty()) return may_choose(lane);
        if (!context.budget.take(lane.direction)) return over_budget(lane);
        context.counters.look_asides.add(1);
        for (const FlowTable& other : context.others) {
            if (const auto found = context.find(other, lane)) {
                context.adopt(lane, found->entry);
                if (lane.is_quote()) return Verdict::keep();
                context.remember(lane, next_state(lane, found->entry.state));
                context.counters.flows_copied.add(1);
                return Verdict::keep();
            }
        }
        return may_choose(lane);
    }

    // TCP repeats, and a reply must not be let through untranslated. A datagram to a listener goes by the table, but
    // that is not remembered: another worker may know better.
    static Verdict over_budget(const Lane& lane) noexcept {
        const bool goes_by_table = lane.direction == Direction::to_backend && !lane.is_tcp();
        return goes_by_table ? Verdict::keep() : Verdict::drop(shm::DropReason::look_aside_busy);
    }
};

}  // namespace shunt::dataplane
