// Which backend a flow has: fixed memory, one table per worker, no locks.
//
// A flow is (peer, peer port, listener). Its bucket is chosen by a keyed hash of the peer alone, so both directions of
// a flow meet in the same two candidate buckets. A new flow goes to the first one unless that is half full; then to the
// emptier: four of five flows are found with one cache line, even in a table that is as full as it is made for. One
// entry answers both questions: packets to the VIP ask (peer, listener) -> handle, replies ask (peer, source number of
// the handle) -> listener.
//
// Threads: the owner writes; any other worker, a tool, or a successor process reads at any time. An entry's tag is
// cleared first and stored last, with a sequence number that changes at every use of the unit, so a reader who sees the
// same meta word before and after reading the key has read one entry (layout.h).
//
// Nothing is swept: entries are judged when they are met. What "dead" means is the caller's to say, because only the
// tables know timeouts and backends.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>

#include "src/base/prefetch.h"
#include "src/base/time.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

using shm::FlowState;

struct FlowKey {
    IpAddress peer;
    Be16 peer_port;
    ListenerIndex listener;
    Be16 service_port;  // 0 unless the listener serves a range of ports: then the entry is wide
};

struct FlowEntry {
    ListenerIndex listener;
    Be16 service_port;
    shm::Handle handle;
    FlowState state{};
    Tick seen;
};

// How much an entry matters when a bucket is full; the worst goes first, and an active one never.
enum class FlowClass : std::uint8_t { dead, embryonic, closing, idle, active };

class FlowTable {
  public:
    // Where an entry was found: valid until the owner inserts.
    struct Position {
        std::uint32_t bucket{};
        std::uint8_t unit{};
    };
    struct Found {
        FlowEntry entry;
        Position position;
    };

    FlowTable() = default;
    // `buckets` must not be empty; readers pass the const_cast of what they mapped read-only and only call find().
    explicit FlowTable(std::span<shm::FlowBucket> buckets) noexcept : buckets_(buckets) {}

    std::size_t bucket_count() const noexcept { return buckets_.size(); }

    // The two buckets of a peer; `hash` is hash_peer() of it. The second is never the first again, unless there is only
    // one.
    std::uint32_t first_bucket(std::uint64_t hash) const noexcept {
        return static_cast<std::uint32_t>(scale_hash(hash, buckets_.size()));
    }
    std::uint32_t second_bucket(std::uint64_t hash) const noexcept {
        const std::uint64_t size = buckets_.size();
        const std::uint64_t step = size > 1 ? 1 + scale_hash(hash << 32 | hash >> 32, size - 1) : 0;
        const std::uint64_t bucket = first_bucket(hash) + step;
        return static_cast<std::uint32_t>(bucket >= size ? bucket - size : bucket);
    }
    void prefetch(std::uint32_t bucket) const noexcept { shunt::prefetch(&buckets_[bucket]); }

    // An entry at a glance, for its owner alone: nobody writes meanwhile.
    struct Glance {
        std::atomic<std::uint64_t>* word;  // null: none
        std::uint64_t meta;
        ListenerIndex listener;

        explicit operator bool() const noexcept { return word != nullptr; }
        shm::Handle handle() const noexcept { return {static_cast<std::uint32_t>(meta >> 32)}; }
        FlowState state() const noexcept { return state_of(meta); }
        Tick seen() const noexcept { return {static_cast<std::uint32_t>(meta >> 8) & Tick::mask}; }
        // The owner saw another packet of the flow. What says nothing new is not written: a line that is only read
        // stays shared, and need not go back to memory.
        void renew(FlowState state, Tick now) const noexcept {
            constexpr std::uint64_t kept = ~(std::uint64_t{3} << 2 | std::uint64_t{Tick::mask} << 8);
            const std::uint64_t fresh =
                (meta & kept) | static_cast<std::uint64_t>(state) << 2 | std::uint64_t{now.value} << 8;
            if (fresh != meta) word->store(fresh, std::memory_order_release);
        }
    };
    // The entry of a peer in a bucket, and of a listener, or (`Any`) of the first one that comes. There may be others
    // of the same peer: this is for a first look, which need not be the last. No branch depends on where in the bucket
    // it is.
    enum class Of : std::uint8_t { this_listener, any_listener };
    template <Of of>
    [[gnu::always_inline]] Glance glance(std::uint32_t bucket, const IpAddress& peer, Be16 peer_port,
                                         ListenerIndex listener) const noexcept {
        shm::FlowBucket& units = buckets_[bucket];
        if (peer.is_v4()) return glance_narrow<of>(units, peer, peer_port, listener);
        return glance_wide<of>(units, peer, peer_port, listener);
    }

    // The first entry of this peer in a bucket that `matches(const FlowEntry&)` accepts.
    template <class Matches>
    [[gnu::always_inline]] std::optional<Found> find_in(std::uint32_t bucket, const IpAddress& peer, Be16 peer_port,
                                                        Matches&& matches) const noexcept {
        const shm::FlowBucket& units = buckets_[bucket];
        if (peer.is_v4()) {
            for (std::uint32_t same = narrow_of(units, peer, peer_port); same != 0; same &= same - 1) {
                const auto unit = static_cast<std::uint8_t>(std::countr_zero(same));
                const auto entry = read_narrow(units.units[unit], peer, peer_port);
                if (entry && matches(*entry)) [[likely]]
                    return Found{*entry, {bucket, unit}};
            }
        }
        for (std::uint32_t same = wide_of(units, peer); same != 0; same &= same - 1) {
            const auto unit = static_cast<std::uint8_t>(std::countr_zero(same));
            const auto entry = read_wide(units, unit, peer, peer_port);
            if (entry && matches(*entry)) return Found{*entry, {bucket, unit}};
        }
        return std::nullopt;
    }
    // The same in both.
    template <class Matches>
    std::optional<Found> find(std::uint64_t hash, const IpAddress& peer, Be16 peer_port,
                              Matches&& matches) const noexcept {
        if (const auto found = find_in(first_bucket(hash), peer, peer_port, matches)) return found;
        return find_in(second_bucket(hash), peer, peer_port, matches);
    }

    enum class Inserted : std::uint8_t { fresh, replaced, evicted, no_room };

    // Remembers a flow, in place of what was known of the same key. `classify(const FlowEntry&)` judges who may go.
    template <class Classify>
    Inserted insert(std::uint64_t hash, const FlowKey& key, const FlowEntry& entry, Classify&& classify) noexcept;

    // The owner saw another packet of the flow.
    void touch(Position position, FlowState state, Tick seen) noexcept {
        std::atomic<std::uint64_t>& word = buckets_[position.bucket].units[position.unit].meta;
        Glance{&word, word.load(std::memory_order_relaxed), {}}.renew(state, seen);
    }
    void erase(Position position) noexcept;

    // Visits every entry as (peer, peer port, entry). For tools; entries being written are passed over.
    template <class Visit>
    void for_each(Visit&& visit) const noexcept;

  private:
    enum class Kind : std::uint8_t { empty = 0, narrow, wide_first, wide_second };

    // A place that could take an entry of `width` units.
    struct Place {
        Position position;
        FlowClass worst{FlowClass::active};  // of the most precious entry that would go
        std::uint32_t age{};                 // ticks; the youngest of those that would go
    };

    static constexpr std::uint32_t half_full = 2;  // units
    static constexpr Kind kind_of(std::uint64_t meta) noexcept { return static_cast<Kind>(meta & 3); }
    static constexpr FlowState state_of(std::uint64_t meta) noexcept { return static_cast<FlowState>(meta >> 2 & 3); }
    static constexpr std::uint64_t sequence_of(std::uint64_t meta) noexcept { return meta >> 4 & 15; }
    static constexpr std::uint64_t make_tag(Kind kind, FlowState state, std::uint64_t sequence) noexcept {
        return static_cast<std::uint64_t>(kind) | static_cast<std::uint64_t>(state) << 2 | (sequence & 15) << 4;
    }
    static constexpr std::uint64_t make_meta(std::uint64_t tag, const FlowEntry& entry) noexcept {
        return tag | std::uint64_t{entry.seen.value} << 8 | std::uint64_t{entry.handle.value} << 32;
    }
    static bool needs_wide(const FlowKey& key) noexcept { return !key.peer.is_v4() || key.service_port != Be16{}; }

    static FlowEntry decode(std::uint64_t meta, ListenerIndex listener, Be16 service_port) noexcept {
        return {listener, service_port, shm::Handle{static_cast<std::uint32_t>(meta >> 32)}, state_of(meta),
                Tick{static_cast<std::uint32_t>(meta >> 8) & Tick::mask}};
    }
    // What stands in the second unit of a wide entry; see layout.h.
    struct WideTail {
        Be16 peer_port;
        ListenerIndex listener;
        Be16 service_port;

        static WideTail decode(std::uint64_t meta) noexcept {
            return {Be16::from_raw(static_cast<std::uint16_t>(meta >> 16)),
                    ListenerIndex(static_cast<std::uint16_t>(meta >> 32)),
                    Be16::from_raw(static_cast<std::uint16_t>(meta >> 48))};
        }
        std::uint64_t encode() const noexcept {
            return std::uint64_t{peer_port.raw} << 16 | std::uint64_t{listener.value} << 32 |
                   std::uint64_t{service_port.raw} << 48;
        }
    };
    struct Stored {
        FlowKey key;
        FlowEntry entry;
    };
    static std::optional<Stored> read_any(const shm::FlowBucket& bucket, std::uint8_t unit) noexcept;
    static std::uint64_t load(const std::atomic<std::uint64_t>& word) noexcept {
        return word.load(std::memory_order_acquire);
    }
    // The key of a narrow entry without its listener, which stands in the upper 16 bits.
    static std::uint64_t without_listener(std::uint64_t key) noexcept { return key << 16; }
    static std::uint64_t narrow_key(const IpAddress& peer, Be16 peer_port) noexcept {
        return std::uint64_t{peer.as_v4().raw} | std::uint64_t{peer_port.raw} << 32;
    }
    template <Of of>
    [[gnu::always_inline]] static Glance glance_narrow(shm::FlowBucket& bucket, const IpAddress& peer, Be16 peer_port,
                                                       ListenerIndex listener) noexcept {
        constexpr int ignored = of == Of::this_listener ? 0 : 16;  // upper bits
        const std::uint64_t wanted = narrow_key(peer, peer_port) | std::uint64_t{listener.value} << 48;
        const auto is_same = [&](std::size_t unit) {
            const std::uint64_t key = bucket.units[unit].key.load(std::memory_order_relaxed);
            return std::uint32_t{(key ^ wanted) << ignored == 0} << unit;
        };
        const std::uint32_t same = is_same(0) | is_same(1) | is_same(2) | is_same(3);
        if (same == 0) return {};
        shm::FlowUnit* const unit = &bucket.units[0] + std::countr_zero(same);
        const std::uint64_t meta = unit->meta.load(std::memory_order_relaxed);
        const std::uint64_t key = of == Of::this_listener ? wanted : unit->key.load(std::memory_order_relaxed);
        return {kind_of(meta) == Kind::narrow ? &unit->meta : nullptr, meta,
                ListenerIndex(static_cast<std::uint16_t>(key >> 48))};
    }
    template <Of of>
    [[gnu::always_inline]] static Glance glance_wide(shm::FlowBucket& bucket, const IpAddress& peer, Be16 peer_port,
                                                     ListenerIndex listener) noexcept {
        constexpr int ignored = of == Of::this_listener ? 0 : 32;  // upper bits: listener and service port
        const std::uint64_t wanted = WideTail{peer_port, listener, Be16{}}.encode();
        const auto is_same = [&](std::size_t unit) {
            const shm::FlowUnit& first = bucket.units[unit];
            const shm::FlowUnit& second = bucket.units[unit + 1];
            const std::uint64_t high = first.key.load(std::memory_order_relaxed) ^ peer.high_word();
            const std::uint64_t low = second.key.load(std::memory_order_relaxed) ^ peer.low_word();
            const std::uint64_t tail = (second.meta.load(std::memory_order_relaxed) ^ wanted) >> 16;
            return std::uint32_t{(high | low | tail << (16 + ignored)) == 0} << unit;
        };
        const std::uint32_t same = is_same(0) | is_same(2);
        if (same == 0) return {};
        shm::FlowUnit* const unit = &bucket.units[0] + std::countr_zero(same);
        const std::uint64_t meta = unit->meta.load(std::memory_order_relaxed);
        const WideTail tail = WideTail::decode((unit + 1)->meta.load(std::memory_order_relaxed));
        return {kind_of(meta) == Kind::wide_first ? &unit->meta : nullptr, meta, tail.listener};
    }
    // Which units may hold a narrow entry of this peer, as bits; without a branch on what the memory says.
    [[gnu::always_inline]] static std::uint32_t narrow_of(const shm::FlowBucket& bucket, const IpAddress& peer,
                                                          Be16 peer_port) noexcept {
        const std::uint64_t wanted = without_listener(narrow_key(peer, peer_port));
        const auto is_same = [&](std::size_t unit) {
            const std::uint64_t key = bucket.units[unit].key.load(std::memory_order_relaxed);
            return std::uint32_t{without_listener(key) == wanted} << unit;
        };
        return is_same(0) | is_same(1) | is_same(2) | is_same(3);
    }
    static std::uint32_t wide_of(const shm::FlowBucket& bucket, const IpAddress& peer) noexcept {
        const auto is_same = [&](std::size_t unit) {
            const std::uint64_t high = bucket.units[unit].key.load(std::memory_order_relaxed);
            const std::uint64_t low = bucket.units[unit + 1].key.load(std::memory_order_relaxed);
            return std::uint32_t{((high ^ peer.high_word()) | (low ^ peer.low_word())) == 0} << unit;
        };
        return is_same(0) | is_same(2);
    }
    [[gnu::always_inline]] static std::optional<FlowEntry> read_narrow(const shm::FlowUnit& unit, const IpAddress& peer,
                                                                       Be16 peer_port) noexcept {
        const std::uint64_t meta = load(unit.meta);
        const std::uint64_t key = load(unit.key);
        const bool is_peers = without_listener(key) == without_listener(narrow_key(peer, peer_port));
        if (kind_of(meta) != Kind::narrow || !is_peers || load(unit.meta) != meta) return std::nullopt;
        return decode(meta, ListenerIndex(static_cast<std::uint16_t>(key >> 48)), Be16{});
    }
    static std::optional<FlowEntry> read_wide(const shm::FlowBucket& bucket, std::uint8_t unit, const IpAddress& peer,
                                              Be16 peer_port) noexcept {
        const shm::FlowUnit& first = bucket.units[unit];
        const shm::FlowUnit& second = bucket.units[unit + 1U];
        const std::uint64_t meta = load(first.meta);
        const bool is_peers = load(first.key) == peer.high_word() && load(second.key) == peer.low_word();
        const WideTail tail = WideTail::decode(load(second.meta));
        const bool is_whole = kind_of(meta) == Kind::wide_first && load(first.meta) == meta;
        if (!is_whole || !is_peers || tail.peer_port != peer_port) return std::nullopt;
        return decode(meta, tail.listener, tail.service_port);
    }
    static std::uint32_t occupied(const shm::FlowBucket& bucket) noexcept;

    template <class Classify>
    Place judge(std::uint32_t bucket, std::uint8_t unit, std::uint8_t width, Tick now,
                Classify& classify) const noexcept;
    void clear(Position position) noexcept;
    void put(Position position, const FlowKey& key, const FlowEntry& entry) noexcept;

    std::span<shm::FlowBucket> buckets_;
};

template <class Classify>
FlowTable::Place FlowTable::judge(std::uint32_t bucket, std::uint8_t unit, std::uint8_t width, Tick now,
                                  Classify& classify) const noexcept {
    Place place{{bucket, unit}, FlowClass::dead, Tick::mask};
    for (std::uint8_t i = unit; i < unit + width; ++i) {
        const bool second_half =
            kind_of(buckets_[bucket].units[i].meta.load(std::memory_order_relaxed)) == Kind::wide_second;
        const auto stored = read_any(buckets_[bucket], static_cast<std::uint8_t>(second_half ? i - 1 : i));
        if (!stored) continue;
        const FlowClass value = classify(stored->entry);
        if (value == FlowClass::dead) continue;
        const std::uint32_t age = now.since(stored->entry.seen);
        place.worst = std::max(place.worst, value);
        place.age = std::min(place.age, age);
    }
    return place;
}

template <class Classify>
FlowTable::Inserted FlowTable::insert(std::uint64_t hash, const FlowKey& key, const FlowEntry& entry,
                                      Classify&& classify) noexcept {
    const auto same = find(hash, key.peer, key.peer_port, [&](const FlowEntry& known) {
        return known.listener == key.listener && known.service_port == key.service_port;
    });
    if (same) {
        put(same->position, key, entry);
        return Inserted::replaced;
    }
    const auto width = static_cast<std::uint8_t>(needs_wide(key) ? 2 : 1);
    std::uint32_t candidates[2] = {first_bucket(hash), second_bucket(hash)};
    const std::uint32_t used = occupied(buckets_[candidates[0]]);
    if (used >= half_full && occupied(buckets_[candidates[1]]) < used) std::swap(candidates[0], candidates[1]);

    Place best;
    for (const std::uint32_t bucket : candidates) {
        for (std::uint8_t unit = 0; unit < 4; unit = static_cast<std::uint8_t>(unit + width)) {
            const Place place = judge(bucket, unit, width, entry.seen, classify);
            if (place.worst < best.worst || (place.worst == best.worst && place.age > best.age)) best = place;
        }
        if (best.worst == FlowClass::dead) break;
    }
    if (best.worst == FlowClass::active) return Inserted::no_room;
    put(best.position, key, entry);
    return best.worst == FlowClass::dead ? Inserted::fresh : Inserted::evicted;
}

template <class Visit>
void FlowTable::for_each(Visit&& visit) const noexcept {
    for (const shm::FlowBucket& bucket : buckets_) {
        for (std::uint8_t unit = 0; unit < 4; ++unit) {
            if (const auto stored = read_any(bucket, unit))
                visit(stored->key.peer, stored->key.peer_port, stored->entry);
        }
    }
}

}  // namespace shunt::dataplane
