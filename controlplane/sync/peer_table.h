// What the peers say of their flows, in the region `peers` (layout.h), which the data plane's workers read. One writer.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "controlplane/sync/resolver.h"
#include "src/base/result.h"
#include "src/base/time.h"
#include "src/shm/flow.h"
#include "src/shm/flow_scan.h"
#include "src/shm/peers.h"

namespace shunt::controlplane::sync {

// What a region must be to be used as it is.
struct PeersNeeds {
    std::uint64_t buckets{};
    HashSeed seed{};  // for a new one
    std::uint64_t tables_identity{};
    Instant now{};
};
// Buckets for the flows of this many: room for both units of IPv6, or half empty with IPv4.
constexpr std::uint64_t peer_buckets(std::uint64_t flows) noexcept { return flows / 2 + 1; }

class PeerTable {
  public:
    // Uses the file, or makes one in its place: complete before it has its name.
    static Result<PeerTable> open(const std::string& path, const PeersNeeds& needs);
    static PeerTable in_memory(const PeersNeeds& needs);

    const std::byte* region() const noexcept { return region_.data(); }
    bool kept() const noexcept { return kept_; }  // the file was there, with its entries
    std::uint64_t entries() const noexcept { return peers().header().entries.read(); }
    std::uint64_t evicted() const noexcept { return evicted_; }
    std::uint64_t size() const noexcept { return peers().flows().size(); }
    void breathe(Instant now) noexcept { peers().header().written_at.store(now.nanoseconds); }

    // Two records of a flow: the one that saw it last holds.
    void put(const Resolved& flow, shm::FlowState state, std::uint32_t idle, const shm::Tables& tables, Tick now);
    // The next `count` buckets of the sweep: what its own time has ended goes.
    void sweep(std::uint64_t count, const shm::Tables& tables, Tick now);
    // What the filter means goes; returns how many.
    std::uint64_t erase(const shm::FlowFilter& filter, const shm::Tables& tables, Tick now);

    // Calls f(const FlowRecord&) for the flows that hold in a bucket.
    template <class F>
    void visit(std::uint64_t bucket, const shm::Tables& tables, Tick now, F&& f) const {
        for (std::uint8_t unit = 0; unit < shm::units_per_bucket; ++unit) {
            const auto stored = shm::read_flow(peers().flows()[bucket], unit);
            if (!stored) continue;
            const shm::ListenerRecord& listener = tables.listeners[stored->key.listener.value];
            const shm::BackendRecord* backend = shm::backend_of(tables, stored->entry, listener, now);
            if (backend == nullptr) continue;
            f(to_record(stored->key, listener, *backend, stored->entry.state, now.since(stored->entry.seen)));
        }
    }

  private:
    struct Place {
        shm::FlowBucket* bucket{};
        std::uint8_t unit{};
    };

    PeerTable() = default;
    shm::Peers peers() const noexcept { return shm::Peers(const_cast<std::byte*>(region_.data())); }  // NOLINT: ours
    Status make(const std::string& path, const PeersNeeds& needs);
    Place find(const shm::FlowKey& key, std::uint64_t hash) const noexcept;
    Place make_room(const shm::FlowKey& key, std::uint64_t hash, const shm::Tables& tables, Tick now) noexcept;
    void clear(Place place) noexcept;

    shm::Region region_{};
    bool kept_{};
    std::uint64_t swept_{};  // the next bucket of the sweep
    std::uint64_t evicted_{};
};

}  // namespace shunt::controlplane::sync
