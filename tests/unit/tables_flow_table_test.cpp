#include <gtest/gtest.h>

#include <map>
#include <tuple>
#include <vector>

#include "dataplane/tables/flow_table.h"
#include "src/base/random.h"
#include "src/shm/state.h"

namespace shunt::dataplane {
namespace {

using shm::Handle;

// As random as a region's: the products of small numbers are no hash.
constexpr HashSeed seed{{0x8f1d3b6c92a4e05bULL, 0x37c9e1520b8df6a4ULL, 0xd46a0c7f31e98b25ULL, 0x5b02f8e6a7391cd3ULL}};

struct Ipv4Peers {
    static IpAddress peer(std::uint32_t n) { return IpAddress::v4(Be32(0xcb007100U + n)); }
};
struct Ipv6Peers {
    static IpAddress peer(std::uint32_t n) {
        return IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(n >> 8),
                              static_cast<std::uint8_t>(n)});
    }
};

template <class Peers>
class FlowTableOf : public testing::Test {
  protected:
    static FlowKey key(std::uint32_t peer, std::uint16_t port, std::uint16_t listener) {
        return {Peers::peer(peer), Be16(port), ListenerIndex(listener), Be16{}};
    }
    static FlowEntry entry(const FlowKey& key, std::uint32_t handle, FlowState state = FlowState::established,
                           std::uint32_t tick = 100) {
        return {key.listener, key.service_port, Handle::of(handle, 1), state, Tick{tick}};
    }
    static std::uint64_t hash(const FlowKey& k) { return hash_peer(seed, k.peer, k.peer_port); }
    FlowTable::Inserted insert(FlowTable& table, const FlowKey& k, const FlowEntry& e, FlowClass others) {
        return table.insert(hash(k), k, e, [&](const FlowEntry&) { return others; });
    }
    static std::optional<FlowTable::Found> find(const FlowTable& table, const FlowKey& k) {
        return table.find(hash(k), k.peer, k.peer_port, [&](const FlowEntry& e) {
            return e.listener == k.listener && e.service_port == k.service_port;
        });
    }
};
using Families = testing::Types<Ipv4Peers, Ipv6Peers>;
TYPED_TEST_SUITE(FlowTableOf, Families);

TYPED_TEST(FlowTableOf, FindsWhatWasInsertedAndNothingElse) {
    std::vector<shm::FlowBucket> memory(64);
    FlowTable table(memory, seed);
    const FlowKey k = this->key(7, 40000, 3);
    EXPECT_EQ(this->insert(table, k, this->entry(k, 9), FlowClass::active), FlowTable::Inserted::fresh);
    ASSERT_TRUE(this->find(table, k));
    EXPECT_EQ(this->find(table, k)->entry.handle, Handle::of(9, 1));
    EXPECT_FALSE(this->find(table, this->key(7, 40001, 3)));
    EXPECT_FALSE(this->find(table, this->key(8, 40000, 3)));
    EXPECT_FALSE(this->find(table, this->key(7, 40000, 4)));
}

TYPED_TEST(FlowTableOf, InsertingAgainReplaces) {
    std::vector<shm::FlowBucket> memory(64);
    FlowTable table(memory, seed);
    const FlowKey k = this->key(7, 40000, 3);
    this->insert(table, k, this->entry(k, 9), FlowClass::active);
    EXPECT_EQ(this->insert(table, k, this->entry(k, 10), FlowClass::active), FlowTable::Inserted::replaced);
    EXPECT_EQ(this->find(table, k)->entry.handle, Handle::of(10, 1));
    int count = 0;
    table.for_each([&](const IpAddress&, Be16, const FlowEntry&) { ++count; });
    EXPECT_EQ(count, 1);
}

TYPED_TEST(FlowTableOf, ARepliesQuestionFindsTheListenerByTheHandle) {
    std::vector<shm::FlowBucket> memory(64);
    FlowTable table(memory, seed);
    const FlowKey one = this->key(7, 40000, 3);
    const FlowKey two = this->key(7, 40000, 4);
    this->insert(table, one, this->entry(one, 9), FlowClass::active);
    this->insert(table, two, this->entry(two, 10), FlowClass::active);
    const auto found = table.find(this->hash(one), one.peer, one.peer_port,
                                  [](const FlowEntry& e) { return e.handle == Handle::of(10, 1); });
    ASSERT_TRUE(found);
    EXPECT_EQ(found->entry.listener, two.listener);
}

TYPED_TEST(FlowTableOf, TouchKeepsTheKeyAndChangesTheRest) {
    std::vector<shm::FlowBucket> memory(8);
    FlowTable table(memory, seed);
    const FlowKey k = this->key(7, 40000, 3);
    this->insert(table, k, this->entry(k, 9, FlowState::embryonic), FlowClass::active);
    table.touch(this->find(table, k)->position, FlowState::closing, Tick{Tick::mask});
    const auto again = this->find(table, k);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->entry.state, FlowState::closing);
    EXPECT_EQ(again->entry.seen, Tick{Tick::mask});
    EXPECT_EQ(again->entry.handle, Handle::of(9, 1));
    table.erase(again->position);
    EXPECT_FALSE(this->find(table, k));
}

TYPED_TEST(FlowTableOf, AnActiveFlowIsNeverEvicted) {
    std::vector<shm::FlowBucket> memory(1);
    FlowTable table(memory, seed);
    std::uint32_t inserted = 0;
    for (std::uint32_t n = 0; n < 20; ++n) {
        const FlowKey k = this->key(n, 1000, 1);
        inserted += this->insert(table, k, this->entry(k, 1), FlowClass::active) == FlowTable::Inserted::fresh;
    }
    EXPECT_EQ(inserted, this->key(0, 1, 1).peer.is_v4() ? 4U : 2U);
    for (std::uint32_t n = 0; n < inserted; ++n) EXPECT_TRUE(this->find(table, this->key(n, 1000, 1))) << n;
}

TYPED_TEST(FlowTableOf, TheOldestOfTheWorstClassGivesWay) {
    std::vector<shm::FlowBucket> memory(1);
    FlowTable table(memory, seed);
    const std::uint32_t room = this->key(0, 1, 1).peer.is_v4() ? 4 : 2;
    for (std::uint32_t n = 0; n < room; ++n) {
        const FlowKey k = this->key(n, 1000, 1);
        // Ages 20, 19, …; the second is the only embryonic one.
        const FlowEntry e = this->entry(k, n, n == 1 ? FlowState::embryonic : FlowState::established, 80 + n);
        ASSERT_EQ(this->insert(table, k, e, FlowClass::active), FlowTable::Inserted::fresh);
    }
    const auto by_state = [](const FlowEntry& e) {
        return e.state == FlowState::embryonic ? FlowClass::embryonic : FlowClass::idle;
    };
    const FlowKey first = this->key(50, 1000, 1);
    EXPECT_EQ(table.insert(this->hash(first), first, this->entry(first, 1), by_state), FlowTable::Inserted::evicted);
    EXPECT_FALSE(this->find(table, this->key(1, 1000, 1)));
    const FlowKey second = this->key(51, 1000, 1);
    EXPECT_EQ(table.insert(this->hash(second), second, this->entry(second, 1), by_state), FlowTable::Inserted::evicted);
    EXPECT_FALSE(this->find(table, this->key(0, 1000, 1)));
    EXPECT_TRUE(this->find(table, first));
}

// Four buckets, of which the first two are full of active flows. One of these could also be in the third.
template <class Peers>
class FullBuckets : public FlowTableOf<Peers> {
  protected:
    FullBuckets() {
        for (std::uint32_t i = 1; i < 2 * room; ++i) insert(next(0, 1));
    }
    // A flow that may be in these two.
    FlowKey next(std::uint32_t first, std::uint32_t second) {
        for (;;) {
            const FlowKey k = this->key(n_++, 1000, 1);
            const std::uint64_t hash = this->hash(k);
            if (table_.first_bucket(hash) == first && table_.second_bucket(hash) == second) return k;
        }
    }
    FlowTable::Inserted insert(const FlowKey& k) {
        return FlowTableOf<Peers>::insert(table_, k, this->entry(k, 1), FlowClass::active);
    }
    std::optional<std::uint32_t> bucket_of(const FlowKey& k) {
        const auto found = this->find(table_, k);
        return found ? std::optional(found->position.bucket) : std::nullopt;
    }
    std::uint32_t entries() const {
        std::uint32_t count = 0;
        table_.for_each([&](const IpAddress&, Be16, const FlowEntry&) { ++count; });
        return count;
    }

    const std::uint32_t room = Peers::peer(0).is_v4() ? 4 : 2;  // in a bucket
    std::vector<shm::FlowBucket> memory_ = std::vector<shm::FlowBucket>(4);
    FlowTable table_{memory_, seed};
    std::uint32_t n_{};
    FlowKey mover_ = [this] {
        const FlowKey k = next(0, 2);
        insert(k);
        return k;
    }();
};
TYPED_TEST_SUITE(FullBuckets, Families);

TYPED_TEST(FullBuckets, OneMovesToItsOtherBucket) {
    ASSERT_EQ(this->bucket_of(this->mover_), 0U);
    const FlowKey k = this->next(0, 1);
    EXPECT_EQ(this->insert(k), FlowTable::Inserted::fresh);
    EXPECT_EQ(this->bucket_of(k), 0U);
    EXPECT_EQ(this->bucket_of(this->mover_), 2U);
    EXPECT_EQ(this->entries(), 2 * this->room + 1);
    EXPECT_EQ(this->insert(this->next(1, 0)), FlowTable::Inserted::no_room);  // nobody else can move
    EXPECT_EQ(this->entries(), 2 * this->room + 1);
}

TYPED_TEST(FullBuckets, TheOneInItsWayMovesFirst) {
    const FlowKey on = this->next(2, 3);
    for (std::uint32_t i = 0; i < this->room; ++i) this->insert(i == 0 ? on : this->next(2, 0));
    ASSERT_EQ(this->bucket_of(on), 2U);
    const FlowKey k = this->next(0, 1);
    EXPECT_EQ(this->insert(k), FlowTable::Inserted::fresh);
    EXPECT_EQ(this->bucket_of(k), 0U);
    EXPECT_EQ(this->bucket_of(this->mover_), 2U);
    EXPECT_EQ(this->bucket_of(on), 3U);
    EXPECT_EQ(this->entries(), 3 * this->room + 1);
}

TYPED_TEST(FullBuckets, AnIdleOneGivesWayBeforeAnybodyMoves) {
    const FlowKey k = this->next(0, 1);
    EXPECT_EQ(FlowTableOf<TypeParam>::insert(this->table_, k, this->entry(k, 1), FlowClass::idle),
              FlowTable::Inserted::evicted);
    EXPECT_NE(this->bucket_of(this->mover_), 2U);
    EXPECT_EQ(this->entries(), 2 * this->room);
}

TYPED_TEST(FullBuckets, TheDeadAreNoObstacle) {
    std::vector<FlowKey> dead;
    for (std::uint32_t i = 0; i < this->room; ++i) {
        dead.push_back(this->next(2, 1));
        const FlowEntry e = this->entry(dead.back(), 1, FlowState::established, 1);
        FlowTableOf<TypeParam>::insert(this->table_, dead.back(), e, FlowClass::active);
    }
    const FlowKey k = this->next(0, 1);
    const auto by_age = [](const FlowEntry& e) { return e.seen == Tick{1} ? FlowClass::dead : FlowClass::active; };
    EXPECT_EQ(this->table_.insert(this->hash(k), k, this->entry(k, 1), by_age), FlowTable::Inserted::fresh);
    EXPECT_EQ(this->bucket_of(this->mover_), 2U);
    EXPECT_EQ(this->entries(), 3 * this->room);
}

// Half of the buckets are counted when flows begin to move; in the end each counts once.
TYPED_TEST(FlowTableOf, WhoMovesIsCountedOnce) {
    constexpr std::uint32_t buckets = 1024;
    constexpr std::uint32_t handles = 8;
    const shm::StateShape shape{
        .workers = 1, .handles = handles, .services = 1, .reserved = 0, .buckets_per_worker = buckets};
    std::vector<shm::FlowBucket> memory(shm::StateLayout::of(shape).total / sizeof(shm::FlowBucket));
    auto* const region = reinterpret_cast<std::byte*>(memory.data());
    shm::format_state(region, shape, seed);
    const shm::State state(region);
    FlowTable table(state.flows(WorkerIndex(0)), seed, LiveFlows(state, WorkerIndex(0)), false);
    struct Policy {
        static bool is_over(const FlowEntry&) { return false; }
        static bool is_current(const FlowEntry&) { return true; }
    };
    std::vector<FlowKey> keys;
    const auto insert = [&](std::uint32_t count) {
        for (std::uint32_t i = 0; i < count; ++i) {
            const FlowKey k = this->key(static_cast<std::uint32_t>(keys.size()), 1000, 1);
            FlowEntry e = this->entry(k, static_cast<std::uint32_t>(keys.size()) % handles);
            e.owned = true;
            ASSERT_EQ(this->insert(table, k, e, FlowClass::active), FlowTable::Inserted::fresh);
            keys.push_back(k);
        }
    };
    const auto places = [&] {
        std::vector<std::uint32_t> all;
        for (const FlowKey& k : keys) all.push_back(this->find(table, k)->position.bucket);
        return all;
    };
    const std::uint32_t room = buckets * (this->key(0, 1, 1).peer.is_v4() ? 4 : 2);
    insert(room * 5 / 8);
    const auto before = places();
    for (std::uint32_t b = 0; b < buckets / 2; ++b) table.tidy(b, Policy{});
    insert(room / 16);
    auto after = places();
    after.resize(before.size());
    std::uint32_t into_counted = 0;
    std::uint32_t out_of_counted = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
        into_counted += before[i] >= buckets / 2 && after[i] < buckets / 2;
        out_of_counted += before[i] < buckets / 2 && after[i] >= buckets / 2;
    }
    EXPECT_GT(into_counted, 0U);
    EXPECT_GT(out_of_counted, 0U);
    for (std::uint32_t b = buckets / 2; b < buckets; ++b) table.tidy(b, Policy{});
    std::vector<std::int32_t> expected(handles);
    table.for_each([&](const IpAddress&, Be16, const FlowEntry& e) { ++expected[e.handle.index()]; });
    for (std::uint32_t h = 0; h < handles; ++h) {
        EXPECT_EQ(state.own_flows(WorkerIndex(0))[h].of(Handle::of(h, 1)), expected[h]) << h;
    }
    for (const FlowKey& k : keys) table.erase(this->find(table, k)->position);
    for (std::uint32_t h = 0; h < handles; ++h) {
        EXPECT_EQ(state.own_flows(WorkerIndex(0))[h].of(Handle::of(h, 1)), 0) << h;
    }
}

// Both families in one table against a plain map: whatever is found is right, and nothing is lost while there is room.
TEST(FlowTableModel, AgreesWithAMap) {
    std::vector<shm::FlowBucket> memory(1024);
    FlowTable table(memory, seed);
    std::map<std::tuple<IpAddress, std::uint16_t, std::uint16_t>, std::uint32_t> model;
    Random random(7);
    for (int step = 0; step < 300'000; ++step) {
        const auto n = static_cast<std::uint32_t>(random.below(600));
        const IpAddress peer = random.below(2) ? Ipv4Peers::peer(n) : Ipv6Peers::peer(n);
        const FlowKey k{peer, Be16(static_cast<std::uint16_t>(random.below(2))), ListenerIndex(1), Be16{}};
        const std::uint64_t hash = hash_peer(seed, k.peer, k.peer_port);
        const std::tuple id{k.peer, k.peer_port.raw, k.listener.value};
        const auto found = table.find(hash, k.peer, k.peer_port, [](const FlowEntry&) { return true; });
        const auto known = model.find(id);
        ASSERT_EQ(found.has_value(), known != model.end());
        if (found) {
            ASSERT_EQ(found->entry.handle.index(), known->second);
        }
        if (random.below(3) == 0) {
            if (found) table.erase(found->position);
            model.erase(id);
        } else {
            const auto handle = static_cast<std::uint32_t>(1 + random.below(1000));
            const FlowEntry e{k.listener, Be16{}, Handle::of(handle, 1), FlowState::established, Tick{1}};
            const auto outcome = table.insert(hash, k, e, [](const FlowEntry&) { return FlowClass::active; });
            if (outcome != FlowTable::Inserted::no_room) model[id] = handle;
            ASSERT_NE(outcome, FlowTable::Inserted::evicted);
        }
    }
    std::size_t entries = 0;
    table.for_each([&](const IpAddress&, Be16, const FlowEntry&) { ++entries; });
    EXPECT_EQ(entries, model.size());
}

// What does not fit IPv4's 16 bytes is stored wide: a listener that serves a range of ports.
TEST(FlowTableWide, AServicePortIsPartOfTheKey) {
    std::vector<shm::FlowBucket> memory(4);
    FlowTable table(memory, seed);
    const FlowKey a{Ipv4Peers::peer(1), Be16(40000), ListenerIndex(5), Be16(8000)};
    const FlowKey b{Ipv4Peers::peer(1), Be16(40000), ListenerIndex(5), Be16(8001)};
    const std::uint64_t hash = hash_peer(seed, a.peer, a.peer_port);
    const auto active = [](const FlowEntry&) { return FlowClass::active; };
    table.insert(hash, a, {a.listener, a.service_port, Handle::of(1, 1), FlowState::established, Tick{1}}, active);
    table.insert(hash, b, {b.listener, b.service_port, Handle::of(2, 1), FlowState::established, Tick{1}}, active);
    const auto found =
        table.find(hash, b.peer, b.peer_port, [&](const FlowEntry& e) { return e.service_port == Be16(8001); });
    ASSERT_TRUE(found);
    EXPECT_EQ(found->entry.handle, Handle::of(2, 1));
}

}  // namespace
}  // namespace shunt::dataplane
