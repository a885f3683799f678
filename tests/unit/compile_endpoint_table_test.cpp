#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "controlplane/compile/endpoint_table.h"
#include "src/base/random.h"

namespace shunt::controlplane {
namespace {

Endpoint endpoint(std::uint64_t n) {
    return {IpAddress::v4(198, 18, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)),
            Be16(static_cast<std::uint16_t>(1 + (n >> 16))), n % 3 == 0 ? Protocol::udp : Protocol::tcp};
}

bool same_pages(const EndpointTable& a, const EndpointTable& b) {
    const auto same_slot = [](const shm::EndpointSlot& x, const shm::EndpointSlot& y) {
        return x.address == y.address && x.port == y.port && x.protocol == y.protocol && x.used == y.used &&
               x.value == y.value;
    };
    const auto same_page = [&](const auto& x, const auto& y) {
        return std::equal(x.begin(), x.end(), y.begin(), same_slot);
    };
    return a.bits() == b.bits() && a.entries() == b.entries() &&
           std::equal(a.pages().begin(), a.pages().end(), b.pages().begin(), b.pages().end(), same_page);
}

TEST(EndpointTable, FindsWhatWasSetAndNothingElse) {
    EndpointTable table;
    EXPECT_EQ(table.find(endpoint(1)), 0U);
    table.set(endpoint(1), 7);
    table.set(endpoint(2), 8);
    table.set(endpoint(1), 9);
    EXPECT_EQ(table.find(endpoint(1)), 9U);
    EXPECT_EQ(table.find(endpoint(2)), 8U);
    EXPECT_EQ(table.find(endpoint(3)), 0U);
    EXPECT_EQ(table.entries(), 2U);
    table.set(endpoint(1), 0);
    table.set(endpoint(2), 0);
    EXPECT_EQ(table.entries(), 0U);
    EXPECT_TRUE(table.pages().empty());
}

TEST(EndpointTable, CountsTheEndpointsOfAnAddress) {
    EndpointTable table;
    const IpAddress address = IpAddress::v4(198, 18, 0, 1);
    const Endpoint http{address, Be16(80), Protocol::tcp}, dns{address, Be16(53), Protocol::udp};
    const Endpoint any{address, shm::any_port, shm::any_protocol};
    table.add_counted(http, 1);
    table.add_counted(dns, 2);
    table.add_counted(dns, 3);
    EXPECT_EQ(table.find(any), 2U);
    table.remove_counted(http);
    table.remove_counted(http);
    EXPECT_EQ(table.find(any), 1U);
    table.remove_counted(dns);
    EXPECT_EQ(table.entries(), 0U);
}

// As a map would; and the pages depend on the entries alone, whatever happened before.
TEST(EndpointTable, EqualsAMapThroughARandomHistory) {
    Random random(5);
    EndpointTable table;
    std::map<Endpoint, std::uint32_t> model;
    for (int step = 0; step < 20'000; ++step) {
        // First it grows, then it shrinks again.
        const bool add = random.below(100) < (step < 12'000 ? 75U : 25U);
        const Endpoint e = endpoint(random.below(6'000) * 37);
        const auto value = static_cast<std::uint32_t>(add ? 1 + random.below(1000) : 0);
        table.set(e, value);
        if (value != 0) {
            model[e] = value;
        } else {
            model.erase(e);
        }
        if (step % 1000 != 999) continue;
        ASSERT_EQ(table.entries(), model.size());
        for (std::uint64_t n = 0; n < 6'000; ++n) {
            const auto found = model.find(endpoint(n * 37));
            ASSERT_EQ(table.find(endpoint(n * 37)), found == model.end() ? 0 : found->second);
        }
        EndpointTable again;
        for (const auto& [key, stored] : model) again.set(key, stored);
        ASSERT_TRUE(same_pages(table, again)) << "step " << step;
        for (const auto& page : table.pages()) {
            const auto used = std::count_if(page.begin(), page.end(), [](const auto& slot) { return slot.used != 0; });
            ASSERT_LE(used, shm::max_used_slots_per_page);
        }
    }
}

// An operator's addresses may fall into one page by chance: then all pages become smaller.
TEST(EndpointTable, GrowsWhenOnePageIsFull) {
    std::vector<Endpoint> crowded;
    for (std::uint64_t n = 0; crowded.size() < 60; ++n) {
        const Endpoint e = endpoint(n);
        const std::uint64_t hash = shm::endpoint_hash(e.address, e.port, e.protocol);
        if (hash >> 60 == 3) crowded.push_back(e);
    }
    EndpointTable table;
    for (std::size_t i = 0; i < crowded.size(); ++i) table.set(crowded[i], static_cast<std::uint32_t>(i + 1));
    EXPECT_GT(table.bits(), 4U);
    for (std::size_t i = 0; i < crowded.size(); ++i) EXPECT_EQ(table.find(crowded[i]), i + 1);
    for (const Endpoint& e : crowded) table.set(e, 0);
    EXPECT_EQ(table.bits(), 0U);
}

}  // namespace
}  // namespace shunt::controlplane
