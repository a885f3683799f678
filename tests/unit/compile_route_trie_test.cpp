#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "controlplane/compile/route_trie.h"
#include "src/base/random.h"

namespace shunt::controlplane {
namespace {

LeafRoute route(const char* prefix, std::uint16_t next_hop, std::uint32_t rank = 0) {
    return {*Prefix::parse(prefix), rank, NextHopIndex(next_hop)};
}

std::uint16_t found(const std::vector<shm::TrieNode>& trie, const char* address) {
    return look_up(trie, *IpAddress::parse(address)).value;
}

TEST(RouteTrie, TheLongestPrefixWins) {
    const std::vector routes{route("0.0.0.0/0", 1), route("198.18.0.0/15", 2), route("198.18.4.0/22", 3),
                             route("198.18.5.128/25", 4), route("198.18.5.129/32", 5)};
    const auto trie = *build_trie(routes, Family::ipv4);
    EXPECT_EQ(found(trie, "203.0.113.1"), 1);
    EXPECT_EQ(found(trie, "198.19.255.255"), 2);
    EXPECT_EQ(found(trie, "198.18.7.255"), 3);
    EXPECT_EQ(found(trie, "198.18.8.0"), 2);
    EXPECT_EQ(found(trie, "198.18.5.127"), 3);
    EXPECT_EQ(found(trie, "198.18.5.128"), 4);
    EXPECT_EQ(found(trie, "198.18.5.129"), 5);
    EXPECT_TRUE(build_trie(routes, Family::ipv6)->empty());
}

TEST(RouteTrie, ARouteToNowhereCoversTheShorterOne) {
    const auto trie = *build_trie(std::vector{route("2001:db8::/32", 1), route("2001:db8:1::/48", 0)}, Family::ipv6);
    EXPECT_EQ(found(trie, "2001:db8:2::1"), 1);
    EXPECT_EQ(found(trie, "2001:db8:1::1"), 0);
}

TEST(RouteTrie, OfTwoRoutesToOnePrefixTheHigherRankCounts) {
    const auto trie =
        *build_trie(std::vector{route("198.18.0.0/15", 2, 1), route("198.18.0.0/15", 1, 0)}, Family::ipv4);
    EXPECT_EQ(found(trie, "198.18.0.1"), 2);
}

TEST(RouteTrie, BitsBeyondTheLengthDoNotCount) {
    const auto trie = *build_trie(std::vector{route("198.18.77.201/20", 1)}, Family::ipv4);
    EXPECT_EQ(found(trie, "198.18.64.0"), 1);
    EXPECT_EQ(found(trie, "198.18.79.255"), 1);
    EXPECT_EQ(found(trie, "198.18.80.0"), 0);
}

TEST(RouteTrie, IsBounded) {
    const std::vector routes{route("198.18.1.1/32", 1), route("198.19.1.1/32", 2)};
    EXPECT_TRUE(build_trie(routes, Family::ipv4, 6));  // the root, 198, and two for each of the two
    const auto refused = build_trie(routes, Family::ipv4, 5);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("too many routes"), std::string::npos);
}

TEST(RouteTrie, EqualsASearchOfAllPrefixes) {
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        Random random(static_cast<std::uint64_t>(family));
        // Few values per byte, so that prefixes overlap.
        const auto address = [&] {
            IpAddress::Bytes bytes{};
            for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.below(3) * 127);
            return family == Family::ipv4 ? IpAddress::load_v4(bytes.data()) : IpAddress::v6(bytes);
        };
        std::vector<LeafRoute> routes;
        const unsigned longest = family == Family::ipv4 ? 32 : 128;
        for (std::uint16_t i = 1; i <= 300; ++i) {
            const auto length = static_cast<std::uint8_t>(random.below(longest + 1));
            routes.push_back({{address(), length}, i, NextHopIndex(i)});
        }
        const auto trie = *build_trie(routes, family);
        for (int i = 0; i < 3000; ++i) {
            const IpAddress to = address();
            const LeafRoute* best = nullptr;
            for (const LeafRoute& r : routes) {
                if (!r.prefix.contains(to)) continue;
                if (best == nullptr || r.prefix.length >= best->prefix.length) best = &r;
            }
            ASSERT_EQ(look_up(trie, to), best ? best->next_hop : NextHopIndex{}) << to.text();
        }
    }
}

}  // namespace
}  // namespace shunt::controlplane
