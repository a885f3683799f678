// Step 4: known flow to its backend, if that incarnation of the backend is still there.
#pragma once

#include <algorithm>
#include <span>

#include "dataplane/forget_list.h"
#include "dataplane/path/batch.h"
#include "dataplane/path/flow_policy.h"
#include "dataplane/tables/flow_table.h"
#include "dataplane/tables/peer_flows.h"

namespace shunt::dataplane {

// How many packets may look aside: so many for every burst, and what bursts left over is saved, up to some bursts full
// of unknown flows, as they come after a takeover or a restart. Replies and packets to listeners apart, so that a flood
// of one kind does not starve the other.
struct LookAsideBudget {
    static constexpr std::uint32_t per_burst = 16;
    static constexpr std::uint32_t most = 256;
    std::uint32_t to_backend{most};
    std::uint32_t to_client{most};

    void refill() noexcept {
        to_backend = std::min(to_backend + per_burst, most);
        to_client = std::min(to_client + per_burst, most);
    }

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
    std::span<const FlowTable> others;  // of the other workers
    std::span<const FlowTable> left;    // by data planes that are gone
    const ForgetList& killed;           // flows that are not to be copied from there
    FlowPolicy policy;
    LookAsideBudget& budget;
    shm::WorkerBlock& counters;
    const PeerFlows* peers{};  // null: there are none

    bool peers_know_something() const noexcept { return peers != nullptr && !peers->empty(); }
    bool may_look_aside() const noexcept { return !others.empty() || !left.empty() || peers_know_something(); }

    // Is this entry, of the lane's peer, the lane's flow? Then the lane belongs to its backend.
    bool adopt(Lane& lane, const FlowEntry& entry) const noexcept {
        const bool reply = lane.direction == Direction::to_client;
        const bool of_listener = entry.listener == lane.listener && entry.service_port == lane.service_port;
        if (!reply && !of_listener) return false;
        const shm::ListenerRecord& listener = tables.listeners[entry.listener.value];
        const shm::BackendRecord* backend = policy.backend_of(entry, listener);
        if (backend == nullptr || (reply && !answers(*backend, entry, lane))) return false;
        // Only while it takes new flows does a backend keep one that begins again.
        if (!reply && !lane.is_in_midstream() && lane.is_opening() && backend->status != shm::BackendStatus::ready)
            return false;
        give(lane, entry.listener, listener, entry.handle);
        lane.service_port = entry.service_port;
        return true;
    }
    // Is it from this backend of the entry? One whose packets keep their port answers from the port they came to.
    static bool answers(const shm::BackendRecord& backend, const FlowEntry& entry, const Lane& lane) noexcept {
        if (backend.port != shm::any_port) [[likely]]
            return backend.source == lane.source;
        const FiveTuple& t = lane.tuple;
        return entry.service_port == t.source_port && backend.address == t.source && backend.protocol == t.protocol;
    }
    static void give(Lane& lane, ListenerIndex index, const shm::ListenerRecord& listener,
                     shm::Handle handle) noexcept {
        lane.listener = index;
        lane.listener_record = &listener;
        lane.handle = handle;
    }

    // The lane's flow in a table that is not ours: not what is being killed. Another worker's table has as many
    // buckets as our own, a predecessor's may have others.
    std::optional<FlowTable::Found> find(const FlowTable& table, Lane& lane) const noexcept {
        return table.find(lane.bucket_hash, lane.peer(), lane.peer_port(),
                          [&](const FlowEntry& entry) { return may_adopt(lane, entry); });
    }
    std::optional<FlowEntry> find_at_peers(Lane& lane) const noexcept {
        if (!peers_know_something()) return std::nullopt;
        return peers->find(lane.peer(), lane.peer_port(),
                           [&](const FlowEntry& entry) { return may_adopt(lane, entry); });
    }
    // What this worker's own table knows for a lane.
    enum class Own : std::uint8_t {
        flow,     // its flow
        peer,     // other entries of the peer, of which one may be the flow's that does not hold any more
        nothing,  // no entry of the peer at all
    };
    // The lane continues its flow, if one of this worker's buckets knows it. An error about a packet is no packet of
    // the flow: it does not refresh the entry.
    [[gnu::always_inline]] Own continue_own(Lane& lane) noexcept {
        Own known = Own::nothing;
        for (const std::uint32_t bucket : {own.first_bucket(lane.bucket_hash), own.second_bucket(lane.bucket_hash)}) {
            const auto found = own.find_in(bucket, lane.peer(), lane.peer_port(), [&](const FlowEntry& entry) {
                known = Own::peer;
                return adopt(lane, entry);
            });
            if (!found) continue;
            if (!lane.is_quote()) own.touch(found->position, next_state(lane, found->entry.state), policy.now);
            return Own::flow;
        }
        return known;
    }

    // The choice was made here, after continue_own() said what is `known`. False: there is no room.
    bool remember(const Lane& lane, FlowState state, Own known) noexcept {
        const FlowEntry entry{lane.listener, lane.service_port, lane.handle, state, policy.now, true};
        const auto classify = [this](const FlowEntry& other) { return policy.classify(other); };
        return count(known == Own::nothing ? own.insert_stranger(lane.bucket_hash, key_of(lane), entry, classify)
                                           : own.insert(lane.bucket_hash, key_of(lane), entry, classify));
    }
    // Somebody else chose; if there is no room, it is asked again. Who copies what a predecessor left, or another node
    // said, is the flow's owner now.
    void copy(const Lane& lane, FlowState state, bool owned) noexcept {
        const FlowEntry entry{lane.listener, lane.service_port, lane.handle, state, policy.now, owned};
        const auto classify = [this](const FlowEntry& other) { return policy.classify(other); };
        count(own.insert(lane.bucket_hash, key_of(lane), entry, classify));
    }

  private:
    bool may_adopt(Lane& lane, const FlowEntry& entry) const noexcept {
        return !killed.contains(lane.peer(), lane.peer_port(), entry.listener) && adopt(lane, entry);
    }
    static FlowKey key_of(const Lane& lane) noexcept {
        return {lane.peer(), lane.peer_port(), lane.listener, lane.service_port};
    }
    // False: there was no room.
    bool count(FlowTable::Inserted outcome) noexcept {
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
        return outcome != FlowTable::Inserted::no_room;
    }
};

// Looks into the first bucket, where nearly all flows are. What is not there is for the next step to decide, which
// finds the second one at hand, and the slot of the service's table.
struct LookUpFlow {
    FlowContext& context;
    const ForwardingCache& cache;

    void prefetch(Lane& lane) noexcept {
        lane.bucket = &context.own.bucket(context.own.first_bucket(lane.bucket_hash));
        shunt::prefetch(lane.bucket);
    }

    Verdict apply(Lane& lane) noexcept {
        const bool known = lane.direction == Direction::to_backend ? continues<Direction::to_backend>(lane)
                                                                   : continues<Direction::to_client>(lane);
        if (!known && !lane.handle) [[unlikely]]
            prepare(lane);
        return Verdict::keep();
    }

  private:
    // A packet amid its flow, whose entry is what one glance shows: of all packets the most. False: the next step asks
    // again, thoroughly. Of a listener of several ports a glance does not show which it was.
    template <Direction direction>
    [[gnu::always_inline]] bool continues(Lane& lane) noexcept {
        constexpr bool reply = direction == Direction::to_client;
        constexpr auto of = reply ? FlowTable::Of::any_listener : FlowTable::Of::this_listener;
        if (!lane.plain || !lane.is_in_midstream()) [[unlikely]]
            return false;
        const IpAddress& peer = reply ? lane.tuple.destination : lane.tuple.source;
        const Be16 port = reply ? lane.tuple.destination_port : lane.tuple.source_port;
        const auto glance = FlowTable::glance<of>(*lane.bucket, lane.family, peer, port, lane.listener);
        if (!glance) return false;
        const ForwardingEntry& forwarding = cache.at(glance.handle(), glance.listener);
        if (!cache.keeps_flow(forwarding, glance.handle(), glance.listener)) [[unlikely]]
            return continues_by_tables(lane, *glance.word, glance.listener);
        if ((reply && forwarding.source != lane.source) ||
            !glance.renew(!reply, forwarding.timeouts, context.policy.now)) [[unlikely]]
            return false;
        lane.handle = glance.handle();
        if (!reply) {
            lane.forwarding = &forwarding;
        } else {
            FlowContext::give(lane, glance.listener, *forwarding.listener_record, glance.handle());
        }
        return true;
    }
    // The same where the cache knows nothing yet.
    [[gnu::noinline]] bool continues_by_tables(Lane& lane, std::atomic<std::uint64_t>& word,
                                               ListenerIndex index) noexcept {
        const FlowTable::Glance glance{&word, word.load(std::memory_order_relaxed), index};
        const bool reply = lane.direction == Direction::to_client;
        const FlowEntry entry = glance.entry();
        const shm::ListenerRecord& listener = context.tables.listeners[entry.listener.value];
        const shm::BackendRecord* backend = context.policy.backend_of(entry, listener);
        if (backend == nullptr || !listener.keeps_flows_of_one_port() || (reply && backend->source != lane.source))
            return false;
        FlowContext::give(lane, entry.listener, listener, entry.handle);
        return glance.renew(!reply, listener.timeouts, context.policy.now);
    }

    [[gnu::noinline]] void prepare(Lane& lane) noexcept {
        if (lane.direction == Direction::to_backend) {
            lane.listener_record = &context.tables.listeners[lane.listener.value];
            lane.table_hash = context.tables.hash(*lane.listener_record, lane.tuple);
            context.tables.prefetch_choice(*lane.listener_record, lane.table_hash);
            if (!(lane.listener_record->flags & shm::ListenerRecord::flows_on)) return;
        }
        context.own.prefetch(context.own.second_bucket(lane.bucket_hash));
    }
};

}  // namespace shunt::dataplane
