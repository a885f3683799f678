#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "controlplane/network/best_routes.h"
#include "src/base/random.h"

namespace shunt::controlplane {
namespace {

Route route(const char* prefix, std::vector<NextHopRef> hops = {}) { return {*Prefix::parse(prefix), std::move(hops)}; }
NextHopRef via(const char* gateway, std::uint32_t ifindex) { return {IpAddress::parse(gateway), ifindex}; }
NextHopRef on_link(std::uint32_t ifindex) { return {std::nullopt, ifindex}; }

TEST(BestRoutes, LowestMetricWins) {
    const std::vector<Route> best = best_routes({{route("0.0.0.0/0", {via("198.18.1.1", 2)}), 100},
                                                 {route("0.0.0.0/0", {via("198.18.1.2", 3)}), 50},
                                                 {route("0.0.0.0/0"), 4'000'000'000U}});
    EXPECT_EQ(best, (std::vector<Route>{route("0.0.0.0/0", {via("198.18.1.2", 3)})}));
}

TEST(BestRoutes, ABlackholeMayBeTheBest) {
    const auto best = best_routes({{route("198.18.2.0/24", {on_link(2)}), 10}, {route("198.18.2.0/24"), 5}});
    EXPECT_EQ(best, (std::vector<Route>{route("198.18.2.0/24")}));
}

TEST(BestRoutes, EqualOnesAreOneWithAllNextHops) {
    const auto best = best_routes({{route("::/0", {via("fe80::2", 3)}), 1024},
                                   {route("::/0", {via("fe80::1", 2)}), 1024},
                                   {route("::/0", {via("fe80::2", 3)}), 1024}});
    EXPECT_EQ(best, (std::vector<Route>{route("::/0", {via("fe80::1", 2), via("fe80::2", 3)})}));
}

TEST(BestRoutes, AreInOrderWhateverTheOrderOfTheKernel) {
    std::vector<CandidateRoute> candidates{
        {route("2001:db8::/32", {on_link(2)}), 1}, {route("198.18.0.0/15", {on_link(4), on_link(3)}), 1},
        {route("198.18.0.0/16", {on_link(2)}), 1}, {route("198.18.0.0/15", {on_link(9)}), 7},
        {route("::/0", {on_link(2)}), 1},          {route("0.0.0.0/0", {on_link(2)}), 1}};
    const auto best = best_routes(candidates);
    ASSERT_EQ(best.size(), 5U);
    EXPECT_TRUE(std::is_sorted(best.begin(), best.end()));
    EXPECT_EQ(*std::find_if(best.begin(), best.end(), [](const Route& r) { return r.next_hops.size() == 2; }),
              route("198.18.0.0/15", {on_link(3), on_link(4)}));
    Random random(1);
    for (int i = 0; i < 50; ++i) {
        std::shuffle(candidates.begin(), candidates.end(), random);
        EXPECT_EQ(best_routes(candidates), best);
    }
}

}  // namespace
}  // namespace shunt::controlplane
