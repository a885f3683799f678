#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "src/balance/maglev.h"
#include "src/base/random.h"

namespace shunt {
namespace {

using Backends = std::vector<WeightedKey>;
using Table = std::vector<std::uint16_t>;
constexpr std::uint16_t none = maglev_none;

// Distinct keys of both families; `set` chooses among disjoint address sets.
Backends backends_of(std::size_t count, std::uint64_t set = 0, std::uint32_t weight = 100) {
    Backends result;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string host = std::to_string(i / 250) + (set % 2 ? ":" : ".") + std::to_string(1 + i % 250);
        const std::string place = std::to_string(set);
        result.push_back({set % 2 ? "[2001:db8:" + place + "::" + host + "]:443"
                                  : "198.1" + std::to_string(8 + set / 2) + "." + host + ":443",
                          weight});
    }
    return result;
}

// Oracle: the text of DESIGN section 6, step by step, with no eye on speed.
Table plain_table(Backends backends, std::uint64_t m) {
    std::sort(backends.begin(), backends.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    std::uint64_t largest = 0;
    for (const auto& b : backends) largest = std::max<std::uint64_t>(largest, b.weight);
    Table table(m, none);
    std::vector<std::uint64_t> target(backends.size()), tried(backends.size());
    std::uint64_t taken = 0;
    for (std::uint64_t round = 1; largest != 0; ++round) {
        for (std::size_t i = 0; i < backends.size(); ++i) {
            const auto& [key, weight] = backends[i];
            if (weight == 0 || round * weight < target[i]) continue;
            const std::uint64_t offset = XXH64(key.data(), key.size(), 0) % m;
            const std::uint64_t skip = XXH64(key.data(), key.size(), 1) % (m - 1) + 1;
            while (table[(offset + tried[i] * skip) % m] != none) ++tried[i];
            table[(offset + tried[i] * skip) % m] = static_cast<std::uint16_t>(i);
            target[i] += largest;
            if (++taken == m) return table;
        }
    }
    return table;
}

std::vector<double> slots_of_each(const Table& table, std::size_t backends) {
    std::vector<double> count(backends);
    for (const std::uint16_t slot : table) ++count.at(slot);
    return count;
}

TEST(Maglev, KnowsPrimes) {
    for (const std::uint32_t p : {2U, 3U, 5U, 7U, 17U, 1021U, 4093U, 16381U, 65537U, 655373U, 4294967291U}) {
        EXPECT_TRUE(is_prime(p)) << p;
    }
    for (const std::uint32_t n : {0U, 1U, 4U, 9U, 65536U, 1021U * 1021U, 65535U * 65537U})
        EXPECT_FALSE(is_prime(n)) << n;
}

TEST(Maglev, ChoosesTheSizeByTheNumberOfBackends) {
    for (const std::uint32_t size : maglev_sizes) EXPECT_TRUE(is_prime(size));
    EXPECT_EQ(default_table_size(0), 1021U);
    EXPECT_EQ(default_table_size(10), 1021U);
    EXPECT_EQ(default_table_size(11), 4093U);
    EXPECT_EQ(default_table_size(40), 4093U);
    EXPECT_EQ(default_table_size(163), 16381U);
    EXPECT_EQ(default_table_size(655), 65537U);
    EXPECT_EQ(default_table_size(656), 655373U);
    EXPECT_EQ(default_table_size(60000), 655373U);
}

// Values from a program of its own in another language, written from the design alone, XXH64 included.
struct Vector {
    Backends backends;
    std::uint32_t size;
    Table table;
    std::string hash;
};
const std::vector<Vector> vectors{
    {{{"198.18.2.11:443", 100}, {"198.18.2.12:443", 100}, {"198.18.2.13:443", 100}},
     7,
     {2, 1, 0, 0, 0, 1, 2},
     "012e41dda4e1958e"},
    // Byte-wise, "…10" and "…11" come before "…9".
    {{{"198.18.2.9:443", 1}, {"198.18.2.10:443", 1}, {"198.18.2.11:443", 1}},
     17,
     {1, 2, 0, 2, 2, 0, 1, 0, 2, 1, 1, 1, 0, 2, 1, 0, 0},
     "ce92f0df4cb4745f"},
    {{{"198.18.2.11:443", 3}, {"198.18.2.12:443", 1}, {"198.18.2.13:443", 0}, {"198.18.2.14:443", 2}},
     17,
     {3, 3, 0, 0, 0, 3, 0, 3, 3, 0, 0, 0, 1, 0, 1, 1, 3},
     "7ad5b748edba690d"},
    {{{"[2001:db8:2::21]:0", 1000}, {"[2001:db8:2::22]:0", 1}},
     17,
     {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
     "bd7a2c2140e08f7b"},
    {{{"198.18.2.11:53", 0}}, 7, {none, none, none, none, none, none, none}, "b36e8bf693e795e0"},
};

TEST(Maglev, GivesTheTablesComputedElsewhere) {
    for (const auto& [backends, size, table, hash] : vectors) {
        EXPECT_EQ(maglev_table(backends, size), table);
        EXPECT_EQ(table_hash_text(table_hash(backends, table)), hash);
    }
}

TEST(Maglev, GivesTheLargeTablesComputedElsewhere) {
    Backends backends;
    for (std::uint32_t i = 0; i < 100; ++i) {
        backends.push_back({"198.18.0." + std::to_string(i) + ":443", 1 + i * 7919 % 100});
    }
    const std::map<std::uint32_t, std::string> expected{
        {1021, "b5abec3b53a75c2d"}, {65537, "706d5b01f69e4ace"}, {655373, "b8da6500627495fc"}};
    for (const auto& [size, hash] : expected) {
        EXPECT_EQ(table_hash_text(table_hash(backends, maglev_table(backends, size))), hash) << size;
    }
}

TEST(Maglev, EqualsThePlainDefinition) {
    Random random(3);
    constexpr std::array<std::uint32_t, 10> sizes{2, 3, 7, 17, 101, 1021, 1021, 4093, 4093, 16381};
    for (int run = 0; run < 300; ++run) {
        const std::uint32_t size = sizes[random.below(sizes.size())];
        Backends backends = backends_of(random.below(std::min(size, 300U) + 1), random.below(4));
        const std::uint64_t spread = std::array{1, 3, 100, 1000}[random.below(4)];
        for (auto& b : backends) b.weight = static_cast<std::uint32_t>(random.below(spread + 1));
        ASSERT_EQ(maglev_table(backends, size), plain_table(backends, size))
            << run << ": " << backends.size() << " of " << size;
    }
}

TEST(Maglev, EqualsThePlainDefinitionWhereProductsExceed32Bits) {
    Backends backends = backends_of(1000);
    EXPECT_EQ(maglev_table(backends, 655373), plain_table(backends, 655373));
    for (auto& b : backends) b.weight = b.key.size() % 2 ? 1000 : 1;  // their sum is far beyond 65537
    EXPECT_EQ(maglev_table(backends, 65537), plain_table(backends, 65537));
}

TEST(Maglev, EqualsThePlainDefinitionWithWeightsFarApart) {
    // Of 32 and 1, the light ones are due every 32nd round only; of 1000 and 1, hardly ever.
    for (const std::uint32_t heavy : {31U, 32U, 33U, 1000U}) {
        for (const std::size_t count : {2U, 5U, 40U}) {
            Backends backends = backends_of(count, 0, 1);
            backends[count / 2].weight = heavy;
            EXPECT_EQ(maglev_table(backends, 16381), plain_table(backends, 16381)) << heavy << " among " << count;
        }
    }
}

TEST(Maglev, DoesNotDependOnTheOrderOfItsInput) {
    Random random(4);
    Backends backends = backends_of(60);
    for (auto& b : backends) b.weight = static_cast<std::uint32_t>(random.below(101));
    const Table table = maglev_table(backends, 1021);
    const std::uint64_t hash = table_hash(backends, table);
    for (int shuffle = 0; shuffle < 1000; ++shuffle) {
        std::shuffle(backends.begin(), backends.end(), random);
        ASSERT_EQ(maglev_table(backends, 1021), table);
        ASSERT_EQ(table_hash(backends, table), hash);
    }
}

TEST(Maglev, AbsentBackendsLeaveNoTrace) {
    Backends backends = backends_of(10);
    Backends with_absent = backends;
    for (const char* key : {"198.18.0.0:443", "198.18.0.11:443", "198.18.0.50:1"}) with_absent.push_back({key, 0});
    const Table table = maglev_table(backends, 1021);
    const Table longer = maglev_table(with_absent, 1021);
    EXPECT_EQ(table_hash(backends, table), table_hash(with_absent, longer));
    for (std::size_t slot = 0; slot < table.size(); ++slot) {
        EXPECT_EQ(backends[key_order(backends)[table[slot]]].key,
                  with_absent[key_order(with_absent)[longer[slot]]].key);
    }
}

TEST(Maglev, HashTellsTablesApart) {
    Backends backends = backends_of(4);
    const std::uint64_t hash = table_hash(backends, maglev_table(backends, 1021));
    Backends reweighted = backends;
    reweighted[2].weight = 99;
    EXPECT_NE(table_hash(reweighted, maglev_table(reweighted, 1021)), hash);
    Backends renamed = backends;
    renamed[2].key = "198.18.0.77:443";
    EXPECT_NE(table_hash(renamed, maglev_table(backends, 1021)), hash);
}

// Slots that moved although the backend they pointed at stayed, when one backend goes; a share of all slots.
double moved_beyond_need(const Backends& backends, const Table& before, std::size_t removed) {
    const std::vector<std::uint16_t> order = key_order(backends);
    Backends rest = backends;
    rest[order[removed]].weight = 0;
    const Table after = maglev_table(rest, static_cast<std::uint32_t>(before.size()));
    double moved = 0;
    for (std::size_t slot = 0; slot < before.size(); ++slot) {
        EXPECT_NE(after[slot], removed);
        moved += before[slot] != removed && before[slot] != after[slot];
    }
    return moved / static_cast<double>(before.size());
}

TEST(Maglev, LosingOneBackendMovesFewOtherSlots) {
    Random random(5);
    const std::map<std::size_t, double> limits{{10, 0.0035}, {100, 0.007}, {500, 0.010}, {1000, 0.007}};
    for (const auto& [count, limit] : limits) {
        double sum = 0;
        for (std::uint64_t set = 0; set < 4; ++set) {
            const Backends backends = backends_of(count, set);
            const Table before = maglev_table(backends, 65537);
            for (int removal = 0; removal < 20; ++removal)
                sum += moved_beyond_need(backends, before, random.below(count));
        }
        EXPECT_LE(sum / 80, limit) << count << " backends";
        RecordProperty("moved_ppm_of_" + std::to_string(count), static_cast<int>(sum / 80 * 1e6));
    }
}

TEST(Maglev, EqualWeightsGiveEqualShares) {
    for (const std::size_t count : {1U, 3U, 10U, 100U, 500U}) {
        const std::vector<double> slots = slots_of_each(maglev_table(backends_of(count), 65537), count);
        const auto [least, most] = std::ranges::minmax(slots);
        EXPECT_LE(most - least, 1) << count;
    }
}

TEST(Maglev, EveryBackendIsWithinTwoSlotsOfItsWeight) {
    Random random(6);
    double worst = 0;
    for (int vector = 0; vector < 20; ++vector) {
        Backends backends = backends_of(2 + random.below(200), random.below(4));
        double sum = 0;
        for (auto& b : backends) sum += b.weight = static_cast<std::uint32_t>(1 + random.below(100));
        const std::vector<std::uint16_t> order = key_order(backends);
        const std::vector<double> slots = slots_of_each(maglev_table(backends, 65537), backends.size());
        for (std::size_t i = 0; i < slots.size(); ++i) {
            worst = std::max(worst, std::abs(slots[i] - 65537.0 * backends[order[i]].weight / sum));
        }
    }
    EXPECT_LE(worst, 2);
    RecordProperty("worst_in_thousandths_of_a_slot", static_cast<int>(worst * 1000));
}

TEST(Maglev, TinySizesWork) {
    for (const std::uint32_t size : {7U, 17U}) {
        for (std::size_t count = 1; count <= size; ++count) {
            const Backends backends = backends_of(count);
            const Table table = maglev_table(backends, size);
            EXPECT_EQ(table, plain_table(backends, size));
            const auto [least, most] = std::ranges::minmax(slots_of_each(table, count));
            EXPECT_LE(most - least, 1);
        }
    }
}

TEST(Maglev, NoBackendLeavesEverySlotEmpty) {
    EXPECT_EQ(maglev_table({}, 7), Table(7, none));
    EXPECT_EQ(maglev_table(backends_of(3, 0, 0), 7), Table(7, none));
}

TEST(MaglevDeathTest, RefusesSizesThatGiveNoTable) {
    EXPECT_DEATH(static_cast<void>(maglev_table(backends_of(3), 1024)), "is_prime");
    EXPECT_DEATH(static_cast<void>(maglev_table(backends_of(8), 7)), "backends.size");
}

}  // namespace
}  // namespace shunt
