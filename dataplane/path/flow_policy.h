// What the tables say about flow entries: which still hold, and who gives way when a bucket is full.
#pragma once

#include "dataplane/tables/flow_table.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

struct FlowPolicy {
    const shm::Tables& tables;
    Tick now;

    // Null: the entry is dead.
    const shm::BackendRecord* backend_of(const FlowEntry& entry, const shm::ListenerRecord& listener) const noexcept {
        return shm::backend_of(tables, entry, listener, now);
    }

    // Its time is up, or its listener is gone: if that VIP comes back, it does so under another index.
    bool is_over(const FlowEntry& entry) const noexcept {
        const shm::ListenerRecord& listener = tables.listeners[entry.listener.value];
        return !listener.in_use || shm::is_expired(entry, listener, now);
    }
    // Its handle still names the backend it was made for.
    bool is_current(const FlowEntry& entry) const noexcept {
        return tables.backend(entry.handle).status != shm::BackendStatus::absent;
    }

    FlowClass classify(const FlowEntry& entry) const noexcept {
        const shm::ListenerRecord& listener = tables.listeners[entry.listener.value];
        if (!backend_of(entry, listener)) return FlowClass::dead;
        if (entry.state == FlowState::embryonic) return FlowClass::embryonic;
        if (entry.state == FlowState::closing) return FlowClass::closing;
        return now.since(entry.seen) >= ticks_until_idle ? FlowClass::idle : FlowClass::active;
    }

  private:
    static constexpr std::uint32_t ticks_until_idle = to_ticks(Duration::seconds(1));
};

// The state an entry is in after this packet. A client's packet other than SYN establishes; FIN or RST of either side
// closes, and only a new SYN opens again.
inline FlowState next_state(const Lane& lane, FlowState before) noexcept {
    if (lane.is_in_midstream()) [[likely]] {
        const bool established = before == FlowState::embryonic && lane.direction == Direction::to_backend;
        return established ? FlowState::established : before;
    }
    if (!lane.is_tcp()) return FlowState::datagram;
    if (lane.is_opening() && lane.direction == Direction::to_backend) return FlowState::embryonic;
    if (lane.is_closing() || before == FlowState::closing) return FlowState::closing;
    return lane.direction == Direction::to_backend ? FlowState::established : before;
}

}  // namespace shunt::dataplane
