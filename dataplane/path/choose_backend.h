// Step 5: only for packets whose flow was not found at the first look: look further, else choose, and remember it if
// there is room.
//
// Each worker keeps its own entries. RSS may put the two directions of a flow on different workers, and a restart may
// deal flows to other workers, so a packet that opens nothing and is not known here looks into the other tables,
// read-only and within a budget per burst, and its entry is copied (DESIGN section 4). Nothing is decided for good
// before that look-aside was done.
//
// Only a flow that opens here, and is remembered, goes by turn, chance or load, as its service's scheduler says.
// Everything else goes by the table, which says the same on every worker and node, before and after a restart: packets
// of connections nobody knows, flows there is no room for, errors, and replies, whose listener is derived by it.
#pragma once

#include <algorithm>
#include <span>

#include "dataplane/path/look_up_flow.h"
#include "dataplane/schedulers/list.h"

namespace shunt::dataplane {

struct ChooseBackend {
    FlowContext& context;
    SchedulerMemory& memory;

    void prefetch(Lane&) noexcept {}
    static bool is_past(const Lane& lane) noexcept { return static_cast<bool>(lane.handle); }

    Verdict apply(Lane& lane) noexcept { return is_past(lane) ? Verdict::keep() : decide(lane); }

  private:
    using Own = FlowContext::Own;

    [[gnu::noinline]] Verdict decide(Lane& lane) noexcept {
        const bool to_backend = lane.direction == Direction::to_backend;
        if (to_backend && !can_be_a_client(lane)) return Verdict::drop(shm::DropReason::source_invalid);
        Own known = Own::peer;  // or nobody looked
        if (keeps_flows(lane)) {
            // The first bucket again: an earlier packet of this burst may have opened the flow.
            known = context.continue_own(lane);
            if (known == Own::flow) return Verdict::keep();
            const Verdict verdict = to_backend && lane.is_opening() ? may_choose(lane) : look_aside(lane);
            if (!verdict.keeps() || lane.handle) return verdict;
        }
        return to_backend ? choose(lane, known) : derive(lane, known);
    }

    // From the VIP itself: no client, and a loop between backends that answer each other.
    static bool can_be_a_client(const Lane& lane) noexcept {
        return can_be_a_source(lane.tuple.source) && lane.tuple.source != lane.tuple.destination;
    }

    // RFC 1122 section 3.2.1.3, RFC 4291 section 2.7: what no packet on a wire may come from; nor what may not be
    // routed (RFC 3927 section 2.7, RFC 4291 section 2.5.6).
    static bool can_be_a_source(const IpAddress& address) noexcept {
        constexpr IpAddress loopback_v6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
        const IpAddress::Bytes b = address.bytes();
        if (!address.is_v4()) {
            const bool link_local = b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
            return b[0] != 0xff && !link_local && !address.is_unspecified() && address != loopback_v6;
        }
        const bool link_local = b[12] == 169 && b[13] == 254;
        return b[12] != 0 && b[12] != 127 && b[12] < 224 && !link_local;
    }

    // A service without flows has nothing to find, and its endpoints belong to no other: all its replies are derived.
    bool keeps_flows(const Lane& lane) const noexcept {
        const shm::ListenerRecord& listener =
            lane.direction == Direction::to_backend
                ? *lane.listener_record
                : context.tables.listeners[context.tables.sources[lane.source.value].listeners[0].value];
        return (listener.flags & shm::ListenerRecord::flows_on) != 0;
    }

    // An error about a packet is no packet of the flow: it makes no entry.
    static Verdict may_choose(Lane& lane) noexcept {
        lane.may_remember = !lane.is_quote();
        return Verdict::keep();
    }

    Verdict look_aside(Lane& lane) noexcept {
        if (!context.may_look_aside()) return may_choose(lane);
        if (!context.budget.take(lane.direction)) return over_budget(lane);
        context.counters.look_asides.add(1);
        const bool found =
            look_into(context.others, lane, false) || look_into(context.left, lane, true) || look_at_peers(lane);
        return found ? Verdict::keep() : may_choose(lane);
    }
    bool look_at_peers(Lane& lane) noexcept {
        const auto found = context.find_at_peers(lane);
        if (!found || lane.is_quote()) return found.has_value();
        context.copy(lane, next_state(lane, found->state), true);
        context.counters.flows_from_peers.add(1);
        return true;
    }
    bool look_into(std::span<const FlowTable> tables, Lane& lane, bool left) noexcept {
        for (const FlowTable& table : tables) {
            const auto found = context.find(table, lane);
            if (!found) continue;
            if (lane.is_quote()) return true;
            context.copy(lane, next_state(lane, found->entry.state), left);
            context.counters.flows_copied.add(1);
            return true;
        }
        return false;
    }

    // TCP repeats, and a reply must not be let through untranslated. A datagram to a listener goes by the table, but
    // that is not remembered: another worker may know better.
    static Verdict over_budget(const Lane& lane) noexcept {
        const bool goes_by_table = lane.direction == Direction::to_backend && !lane.is_tcp();
        return goes_by_table ? Verdict::keep() : Verdict::drop(shm::DropReason::look_aside_busy);
    }

    bool remember(const Lane& lane, Own known) noexcept {
        if (!lane.may_remember || !(lane.listener_record->flags & shm::ListenerRecord::flows_on)) return false;
        const FlowState state = next_state(lane, lane.is_tcp() ? FlowState::established : FlowState::datagram);
        return context.remember(lane, state, known);
    }

    Verdict choose(Lane& lane, Own known) noexcept {
        const shm::ListenerRecord& listener = *lane.listener_record;
        const shm::Handle by_table = context.tables.choose(listener, lane.table_hash);
        if (!by_table) return Verdict::drop(shm::DropReason::no_backend);
        const shm::Handle chosen = listener.choice == Choice::by_table ? shm::Handle{} : choose_otherwise(lane);
        give(lane, chosen ? chosen : by_table);
        if (!remember(lane, known) && chosen) give(lane, by_table);
        return Verdict::keep();
    }
    // Handle 0: no flow opens here.
    [[gnu::noinline]] shm::Handle choose_otherwise(const Lane& lane) noexcept {
        const bool opens = lane.may_remember && (lane.is_opening() || !lane.is_tcp());
        if (!opens) return {};
        return Schedulers::choose(Opening::of(context.tables, lane.listener, lane.table_hash), memory);
    }
    void give(Lane& lane, shm::Handle handle) noexcept {
        context.give(lane, lane.listener, *lane.listener_record, handle);
    }

    // A reply without a known flow (this node just took over, the table was full, or the service keeps no flows): it
    // belongs to the listener whose table gives this backend for this client, one that leads to this port of the
    // backend or one whose packets keep their port; unless another backend has that flow.
    Verdict derive(Lane& lane, Own known) noexcept {
        const FiveTuple& t = lane.tuple;
        const SourceNumber any(context.tables.source_map.find(t.source, shm::any_port, t.protocol));
        bool direct_access = false;
        const bool derived = derive_from(lane, lane.source, known, direct_access) ||
                             (any != lane.source && derive_from(lane, any, known, direct_access));
        if (derived) return Verdict::keep();
        return direct_access ? Verdict::punt() : Verdict::drop(shm::DropReason::return_unknown);
    }

    bool derive_from(Lane& lane, SourceNumber number, Own known, bool& direct_access) noexcept {
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
            const shm::Handle handle = tables.choose(listener, tables.hash(listener, forward));
            const shm::BackendRecord& backend = tables.backend(handle);
            if (!handle || backend.source != number) continue;
            const Be16 service_port = many ? port : Be16{};
            if (is_taken(lane, {lane.peer(), lane.peer_port(), index, service_port}, listener)) continue;
            context.give(lane, index, listener, handle);
            lane.service_port = service_port;
            context.counters.flows_derived.add(1);
            if (can_be_a_source(lane.peer())) static_cast<void>(remember(lane, known));
            return true;
        }
        return false;
    }
    // Does anybody know the flow? Then it is not the backend's that speaks now, late or out of turn: its own flows were
    // looked for before. It must not get this one by saying something.
    bool is_taken(const Lane& lane, const FlowKey& flow, const shm::ListenerRecord& listener) const noexcept {
        if (!(listener.flags & shm::ListenerRecord::flows_on)) return false;
        const auto is_it = [&](const FlowEntry& entry) {
            return entry.listener == flow.listener && entry.service_port == flow.service_port &&
                   context.policy.backend_of(entry, listener) != nullptr;
        };
        const auto is_known_to = [&](const FlowTable& table) {
            return table.find(lane.bucket_hash, flow.peer, flow.peer_port, is_it).has_value();
        };
        if (is_known_to(context.own)) return true;
        if (context.killed.contains(flow.peer, flow.peer_port, flow.listener)) return false;
        if (std::ranges::any_of(context.others, is_known_to) || std::ranges::any_of(context.left, is_known_to))
            return true;
        return context.peers_know_something() && context.peers->find(flow.peer, flow.peer_port, is_it).has_value();
    }
};

}  // namespace shunt::dataplane
