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

// A tag and its sequence bits, which survive the entry: they tell readers that the unit holds another one now.
constexpr std::uint64_t flow_owned_bit = 16;
constexpr FlowUnitKind flow_kind(std::uint64_t meta) noexcept { return static_cast<FlowUnitKind>(meta & 3); }
constexpr std::uint64_t flow_sequence(std::uint64_t meta) noexcept { return meta >> 5 & 7; }
constexpr std::uint64_t flow_tag(FlowUnitKind kind, FlowState state, std::uint64_t sequence) noexcept {
    return static_cast<std::uint64_t>(kind) | static_cast<std::uint64_t>(state) << 2 | (sequence & 7) << 5;
}
constexpr bool is_wide(const FlowKey& key) noexcept { return !key.peer.is_v4() || key.service_port != Be16{}; }

// What the first meta word of an entry says (layout.h).
constexpr FlowEntry flow_entry(std::uint64_t meta, ListenerIndex listener, Be16 service_port) noexcept {
    return {listener,
            service_port,
            Handle{static_cast<std::uint32_t>(meta >> 32)},
            static_cast<FlowState>(meta >> 2 & 3),
            Tick{static_cast<std::uint32_t>(meta >> 8) & Tick::mask},
            (meta & flow_owned_bit) != 0};
}

constexpr std::uint64_t flow_meta(std::uint64_t tag, const FlowEntry& entry) noexcept {
    return tag | (entry.owned ? flow_owned_bit : 0) | std::uint64_t{entry.seen.value} << 8 |
           std::uint64_t{entry.handle.value} << 32;
}
// The key of a narrow entry, without its listener.
constexpr std::uint64_t narrow_flow_key(const IpAddress& peer, Be16 peer_port) noexcept {
    return std::uint64_t{peer.as_v4().raw} | std::uint64_t{peer_port.raw} << 32;
}
// What stands in the second unit of a wide entry beside its tag.
struct WideFlowTail {
    Be16 peer_port;
    ListenerIndex listener;
    Be16 service_port;

    static constexpr WideFlowTail decode(std::uint64_t meta) noexcept {
        return {Be16::from_raw(static_cast<std::uint16_t>(meta >> 16)),
                ListenerIndex(static_cast<std::uint16_t>(meta >> 32)),
                Be16::from_raw(static_cast<std::uint16_t>(meta >> 48))};
    }
    constexpr std::uint64_t encode() const noexcept {
        return std::uint64_t{peer_port.raw} << 16 | std::uint64_t{listener.value} << 32 |
               std::uint64_t{service_port.raw} << 48;
    }
};

// For the one writer of a table. Empties the place in which an entry begins.
inline void clear_flow(FlowBucket& bucket, std::uint8_t unit) noexcept {
    const auto wipe = [](FlowUnit& of) {
        const std::uint64_t old = of.meta.load(std::memory_order_relaxed);
        of.meta.store(flow_tag(FlowUnitKind::empty, {}, flow_sequence(old) + 1), std::memory_order_release);
    };
    const FlowUnitKind kind = flow_kind(bucket.units[unit].meta.load(std::memory_order_relaxed));
    const bool two = kind == FlowUnitKind::wide_first && unit % 2 == 0;
    wipe(bucket.units[unit]);
    if (two) wipe(bucket.units[unit + 1U]);
}
// Into a place that is empty: one unit, or two from an even one on. Returns the first meta word, which comes last.
inline std::uint64_t fill_flow(FlowBucket& bucket, std::uint8_t unit, const FlowKey& key,
                               const FlowEntry& entry) noexcept {
    FlowUnit* const units = &bucket.units[unit];
    const auto sequence = [&](std::size_t of) { return flow_sequence(units[of].meta.load(std::memory_order_relaxed)); };
    const bool wide = is_wide(key);
    const FlowUnitKind kind = wide ? FlowUnitKind::wide_first : FlowUnitKind::narrow;
    const std::uint64_t meta = flow_meta(flow_tag(kind, entry.state, sequence(0)), entry);
    if (!wide) {
        const std::uint64_t word = narrow_flow_key(key.peer, key.peer_port) | std::uint64_t{key.listener.value} << 48;
        units[0].key.store(word, std::memory_order_release);
    } else {
        const WideFlowTail tail{key.peer_port, key.listener, key.service_port};
        units[0].key.store(key.peer.high_word(), std::memory_order_release);
        units[1].key.store(key.peer.low_word(), std::memory_order_release);
        units[1].meta.store(flow_tag(FlowUnitKind::wide_second, {}, sequence(1)) | tail.encode(),
                            std::memory_order_release);
    }
    units[0].meta.store(meta, std::memory_order_release);
    return meta;
}

// Another entry of the same key, in one store: no reader misses it.
inline void renew_flow(FlowBucket& bucket, std::uint8_t unit, const FlowEntry& entry) noexcept {
    std::atomic<std::uint64_t>& meta = bucket.units[unit].meta;
    const std::uint64_t old = meta.load(std::memory_order_relaxed);
    meta.store(flow_meta(flow_tag(flow_kind(old), entry.state, flow_sequence(old)), entry), std::memory_order_release);
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
