// What other nodes know, as workers read it: flows of theirs that came here with a failover, an ECMP change or a
// failback. The last place to look, and only for packets of flows that nobody on this node knows.
#pragma once

#include <optional>

#include "dataplane/tables/flow_table.h"
#include "src/shm/peers.h"

namespace shunt::dataplane {

class PeerFlows {
  public:
    // `region` was checked, and is only read; `downtime` is what this node's ticks leave out.
    PeerFlows(const std::byte* region, Duration downtime) noexcept
        : peers_(const_cast<std::byte*>(region)),  // NOLINT: find() only reads
          table_(peers_.flows()),
          left_out_(static_cast<std::uint32_t>(downtime.nanoseconds / Tick::nanoseconds)) {}

    bool empty() const noexcept { return peers_.header().entries.read() == 0; }
    std::uint64_t tables_identity() const noexcept { return peers_.header().tables_identity; }

    // The first entry of this peer that `matches(const FlowEntry&)` accepts, in this node's ticks.
    template <class Matches>
    std::optional<FlowEntry> find(const IpAddress& peer, Be16 peer_port, Matches&& matches) const noexcept {
        const std::uint64_t hash = hash_peer(peers_.header().flow_seed, peer, peer_port);
        const auto found = table_.find(hash, peer, peer_port, [&](const FlowEntry& e) { return matches(local(e)); });
        return found ? std::optional(local(found->entry)) : std::nullopt;
    }

  private:
    FlowEntry local(FlowEntry entry) const noexcept {
        entry.seen = {(entry.seen.value - left_out_) & Tick::mask};
        return entry;
    }

    shm::Peers peers_;
    FlowTable table_;
    std::uint32_t left_out_;
};

}  // namespace shunt::dataplane
