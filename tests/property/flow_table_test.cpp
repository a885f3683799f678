// The flow table against a model that knows everything: what was inserted, what was lost for it, and how old all is.
//
// Nothing is known here of the inside of the table but what every reader of the region knows (shm/flow.h): which two
// buckets are in reach of a flow, and what stands in them. What an insertion took away is seen by looking before and
// after.
#include "dataplane/tables/flow_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <iterator>
#include <unordered_map>
#include <vector>

#include "src/base/random.h"
#include "src/shm/state.h"

namespace shunt::dataplane {
namespace {

// As random as a region's: the products of small numbers are no hash.
constexpr HashSeed seed{{0x8f1d3b6c92a4e05bULL, 0x37c9e1520b8df6a4ULL, 0xd46a0c7f31e98b25ULL, 0x5b02f8e6a7391cd3ULL}};
constexpr shm::FlowTimeouts timeouts{{to_ticks(Duration::seconds(10)), to_ticks(Duration::seconds(600)),
                                      to_ticks(Duration::seconds(30)), to_ticks(Duration::seconds(60))}};
constexpr std::uint32_t established_timeout = timeouts[FlowState::established];
constexpr std::uint32_t ticks_until_idle = to_ticks(Duration::seconds(1));

// With SHUNT_FULL=1 in the environment ten times as much.
std::uint32_t in_full(std::uint32_t count) {
    const char* full = std::getenv("SHUNT_FULL");
    return full != nullptr && full[0] == '1' ? 10 * count : count;
}

std::uint64_t hash_of(const FlowKey& key) { return hash_peer(seed, key.peer, key.peer_port); }

struct HashOfKey {
    std::size_t operator()(const FlowKey& key) const noexcept {
        return hash_peer(HashSeed{{5, 6, 7, 8}}, key.peer,
                         Be16(static_cast<std::uint16_t>(key.peer_port.host() ^ key.listener.value << 4 ^
                                                         key.service_port.host() << 8)));
    }
};

// All of 198.18.0.0/15, again and again.
constexpr std::uint32_t v4_peers = 1U << 17;
IpAddress v4_peer(std::uint32_t n) { return IpAddress::v4(Be32(0xc6120000U + n % v4_peers)); }
// The n-th of many flows to one listener.
FlowKey v4_flow(std::uint32_t n) {
    return {v4_peer(n), Be16(static_cast<std::uint16_t>(1024 + n / v4_peers)), ListenerIndex(7), Be16{}};
}
IpAddress v6_peer(std::uint32_t n) {
    return IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, static_cast<std::uint8_t>(n >> 24), 0, 0, 0, 0,
                          static_cast<std::uint8_t>(n >> 16), static_cast<std::uint8_t>(n >> 8),
                          static_cast<std::uint8_t>(n)});
}

// A table and all that is known of it. Every operation is checked as it is done.
class Checked {
  public:
    explicit Checked(std::size_t buckets) : memory_(buckets), table_(memory_, seed) {}

    void pass(std::uint32_t ticks) { now_ = {(now_.value + ticks) & Tick::mask}; }
    std::size_t known() const { return model_.size(); }
    std::uint64_t moved() const { return moved_; }
    std::uint64_t outcomes(FlowTable::Inserted outcome) const { return outcomes_[static_cast<std::size_t>(outcome)]; }

    FlowClass classify(const FlowEntry& entry) const {
        const std::uint32_t age = now_.since(entry.seen);
        if (age > timeouts[entry.state]) return FlowClass::dead;
        if (entry.state == FlowState::embryonic) return FlowClass::embryonic;
        if (entry.state == FlowState::closing) return FlowClass::closing;
        return age >= ticks_until_idle ? FlowClass::idle : FlowClass::active;
    }

    void insert(const FlowKey& key, std::uint32_t handle, FlowState state) {
        const FlowEntry entry{key.listener, key.service_port, shm::Handle{handle}, state, now_};
        settle(key);
        const bool was_known = model_.contains(key);
        const auto before = in_reach(key);
        const bool could_move = somebody_can_move(key, before);
        const auto outcome =
            table_.insert(hash_of(key), key, entry, [this](const FlowEntry& e) { return classify(e); });
        ++outcomes_[static_cast<std::size_t>(outcome)];
        const auto gone = missing(before, in_reach(key));
        const auto lost = no_longer_found(gone);
        for (const Unit& unit : lost) model_.erase(unit.key);
        moved_ += gone.size() - lost.size();
        if (gone.size() != lost.size()) expect_full_of_active(key, before);
        ASSERT_EQ(outcome == FlowTable::Inserted::replaced, was_known);
        switch (outcome) {
            case FlowTable::Inserted::replaced:
                ASSERT_TRUE(lost.empty());
                break;
            case FlowTable::Inserted::fresh:
                for (const Unit& unit : lost) ASSERT_EQ(unit.value, FlowClass::dead);
                break;
            case FlowTable::Inserted::evicted:
                expect_fair(key, before, lost);
                break;
            case FlowTable::Inserted::no_room:
                for (const Unit& unit : lost) ASSERT_EQ(unit.value, FlowClass::dead);  // somebody tried to make room
                expect_full_of_active(key, before);
                ASSERT_FALSE(could_move);
                return;
        }
        model_[key] = entry;
    }

    // What the owner does with a packet: looks, and touches what is there. True: it was.
    bool packet(const FlowKey& key, FlowState state) {
        settle(key);
        const auto found = find(key);
        const auto known = model_.find(key);
        EXPECT_EQ(found.has_value(), known != model_.end());
        if (!found) return false;
        EXPECT_TRUE(same(found->entry, known->second));
        known->second.state = state;
        known->second.seen = now_;
        table_.touch(found->position, state, now_);
        return true;
    }
    void erase(const FlowKey& key) {
        settle(key);
        const auto found = find(key);
        ASSERT_EQ(found.has_value(), model_.erase(key) == 1);
        if (found) table_.erase(found->position);
    }
    // A reply's question: an entry of this peer with this handle.
    void reply(const FlowKey& key) {
        settle(key);
        const auto known = model_.find(key);
        if (known == model_.end()) return;
        const auto found = table_.find(hash_of(key), key.peer, key.peer_port,
                                       [&](const FlowEntry& e) { return e.handle == known->second.handle; });
        ASSERT_TRUE(found);
        ASSERT_TRUE(same(found->entry, known->second));
    }
    void expect_the_same_as_the_model() {
        std::vector<FlowKey> keys;
        for (const auto& [key, entry] : model_) keys.push_back(key);
        for (const FlowKey& key : keys) settle(key);
        std::size_t entries = 0;
        table_.for_each([&](const IpAddress& peer, Be16 port, const FlowEntry& entry) {
            ++entries;
            const auto known = model_.find({peer, port, entry.listener, entry.service_port});
            ASSERT_NE(known, model_.end());
            ASSERT_TRUE(same(entry, known->second));
        });
        EXPECT_EQ(entries, model_.size());
    }

  private:
    // An entry in reach: where it begins, how much it takes, and what it is worth.
    struct Unit {
        FlowKey key;
        std::uint32_t bucket;
        std::uint8_t first, width;
        FlowClass value;
        std::uint32_t age;
    };

    // Who moves may take the place of a dead entry, in any bucket.
    void settle(const FlowKey& key) {
        const auto known = model_.find(key);
        if (known == model_.end() || find(key)) return;
        ASSERT_EQ(classify(known->second), FlowClass::dead);
        model_.erase(known);
    }
    std::array<std::uint32_t, 2> buckets_of(const FlowKey& key) const {
        return {shm::first_bucket(hash_of(key), memory_.size()), shm::second_bucket(hash_of(key), memory_.size())};
    }
    static bool is_wide(const FlowKey& key) { return !key.peer.is_v4() || key.service_port != Be16{}; }
    static bool same(const FlowEntry& a, const FlowEntry& b) {
        return a.listener == b.listener && a.service_port == b.service_port && a.handle == b.handle &&
               a.state == b.state && a.seen == b.seen;
    }
    std::optional<FlowTable::Found> find(const FlowKey& key) const {
        return table_.find(hash_of(key), key.peer, key.peer_port, [&](const FlowEntry& e) {
            return e.listener == key.listener && e.service_port == key.service_port;
        });
    }
    std::vector<Unit> in_reach(const FlowKey& key) const {
        std::vector<Unit> units;
        const auto at = buckets_of(key);
        for (const std::uint32_t bucket : at) {
            for (std::uint8_t unit = 0; unit < 4; ++unit) {
                const auto stored = shm::read_flow(memory_[bucket], unit);
                if (!stored) continue;
                const std::uint8_t width = is_wide(stored->key) ? 2 : 1;
                units.push_back(
                    {stored->key, bucket, unit, width, classify(stored->entry), now_.since(stored->entry.seen)});
            }
            if (at[0] == at[1]) break;
        }
        return units;
    }
    static std::vector<Unit> missing(const std::vector<Unit>& before, const std::vector<Unit>& after) {
        std::vector<Unit> lost;
        for (const Unit& unit : before) {
            if (std::ranges::find(after, unit.key, &Unit::key) == after.end()) lost.push_back(unit);
        }
        return lost;
    }
    std::vector<Unit> no_longer_found(const std::vector<Unit>& gone) const {
        std::vector<Unit> lost;
        std::ranges::copy_if(gone, std::back_inserter(lost), [&](const Unit& unit) { return !find(unit.key); });
        return lost;
    }
    // Something that holds gave way: none of it active, and nothing worse, or as bad and older, could have gone
    // instead.
    void expect_fair(const FlowKey& key, const std::vector<Unit>& before, const std::vector<Unit>& lost) const {
        FlowClass worst_lost = FlowClass::dead;
        std::uint32_t youngest = Tick::mask;
        for (const Unit& unit : lost) {
            worst_lost = std::max(worst_lost, unit.value);
            if (unit.value != FlowClass::dead) youngest = std::min(youngest, unit.age);
        }
        ASSERT_GT(worst_lost, FlowClass::dead);
        ASSERT_LT(worst_lost, FlowClass::active);
        if (is_wide(key)) return;
        std::size_t taken = 0;
        for (const Unit& unit : before) {
            taken += unit.width;
            ASSERT_GE(unit.value, worst_lost);
            ASSERT_TRUE(unit.value > worst_lost || unit.age <= youngest);
        }
        ASSERT_EQ(taken, memory_.size() > 1 ? 8U : 4U);
    }
    // Refused: every place that it could have taken has an active flow in it.
    void expect_full_of_active(const FlowKey& key, const std::vector<Unit>& before) const {
        const std::uint8_t width = is_wide(key) ? 2 : 1;
        std::size_t places = 0;
        for (const std::uint32_t bucket : buckets_of(key)) {
            for (std::uint8_t unit = 0; unit < 4; unit = static_cast<std::uint8_t>(unit + width)) {
                const bool active = std::ranges::any_of(before, [&](const Unit& u) {
                    return u.bucket == bucket && u.value == FlowClass::active && u.first < unit + width &&
                           unit < u.first + u.width;
                });
                places += !active;
            }
        }
        ASSERT_EQ(places, 0U);
    }

    // One move would be enough to make room. (Of two narrow entries in a wide one's way, the first may have taken the
    // place where another could have gone, and the second be stuck: that may end without room.)
    bool somebody_can_move(const FlowKey& key, const std::vector<Unit>& before) const {
        const std::uint8_t width = is_wide(key) ? 2 : 1;
        for (const Unit& unit : before) {
            if (unit.width < width) return false;
        }
        for (const Unit& unit : before) {
            const std::uint32_t other = shm::other_bucket(hash_of(unit.key), memory_.size(), unit.bucket);
            if (other != unit.bucket && has_a_free_place(other, unit.width)) return true;
        }
        return false;
    }
    bool has_a_free_place(std::uint32_t bucket, std::uint8_t width) const {
        std::array<bool, 4> taken{};
        for (std::uint8_t unit = 0; unit < 4; ++unit) {
            const auto stored = shm::read_flow(memory_[bucket], unit);
            if (!stored || classify(stored->entry) == FlowClass::dead) continue;
            taken[unit] = true;
            if (is_wide(stored->key)) taken[unit + 1U] = true;
        }
        for (std::uint8_t unit = 0; unit < 4; unit = static_cast<std::uint8_t>(unit + width)) {
            if (!taken[unit] && !taken[unit + width - 1U]) return true;
        }
        return false;
    }

    std::vector<shm::FlowBucket> memory_;
    FlowTable table_;
    std::unordered_map<FlowKey, FlowEntry, HashOfKey> model_;
    Tick now_{Tick::mask - 4000};  // the clock of 24 bits goes round early
    std::array<std::uint64_t, 4> outcomes_{};
    std::uint64_t moved_{};  // out of the reach of whoever came
};

// Clients of both families, and a few of a listener that serves a range of ports.
FlowKey random_key(Random& random, std::uint32_t peers) {
    const auto n = static_cast<std::uint32_t>(random.below(peers));
    const auto kind = random.below(8);
    const Be16 port(static_cast<std::uint16_t>(40000 + n % 3));
    const ListenerIndex listener(static_cast<std::uint16_t>(1 + random.below(2)));
    if (kind == 0) return {v4_peer(n), port, listener, Be16(static_cast<std::uint16_t>(8000 + n % 2))};
    return {kind < 6 ? v4_peer(n) : v6_peer(n), port, listener, Be16{}};
}

FlowState random_state(Random& random) { return static_cast<FlowState>(random.below(shm::flow_states)); }

TEST(FlowTableProperty, IsItsModelWhileTimePasses) {
    constexpr std::size_t buckets = 4096;
    Checked table(buckets);
    Random random(1);
    const std::uint32_t operations = in_full(1'000'000);
    for (std::uint32_t step = 0; step < operations; ++step) {
        const FlowKey key = random_key(random, 12'000);
        const auto what = random.below(100);
        if (what == 0) {
            table.erase(key);
        } else if (what < 10) {
            table.reply(key);
        } else if (!table.packet(key, random_state(random))) {
            table.insert(key, step + 1, random_state(random));
        }
        if (random.below(1500) == 0) table.pass(1);
        if (random.below(100'000) == 0) table.pass(static_cast<std::uint32_t>(random.below(3000)));
        if (testing::Test::HasFatalFailure() || testing::Test::HasNonfatalFailure()) FAIL() << "at step " << step;
        if (step % 200'000 == 0) table.expect_the_same_as_the_model();
    }
    table.expect_the_same_as_the_model();
    // All ways to insert were gone, or the proof is none.
    EXPECT_GT(table.outcomes(FlowTable::Inserted::fresh), 1000U);
    EXPECT_GT(table.outcomes(FlowTable::Inserted::evicted), 1000U);
    EXPECT_GT(table.outcomes(FlowTable::Inserted::no_room), 100U);
    EXPECT_GT(table.moved(), 100U);
}

TEST(FlowTableProperty, TenTimesMoreFlowsThanThereIsRoomFor) {
    const std::size_t buckets = in_full(2'500);
    const auto room = static_cast<std::uint32_t>(4 * buckets);
    Checked table(buckets);
    Random random(2);
    std::uint64_t tried = 0;
    for (std::uint32_t n = 0; n < 10 * room; ++n, ++tried) {
        table.insert(v4_flow(n), n + 1, random.below(4) == 0 ? FlowState::embryonic : FlowState::established);
        if (n % (room / 3) == 0) table.pass(1);  // within a second there are more than fit
        if (testing::Test::HasFatalFailure()) FAIL() << "at flow " << n;
    }
    table.expect_the_same_as_the_model();
    using Inserted = FlowTable::Inserted;
    EXPECT_EQ(table.outcomes(Inserted::fresh) + table.outcomes(Inserted::evicted) + table.outcomes(Inserted::no_room),
              tried);
    EXPECT_EQ(table.known(), table.outcomes(Inserted::fresh));  // none died of age: every other one took a place
    EXPECT_GT(table.outcomes(Inserted::no_room), tried / 10);
    EXPECT_GT(table.outcomes(Inserted::evicted), tried / 10);
}

struct Ipv4 {
    static constexpr std::uint32_t units = 1;
    static FlowKey flow(std::uint32_t n) { return v4_flow(n); }
};
struct Ipv6 {
    static constexpr std::uint32_t units = 2;
    static FlowKey flow(std::uint32_t n) { return {v6_peer(n), Be16(40000), ListenerIndex(7), Be16{}}; }
};

// A table at the sizing that is documented: room for 2 x flows / workers halves.
template <class Family>
class FlowTableAsPromised : public testing::Test {
  protected:
    FlowClass classify(const FlowEntry& entry) const {
        return now_.since(entry.seen) > established_timeout ? FlowClass::dead : FlowClass::active;
    }
    // How many of the n-th flows there was room for.
    std::uint32_t insert(std::uint32_t from, std::uint32_t to) {
        std::uint32_t fresh = 0;
        for (std::uint32_t n = from; n < to; ++n) {
            const FlowKey k = Family::flow(n);
            const FlowEntry entry{k.listener, Be16{}, shm::Handle{n}, FlowState::established, now_};
            const auto outcome =
                table_.insert(hash_of(k), k, entry, [this](const FlowEntry& e) { return classify(e); });
            fresh += outcome == FlowTable::Inserted::fresh;
        }
        return fresh;
    }
    std::uint32_t found(std::uint32_t from, std::uint32_t to) const {
        std::uint32_t right = 0;
        for (std::uint32_t n = from; n < to; ++n) {
            const FlowKey k = Family::flow(n);
            const auto one = table_.find(hash_of(k), k.peer, k.peer_port,
                                         [&](const FlowEntry& e) { return e.listener == k.listener; });
            right += one && one->entry.handle.value == n;
        }
        return right;
    }
    std::uint32_t live() const {
        std::uint32_t count = 0;
        table_.for_each([&](const IpAddress&, Be16, const FlowEntry& e) { count += classify(e) != FlowClass::dead; });
        return count;
    }

    const std::uint32_t flows_ = in_full(1'000'000);
    const shm::StateShape shape_ = shm::state_shape(1, Family::units* std::uint64_t{flows_});
    std::vector<shm::FlowBucket> memory_ = std::vector<shm::FlowBucket>(shape_.buckets_per_worker);
    FlowTable table_{memory_, seed};
    Tick now_{1000};
};
using Families = testing::Types<Ipv4, Ipv6>;
TYPED_TEST_SUITE(FlowTableAsPromised, Families);

TYPED_TEST(FlowTableAsPromised, EveryLiveFlowHasItsPlaceInTheMemoryPromised) {
    const std::uint32_t flows = this->flows_;
    const std::uint32_t two_thirds = flows + flows / 3;
    EXPECT_LE(this->shape_.buckets_per_worker * sizeof(shm::FlowBucket),
              std::uint64_t{64} * TypeParam::units * flows + 64);
    const std::uint32_t first = this->insert(0, flows);
    EXPECT_EQ(first, flows);  // half full: not one is lost
    EXPECT_EQ(this->found(0, flows), first);
    this->now_ = {this->now_.value + established_timeout};  // the last moment of the first set
    const std::uint32_t more = this->insert(flows, two_thirds);
    EXPECT_GE(first + more, two_thirds - (TypeParam::units == 1 ? flows / 100'000 : two_thirds / 1000));
    const std::uint32_t rest = this->insert(two_thirds, 2 * flows);
    EXPECT_GE(first + more + rest, 2 * flows - flows / 5);  // to the brim: every place may be used, not every one is
    EXPECT_EQ(this->found(0, 2 * flows), first + more + rest);
    this->now_ = {this->now_.value + 1};  // the first set is dead, and nobody had to sweep it
    EXPECT_EQ(this->live(), more + rest);
    this->now_ = {this->now_.value + established_timeout};
    // Among the dead, nearer to the first than to the emptier: a few of ten million find no room.
    const std::uint32_t again = this->insert(2 * flows, 3 * flows);
    EXPECT_GE(again, flows - flows / 100'000);
    EXPECT_EQ(this->found(2 * flows, 3 * flows), again);
}

}  // namespace
}  // namespace shunt::dataplane
