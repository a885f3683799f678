// Flow entries as every reader of the state region understands them: what a unit holds, where an entry may lie, and
// what the tables say about it. The flow table of the data plane, which alone writes them, stands on this.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>

#include "src/base/time.h"
#include "src/shm/layout.h"
#include "src/shm/tables.h"

namespace shunt::shm {

struct FlowKey {
    IpAddress peer;
    Be16 peer_port;
    ListenerIndex listener;
    Be16 service_port;  // 0 unless the listener serves a range of ports: then the entry is wide
    friend constexpr bool operator==(const FlowKey&, const FlowKey&) noexcept = default;
};

struct FlowEntry {
    ListenerIndex listener;
    Be16 service_port;
    Handle handle;
    FlowState state{};
    Tick seen;
    bool owned{};  // the worker in whose table it is chose, and counts it
};

struct StoredFlow {
    FlowKey key;
    FlowEntry entry;
};

enum class FlowUnitKind : std::uint8_t { empty = 0, narrow, wide_first, wide_second };  // the low bits of a tag

// What the first meta word of an entry says (layout.h).
constexpr std::uint64_t flow_owned_bit = 16;
constexpr FlowEntry flow_entry(std::uint64_t meta, ListenerIndex listener, Be16 service_port) noexcept {
    return {listener,
            service_port,
            Handle{static_cast<std::uint32_t>(meta >> 32)},
            static_cast<FlowState>(meta >> 2 & 3),
            Tick{static_cast<std::uint32_t>(meta >> 8) & Tick::mask},
            (meta & flow_owned_bit) != 0};
}

// The entry that begins in a unit (0 to 3); nothing if none does, or if it is being written: as good as not there yet.
std::optional<StoredFlow> read_flow(const FlowBucket& bucket, std::uint8_t unit) noexcept;

// The two buckets of a table of `size` in which a flow may lie, by hash_peer() of its peer under the region's seed. The
// second is never the first again, unless there is only one.
constexpr std::uint32_t first_bucket(std::uint64_t hash, std::uint64_t size) noexcept {
    return static_cast<std::uint32_t>(scale_hash(hash, size));
}
constexpr std::uint32_t second_bucket(std::uint64_t hash, std::uint64_t size) noexcept {
    const std::uint64_t step = size > 1 ? 1 + scale_hash(hash << 32 | hash >> 32, size - 1) : 0;
    const std::uint64_t bucket = first_bucket(hash, size) + step;
    return static_cast<std::uint32_t>(bucket >= size ? bucket - size : bucket);
}

// The one of the two in which an entry does not lie.
constexpr std::uint32_t other_bucket(std::uint64_t hash, std::uint64_t size, std::uint32_t bucket) noexcept {
    const std::uint32_t first = first_bucket(hash, size);
    return bucket == first ? second_bucket(hash, size) : first;
}

// What was written into a bucket shows in its meta words.
constexpr std::size_t units_per_bucket = 4;
inline std::array<std::uint64_t, units_per_bucket> metas_of(const FlowBucket& bucket) noexcept {
    std::array<std::uint64_t, units_per_bucket> metas{};
    for (std::size_t i = 0; i < metas.size(); ++i) metas[i] = bucket.units[i].meta.load(std::memory_order_acquire);
    return metas;
}

// Asks `look(bucket)` of the first bucket of a flow, then of the second, until one answers. The owner may move an entry
// from one to the other meanwhile: it copies, then clears. So one that goes to the second is met there; but one that
// goes to the first may pass a reader on the way. It was written there, which shows, and the reader looks again.
template <class Look>
auto look_into_both(std::span<const FlowBucket> table, std::uint64_t hash, Look&& look) noexcept {
    const std::uint32_t first = first_bucket(hash, table.size());
    const std::uint32_t second = second_bucket(hash, table.size());
    for (auto before = metas_of(table[first]);;) {
        if (auto found = look(first)) return found;
        if (auto found = look(second)) return found;
        const auto after = metas_of(table[first]);
        if (after == before) return decltype(look(first)){};
        before = after;
    }
}

// The entry of a flow in a table, while its owner may move it.
std::optional<FlowEntry> find_flow(std::span<const FlowBucket> table, std::uint64_t hash, const FlowKey& key) noexcept;

constexpr bool is_expired(const FlowEntry& entry, const ListenerRecord& listener, Tick now) noexcept {
    return now.since(entry.seen) > listener.timeouts[entry.state];
}

// The backend of an entry, if it still holds: its time is not over, and that incarnation of the backend still serves
// the listener's service and keeps its flows. Null: the entry is dead.
inline const BackendRecord* backend_of(const Tables& tables, const FlowEntry& entry, const ListenerRecord& listener,
                                       Tick now) noexcept {
    const BackendRecord& backend = tables.backend(entry.handle);
    const bool holds = listener.in_use && backend.service == listener.service &&
                       keeps_flows(backend.status, listener.protocol) && !is_expired(entry, listener, now);
    return holds ? &backend : nullptr;
}

}  // namespace shunt::shm
