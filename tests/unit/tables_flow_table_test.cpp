#include <gtest/gtest.h>

#include <map>
#include <tuple>
#include <vector>

#include "dataplane/tables/flow_table.h"
#include "src/base/random.h"

namespace shunt::dataplane {
namespace {

using shm::Handle;

constexpr HashSeed seed{{1, 2, 3, 4}};

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
    FlowTable table(memory);
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
    FlowTable table(memory);
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
    FlowTable table(memory);
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
    FlowTable table(memory);
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
    FlowTable table(memory);
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
    FlowTable table(memory);
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

// Both families in one table against a plain map: whatever is found is right, and nothing is lost while there is room.
TEST(FlowTableModel, AgreesWithAMap) {
    std::vector<shm::FlowBucket> memory(1024);
    FlowTable table(memory);
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
    FlowTable table(memory);
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
