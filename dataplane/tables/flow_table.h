// Which backend a flow has: fixed memory, one table per worker, no locks.
//
// A flow is (peer, peer port, listener). Its bucket is chosen by a keyed hash of the peer alone, so both directions of
// a flow meet in the same two candidate buckets. A new flow goes to the first one unless that is half full; then to the
// emptier: four of five flows are found with one cache line, even in a table that is as full as it is made for. One
// entry answers both questions: packets to the VIP ask (peer, listener) -> handle, replies ask (peer, source number of
// the handle) -> listener.
//
// Who comes when both buckets are full takes the place of the oldest of the worst class. If all are active, one of them
// makes room: it moves to the other of its own two buckets, where the one that stands there may move in turn
// (docs/decisions/0002). Only when nobody can is a flow not remembered.
//
// Threads: the owner writes; any other worker, a tool, or a successor process reads at any time. An entry's tag is
// cleared first and stored last, with a sequence number that changes at every use of the unit, so a reader who sees the
// same meta word before and after reading the key has read one entry (layout.h).
//
// Entries are judged when they are met, and a sweep that never does much at once (sweep_flows.h) clears away what has
// expired. What "dead" means is the caller's to say, because only the tables know timeouts and backends.
//
// A worker counts the flows it chose for (`owned`; those it copied from another table are counted there), from the
// entry to its end or its FIN: LiveFlows is told here, where entries come and go. What a predecessor left is counted as
// the sweep first comes by; until then nothing of those buckets counts.
#pragma once

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/tables/live_flows.h"
#include "src/base/prefetch.h"
#include "src/base/time.h"
#include "src/shm/flow.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

using shm::FlowEntry;
using shm::FlowKey;
using shm::FlowState;

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

    // The owner's, under the region's seed, who counts in `live`; `is_counted`: what is there now was counted before.
    FlowTable(std::span<shm::FlowBucket> buckets, const HashSeed& seed, const LiveFlows& live = {},
              bool is_counted = true) noexcept
        : buckets_(buckets),
          seed_(seed),
          live_(live),
          counted_(is_counted ? static_cast<std::uint32_t>(buckets.size()) : 0) {}

    std::size_t bucket_count() const noexcept { return buckets_.size(); }
    bool all_counted() const noexcept { return counted_ >= buckets_.size(); }

    // The two buckets of a peer; `hash` is hash_peer() of it.
    std::uint32_t first_bucket(std::uint64_t hash) const noexcept { return shm::first_bucket(hash, buckets_.size()); }
    std::uint32_t second_bucket(std::uint64_t hash) const noexcept { return shm::second_bucket(hash, buckets_.size()); }
    shm::FlowBucket& bucket(std::uint32_t index) const noexcept { return buckets_[index]; }
    void prefetch(std::uint32_t bucket) const noexcept { shunt::prefetch(&buckets_[bucket]); }

    // An entry at a glance, for its owner alone: nobody writes meanwhile.
    struct Glance {
        std::atomic<std::uint64_t>* word;  // null: none
        std::uint64_t meta;
        ListenerIndex listener;

        explicit operator bool() const noexcept { return word != nullptr; }
        shm::Handle handle() const noexcept { return handle_of(meta); }
        FlowEntry entry() const noexcept { return shm::flow_entry(meta, listener, Be16{}); }
        // The owner saw another packet of the flow, which neither opens nor closes it; one of the client establishes
        // it. False: its time was up before. What says nothing new is not written: a line that is only read stays
        // shared, and need not go back to memory.
        bool renew(bool establishes, const shm::FlowTimeouts& timeouts, Tick now) const noexcept {
            const FlowState state = state_of(meta);
            const Tick seen{static_cast<std::uint32_t>(meta) >> 8};
            const bool is_new = establishes && state == FlowState::embryonic;
            if (seen == now && !is_new) return true;
            if (now.since(seen) > timeouts[state]) return false;
            write(is_new ? FlowState::established : state, now);
            return true;
        }
        void write(FlowState state, Tick now) const noexcept {
            constexpr std::uint64_t kept = ~(std::uint64_t{3} << 2 | std::uint64_t{Tick::mask} << 8);
            const std::uint64_t fresh =
                (meta & kept) | static_cast<std::uint64_t>(state) << 2 | std::uint64_t{now.value} << 8;
            if (fresh != meta) word->store(fresh, std::memory_order_release);
        }
    };
    // The entry of a peer in a bucket, and of a listener, or (`Any`) of the first one that comes. There may be others
    // of the same peer: this is for a first look, which need not be the last. No branch depends on where in the bucket
    // it is. `family` is the peer's.
    enum class Of : std::uint8_t { this_listener, any_listener };
    template <Of of>
    [[gnu::always_inline]] static Glance glance(shm::FlowBucket& bucket, Family family, const IpAddress& peer,
                                                Be16 peer_port, ListenerIndex listener) noexcept {
        if (family == Family::ipv4) return glance_narrow<of>(bucket, peer, peer_port, listener);
        return glance_wide<of>(bucket, peer, peer_port, listener);
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
    // The same in both, while the owner may move it.
    template <class Matches>
    std::optional<Found> find(std::uint64_t hash, const IpAddress& peer, Be16 peer_port,
                              Matches&& matches) const noexcept {
        return shm::look_into_both(buckets_, hash,
                                   [&](std::uint32_t bucket) { return find_in(bucket, peer, peer_port, matches); });
    }

    enum class Inserted : std::uint8_t { fresh, replaced, evicted, no_room };

    // Remembers a flow, in place of what was known of the same key. `classify(const FlowEntry&)` judges who may go.
    template <class Classify>
    Inserted insert(std::uint64_t hash, const FlowKey& key, const FlowEntry& entry, Classify&& classify) noexcept;
    // The same of a flow whose peer has no entry at all in the two buckets, as the caller has just seen there.
    template <class Classify>
    Inserted insert_stranger(std::uint64_t hash, const FlowKey& key, const FlowEntry& entry,
                             Classify&& classify) noexcept;

    // The owner saw another packet of the flow.
    void touch(Position position, FlowState state, Tick seen) noexcept {
        std::atomic<std::uint64_t>& word = buckets_[position.bucket].units[position.unit].meta;
        const std::uint64_t before = word.load(std::memory_order_relaxed);
        Glance{&word, before, {}}.write(state, seen);
        if (state != state_of(before)) [[unlikely]]
            recount(position.bucket, before, word.load(std::memory_order_relaxed));
    }
    void erase(Position position) noexcept;
    // Erases the flow, also where a death while it moved left it twice.
    void forget(std::uint64_t hash, const FlowKey& flow) noexcept;
    // The flow whose entry begins there; nothing if none does.
    std::optional<shm::StoredFlow> read(Position position) const noexcept {
        return shm::read_flow(buckets_[position.bucket], position.unit);
    }

    // One bucket of the sweep, which begins with the first: what `policy.is_over(entry)` is erased; the rest is
    // counted, if `policy.is_current(entry)` and it was not yet.
    template <class Policy>
    void tidy(std::uint32_t bucket, const Policy& policy) noexcept;

    // Visits every entry as (peer, peer port, entry). For tools; entries being written are passed over.
    template <class Visit>
    void for_each(Visit&& visit) const noexcept;

  private:
    using Kind = shm::FlowUnitKind;

    // A place that could take an entry of `width` units.
    struct Place {
        Position position;
        FlowClass worst{FlowClass::active};  // of the most precious entry that would go
        std::uint32_t age{};                 // ticks; the youngest of those that would go
    };

    // The empty units of a bucket.
    struct Vacancy {
        std::uint32_t count{};
        std::uint32_t units{};  // as bits

        // The first units of places for an entry, as bits.
        std::uint32_t places(std::uint8_t width) const noexcept {
            return width == 1 ? units : units & units >> 1 & 0b0101;
        }
    };
    Vacancy vacancy(std::uint32_t bucket) const noexcept {
        const auto empty = [&](std::size_t unit) {
            const std::uint64_t meta = buckets_[bucket].units[unit].meta.load(std::memory_order_relaxed);
            return std::uint32_t{kind_of(meta) == Kind::empty};
        };
        const std::uint32_t a = empty(0);
        const std::uint32_t b = empty(1);
        const std::uint32_t c = empty(2);
        const std::uint32_t d = empty(3);
        return {a + b + c + d, a | b << 1 | c << 2 | d << 3};
    }

    // How far those go who make room for another: at most so many moves one after the other, and at most so many
    // buckets looked at. Entries of four to a bucket need one move; of two, two moves reach no more buckets than this.
    static constexpr std::uint32_t most_moves = 2;
    static constexpr std::uint32_t most_looks = 16;
    template <class Classify>
    struct Search {
        Classify& classify;
        std::uint32_t looks_left{most_looks};
    };

    static constexpr std::uint32_t half_empty = 2;  // units
    static constexpr Kind kind_of(std::uint64_t meta) noexcept { return shm::flow_kind(meta); }
    static constexpr FlowState state_of(std::uint64_t meta) noexcept { return static_cast<FlowState>(meta >> 2 & 3); }
    static constexpr std::uint64_t owned_bit = shm::flow_owned_bit;
    static constexpr shm::Handle handle_of(std::uint64_t meta) noexcept {
        return {static_cast<std::uint32_t>(meta >> 32)};
    }
    // Does a unit with this meta word count as a live flow?
    bool counts(std::uint32_t bucket, std::uint64_t meta) const noexcept {
        return (meta & owned_bit) != 0 && state_of(meta) != FlowState::closing && bucket < counted_;
    }
    static std::uint8_t width_of(const FlowKey& key) noexcept { return shm::is_wide(key) ? 2 : 1; }

    using WideTail = shm::WideFlowTail;
    static std::uint64_t load(const std::atomic<std::uint64_t>& word) noexcept {
        return word.load(std::memory_order_acquire);
    }
    // The key of a narrow entry without its listener, which stands in the upper 16 bits.
    static std::uint64_t without_listener(std::uint64_t key) noexcept { return key << 16; }
    // Of four keys, those that are `wanted` in all but the upper `ignored` bits: a nibble of ones for each.
    template <int ignored>
    [[gnu::always_inline]] static std::uint32_t same_keys(const shm::FlowBucket& bucket,
                                                          std::uint64_t wanted) noexcept {
        const auto* units = reinterpret_cast<const __m128i*>(&bucket);
        const __m128i pattern = _mm_set1_epi64x(static_cast<long long>(wanted));
        const auto pair = [&](std::size_t first) {
            const __m128i keys = _mm_unpacklo_epi64(_mm_load_si128(units + first), _mm_load_si128(units + first + 1));
            if constexpr (ignored == 0) return _mm_cmpeq_epi32(keys, pattern);
            return _mm_cmpeq_epi32(_mm_slli_epi64(_mm_xor_si128(keys, pattern), ignored), _mm_setzero_si128());
        };
        const auto halves = static_cast<std::uint32_t>(_mm_movemask_epi8(_mm_packs_epi32(pair(0), pair(2))));
        return halves & halves >> 2 & 0x1111;
    }
    template <Of of>
    [[gnu::always_inline]] static Glance glance_narrow(shm::FlowBucket& bucket, const IpAddress& peer, Be16 peer_port,
                                                       ListenerIndex listener) noexcept {
        constexpr int ignored = of == Of::this_listener ? 0 : 16;  // upper bits
        const std::uint64_t wanted = shm::narrow_flow_key(peer, peer_port) | std::uint64_t{listener.value} << 48;
        const std::uint32_t same = same_keys<ignored>(bucket, wanted);
        if (same == 0) return {};
        constexpr std::size_t per_bit = sizeof(shm::FlowUnit) / 4;
        auto* const unit = reinterpret_cast<shm::FlowUnit*>(
            reinterpret_cast<std::byte*>(&bucket) + static_cast<std::uint32_t>(std::countr_zero(same)) * per_bit);
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
        const std::uint64_t wanted = without_listener(shm::narrow_flow_key(peer, peer_port));
        const auto is_same = [&](std::size_t unit) {
            return std::uint32_t{without_listener(load(bucket.units[unit].key)) == wanted} << unit;
        };
        return is_same(0) | is_same(1) | is_same(2) | is_same(3);
    }
    static std::uint32_t wide_of(const shm::FlowBucket& bucket, const IpAddress& peer) noexcept {
        const auto is_same = [&](std::size_t unit) {
            const std::uint64_t high = load(bucket.units[unit].key);
            const std::uint64_t low = load(bucket.units[unit + 1].key);
            return std::uint32_t{((high ^ peer.high_word()) | (low ^ peer.low_word())) == 0} << unit;
        };
        return is_same(0) | is_same(2);
    }
    [[gnu::always_inline]] static std::optional<FlowEntry> read_narrow(const shm::FlowUnit& unit, const IpAddress& peer,
                                                                       Be16 peer_port) noexcept {
        const std::uint64_t meta = load(unit.meta);
        const std::uint64_t key = load(unit.key);
        const bool is_peers = without_listener(key) == without_listener(shm::narrow_flow_key(peer, peer_port));
        if (kind_of(meta) != Kind::narrow || !is_peers || load(unit.meta) != meta) return std::nullopt;
        return shm::flow_entry(meta, ListenerIndex(static_cast<std::uint16_t>(key >> 48)), Be16{});
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
        return shm::flow_entry(meta, tail.listener, tail.service_port);
    }
    // What a unit is part of. Where memory was damaged it may say what cannot be: half of an entry that would reach
    // beyond its place is no entry.
    static Kind kind_at(std::uint8_t unit, std::uint64_t meta) noexcept {
        const Kind kind = kind_of(meta);
        const bool cannot_be = kind == (unit % 2 == 0 ? Kind::wide_second : Kind::wide_first);
        return cannot_be ? Kind::empty : kind;
    }
    // Where the entry begins of which a unit is part, if it is part of one.
    Position beginning(Position of) const noexcept {
        const std::uint64_t meta = buckets_[of.bucket].units[of.unit].meta.load(std::memory_order_relaxed);
        return {of.bucket, static_cast<std::uint8_t>(of.unit - (kind_at(of.unit, meta) == Kind::wide_second))};
    }
    // The entry that begins in a unit; for the owner, who needs no proof that nobody writes meanwhile.
    std::optional<FlowEntry> entry_at(Position position) const noexcept {
        const shm::FlowUnit* const units = &buckets_[position.bucket].units[position.unit];
        const std::uint64_t meta = units[0].meta.load(std::memory_order_relaxed);
        if (kind_of(meta) == Kind::narrow) {
            const std::uint64_t key = units[0].key.load(std::memory_order_relaxed);
            return shm::flow_entry(meta, ListenerIndex(static_cast<std::uint16_t>(key >> 48)), Be16{});
        }
        if (kind_at(position.unit, meta) != Kind::wide_first) return std::nullopt;
        const WideTail tail = WideTail::decode(units[1].meta.load(std::memory_order_relaxed));
        return shm::flow_entry(meta, tail.listener, tail.service_port);
    }

    template <class Classify>
    Place judge(std::uint32_t bucket, std::uint8_t unit, std::uint8_t width, Tick now,
                Classify& classify) const noexcept;
    template <class Classify>
    [[gnu::noinline]] Inserted insert_among(const std::array<std::uint32_t, 2>& buckets, const FlowKey& key,
                                            const FlowEntry& entry, Classify& classify) noexcept;
    template <class Classify>
    std::optional<Position> make_room(const std::array<std::uint32_t, 2>& buckets, std::uint8_t width,
                                      Classify& classify) noexcept;
    template <class Classify>
    bool vacate(Position place, std::uint8_t width, std::uint32_t moves, Search<Classify>& search) noexcept;
    template <class Classify>
    bool move_away(Position from, std::uint32_t moves, Search<Classify>& search) noexcept;
    // Does the flow have an entry in the other of its buckets as well? A predecessor died while it moved.
    bool is_twin(Position position) const noexcept;
    void recount(std::uint32_t bucket, std::uint64_t before, std::uint64_t after) noexcept;
    void clear(Position position) noexcept;
    void put(Position position, const FlowKey& key, const FlowEntry& entry) noexcept;
    void fill(Position position, const FlowKey& key, const FlowEntry& entry) noexcept;

    std::span<shm::FlowBucket> buckets_;
    HashSeed seed_{};
    LiveFlows live_{};
    std::uint32_t counted_{};  // buckets before this one
};

template <class Classify>
FlowTable::Place FlowTable::judge(std::uint32_t bucket, std::uint8_t unit, std::uint8_t width, Tick now,
                                  Classify& classify) const noexcept {
    Place place{{bucket, unit}, FlowClass::dead, Tick::mask};
    for (std::uint8_t i = unit; i < unit + width; ++i) {
        const auto entry = entry_at(beginning({bucket, i}));
        if (!entry) continue;
        const FlowClass value = classify(*entry);
        if (value == FlowClass::dead) continue;
        place.worst = std::max(place.worst, value);
        place.age = std::min(place.age, now.since(entry->seen));
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
    return insert_stranger(hash, key, entry, classify);
}

// While there is an empty place nobody is judged.
template <class Classify>
FlowTable::Inserted FlowTable::insert_stranger(std::uint64_t hash, const FlowKey& key, const FlowEntry& entry,
                                               Classify&& classify) noexcept {
    const std::array<std::uint32_t, 2> buckets{first_bucket(hash), second_bucket(hash)};
    const std::array<Vacancy, 2> empty{vacancy(buckets[0]), vacancy(buckets[1])};
    // No branch: it would go either way.
    const std::size_t better = (empty[0].count <= half_empty) & (empty[1].count > empty[0].count);
    const std::uint8_t width = width_of(key);
    for (const std::size_t i : {better, 1 - better}) {
        const std::uint32_t places = empty[i].places(width);
        if (places == 0) continue;
        fill({buckets[i], static_cast<std::uint8_t>(std::countr_zero(places))}, key, entry);
        return Inserted::fresh;
    }
    return insert_among(buckets, key, entry, classify);
}

// In place of somebody.
template <class Classify>
FlowTable::Inserted FlowTable::insert_among(const std::array<std::uint32_t, 2>& buckets, const FlowKey& key,
                                            const FlowEntry& entry, Classify& classify) noexcept {
    const std::uint8_t width = width_of(key);
    Place best;
    for (const std::uint32_t bucket : buckets) {
        for (std::uint8_t unit = 0; unit < shm::units_per_bucket; unit = static_cast<std::uint8_t>(unit + width)) {
            const Place place = judge(bucket, unit, width, entry.seen, classify);
            if (place.worst == FlowClass::dead) {
                put(place.position, key, entry);
                return Inserted::fresh;
            }
            if (place.worst < best.worst || (place.worst == best.worst && place.age > best.age)) best = place;
        }
    }
    if (best.worst != FlowClass::active) {
        put(best.position, key, entry);
        return Inserted::evicted;
    }
    const auto room = make_room(buckets, width, classify);
    if (!room) return Inserted::no_room;
    put(*room, key, entry);
    return Inserted::fresh;
}

// One move, if that is enough; else two.
template <class Classify>
std::optional<FlowTable::Position> FlowTable::make_room(const std::array<std::uint32_t, 2>& buckets, std::uint8_t width,
                                                        Classify& classify) noexcept {
    Search<Classify> search{classify};
    for (std::uint32_t moves = 1; moves <= most_moves; ++moves) {
        for (const std::uint32_t bucket : buckets) {
            for (std::uint8_t unit = 0; unit < shm::units_per_bucket; unit = static_cast<std::uint8_t>(unit + width)) {
                if (vacate({bucket, unit}, width, moves, search)) return Position{bucket, unit};
            }
        }
    }
    return std::nullopt;
}

// True: nothing that holds stands there any more. False: something does, and whoever did move is as well where it is.
template <class Classify>
bool FlowTable::vacate(Position place, std::uint8_t width, std::uint32_t moves, Search<Classify>& search) noexcept {
    for (std::uint8_t unit = place.unit; unit < place.unit + width; ++unit) {
        const Position begin = beginning({place.bucket, unit});
        const auto entry = entry_at(begin);
        if (!entry || search.classify(*entry) == FlowClass::dead) continue;
        if (moves == 0 || !move_away(begin, moves, search)) return false;
    }
    // Of a place of two units, one may have been taken again by who made room for the other.
    return moves == 0 || vacate(place, width, 0, search);
}

// To the other of its buckets, if there is a place or one can be made. Readers meet it twice rather than not at all.
template <class Classify>
bool FlowTable::move_away(Position from, std::uint32_t moves, Search<Classify>& search) noexcept {
    const shm::StoredFlow flow = shm::read_flow(buckets_[from.bucket], from.unit).value_or(shm::StoredFlow{});
    const std::uint64_t hash = hash_peer(seed_, flow.key.peer, flow.key.peer_port);
    const std::uint32_t bucket = shm::other_bucket(hash, buckets_.size(), from.bucket);
    if (bucket == from.bucket || search.looks_left == 0) return false;
    --search.looks_left;
    const std::uint8_t width = width_of(flow.key);
    for (std::uint8_t unit = 0; unit < shm::units_per_bucket; unit = static_cast<std::uint8_t>(unit + width)) {
        const Position to{bucket, unit};
        if (!vacate(to, width, moves - 1, search)) continue;
        put(to, flow.key, flow.entry);
        clear(from);
        return true;
    }
    return false;
}

template <class Policy>
void FlowTable::tidy(std::uint32_t bucket, const Policy& policy) noexcept {
    const bool is_new = bucket == counted_;
    if (is_new) ++counted_;
    for (std::uint8_t unit = 0; unit < shm::units_per_bucket; ++unit) {
        const auto entry = entry_at({bucket, unit});
        if (!entry) continue;
        const std::uint64_t meta = buckets_[bucket].units[unit].meta.load(std::memory_order_relaxed);
        if (is_new && counts(bucket, meta) && policy.is_current(*entry)) live_.add(entry->handle);
        if (policy.is_over(*entry) || (is_new && is_twin({bucket, unit}))) clear({bucket, unit});
    }
}

template <class Visit>
void FlowTable::for_each(Visit&& visit) const noexcept {
    for (const shm::FlowBucket& bucket : buckets_) {
        for (std::uint8_t unit = 0; unit < 4; ++unit) {
            if (const auto stored = shm::read_flow(bucket, unit))
                visit(stored->key.peer, stored->key.peer_port, stored->entry);
        }
    }
}

}  // namespace shunt::dataplane
