// What the control plane reads of the kernel's network, in a namespace of its own.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "controlplane/network/routes.h"
#include "tests/support/network_namespace.h"

namespace shunt::controlplane {
namespace {

class Routes : public testing::Test {
  protected:
    Routes() {
        run("ip link add east type veth peer name east_peer");
        run("ip link add west type veth peer name west_peer");
        run("ip link set east address 02:00:00:00:00:0a mtu 1400");
        for (const char* device : {"east", "east_peer", "west", "west_peer"}) {
            run(std::string("ip link set ") + device + " addrgenmode none");
            run(std::string("ip link set ") + device + " up");
        }
        run("ip addr add 198.18.1.1/24 dev east");
        run("ip addr add 2001:db8:1::1/64 dev east nodad");
        run("ip addr add 198.18.2.1/24 dev west");
    }
    static void run(const std::string& command) { test::NetworkNamespace::run(command); }
    // Many commands of `ip` at once.
    static void run_batch(const std::string& text) {
        FILE* ip = ::popen("ip -batch -", "w");
        std::fwrite(text.data(), 1, text.size(), ip);
        EXPECT_EQ(::pclose(ip), 0);
    }

    void open(std::size_t limit = NetworkWatch::max_routes) {
        auto opened = NetworkWatch::open(limit);
        ASSERT_TRUE(opened) << opened.error().text();
        watch_ = std::move(opened).value();
    }
    const NetworkSnapshot& now() const { return watch_->snapshot(); }
    // Follows the kernel until the snapshot is as wanted, or nothing happens any more.
    bool becomes(const std::function<bool()>& wanted, int patience_milliseconds = 10'000) {
        while (!wanted()) {
            pollfd ready{watch_->fd(), POLLIN, 0};
            if (::poll(&ready, 1, patience_milliseconds) != 1) return false;
            const auto changed = watch_->process();
            EXPECT_TRUE(changed) << changed.error().text();
            ++calls_;
            changes_ += changed && *changed ? 1 : 0;
        }
        return true;
    }
    std::uint32_t index(const std::string& name) const {
        const auto& links = now().links;
        const auto found = std::find_if(links.begin(), links.end(), [&](const Link& l) { return l.name == name; });
        return found == links.end() ? 0 : found->ifindex;
    }
    const Route* route(const char* prefix) const {
        const auto& routes = now().routes;
        const auto found = std::find_if(routes.begin(), routes.end(),
                                        [&](const Route& r) { return r.prefix == *Prefix::parse(prefix); });
        return found == routes.end() ? nullptr : &*found;
    }
    std::vector<NextHopRef> hops(const char* prefix) const {
        const Route* found = route(prefix);
        EXPECT_NE(found, nullptr) << prefix;
        return found == nullptr ? std::vector<NextHopRef>{} : found->next_hops;
    }
    NextHopRef via(const char* gateway, const char* device) const { return {IpAddress::parse(gateway), index(device)}; }
    NextHopRef on_link(const char* device) const { return {std::nullopt, index(device)}; }
    bool has_address(const char* address, std::uint8_t length, const char* device) const {
        const LocalAddress wanted{*IpAddress::parse(address), length, index(device)};
        return std::find(now().addresses.begin(), now().addresses.end(), wanted) != now().addresses.end();
    }

    test::NetworkNamespace namespace_;
    std::unique_ptr<NetworkWatch> watch_;
    int calls_{};
    int changes_{};
};

using Hops = std::vector<NextHopRef>;

TEST_F(Routes, LinksAndAddressesAreThereAtOnce) {
    run("ip link set west_peer down");
    open();
    const auto a = std::find_if(now().links.begin(), now().links.end(), [](const Link& l) { return l.name == "east"; });
    ASSERT_NE(a, now().links.end());
    EXPECT_EQ(a->mac.text(), "02:00:00:00:00:0a");
    EXPECT_EQ(a->mtu, 1400U);
    EXPECT_TRUE(a->up);
    EXPECT_TRUE(becomes([&] {
        return std::any_of(now().links.begin(), now().links.end(),
                           [](const Link& l) { return l.name == "west" && !l.up; });
    })) << "it has no carrier";
    EXPECT_TRUE(has_address("127.0.0.1", 8, "lo"));
    EXPECT_TRUE(has_address("::1", 128, "lo"));
    EXPECT_TRUE(has_address("198.18.1.1", 24, "east"));
    EXPECT_TRUE(has_address("2001:db8:1::1", 64, "east"));
    EXPECT_TRUE(std::is_sorted(now().links.begin(), now().links.end()));
    EXPECT_TRUE(std::is_sorted(now().addresses.begin(), now().addresses.end()));
    EXPECT_FALSE(now().policy_rules);
    EXPECT_EQ(now().routes_ignored, 0U);
}

TEST_F(Routes, TheMainTableOfBothFamilies) {
    run_batch(R"(route add default via 198.18.1.254
route add 203.0.113.0/26 nexthop via 198.18.1.3 nexthop via 198.18.2.3
route add 203.0.113.64/26 via inet6 2001:db8:1::9 dev east
route add blackhole 203.0.113.128/27
route add unreachable 203.0.113.160/27
route add prohibit 203.0.113.192/27
route add 198.19.0.0/16 via 198.18.1.9 metric 20
route add 198.19.0.0/16 via 198.18.2.9 metric 10
route add 198.19.7.0/24 via 198.18.1.9 table 77
)");
    run("ip -6 route add default via 2001:db8:1::fe");
    run("ip -6 route add 2001:db8:7::/48 nexthop via 2001:db8:1::3 nexthop via 2001:db8:1::4");
    run("ip -6 route add blackhole 2001:db8:8::/48");
    open();
    EXPECT_EQ(hops("0.0.0.0/0"), Hops{via("198.18.1.254", "east")});
    EXPECT_EQ(hops("198.18.1.0/24"), Hops{on_link("east")});
    EXPECT_EQ(hops("203.0.113.0/26"), (Hops{via("198.18.1.3", "east"), via("198.18.2.3", "west")}));
    EXPECT_EQ(hops("203.0.113.64/26"), Hops{via("2001:db8:1::9", "east")});
    for (const char* nowhere : {"203.0.113.128/27", "203.0.113.160/27", "203.0.113.192/27", "2001:db8:8::/48"}) {
        EXPECT_EQ(hops(nowhere), Hops{});
    }
    EXPECT_EQ(hops("198.19.0.0/16"), Hops{via("198.18.2.9", "west")});
    EXPECT_EQ(route("198.19.7.0/24"), nullptr) << "another table";
    EXPECT_EQ(route("198.18.1.1/32"), nullptr) << "the table of local addresses";
    EXPECT_EQ(hops("::/0"), Hops{via("2001:db8:1::fe", "east")});
    EXPECT_EQ(hops("2001:db8:1::/64"), Hops{on_link("east")});
    EXPECT_EQ(hops("2001:db8:7::/48"), (Hops{via("2001:db8:1::3", "east"), via("2001:db8:1::4", "east")}));
    EXPECT_FALSE(now().policy_rules);
}

TEST_F(Routes, ChangesAreFollowed) {
    open();
    run("ip route add 203.0.113.0/24 via 198.18.1.2");
    EXPECT_TRUE(becomes([&] { return route("203.0.113.0/24") != nullptr; }));
    run("ip route replace 203.0.113.0/24 via 198.18.2.2");
    EXPECT_TRUE(becomes([&] { return hops("203.0.113.0/24") == Hops{via("198.18.2.2", "west")}; }));
    run("ip route del 203.0.113.0/24");
    EXPECT_TRUE(becomes([&] { return route("203.0.113.0/24") == nullptr; }));
    run("ip -6 route add 2001:db8:9::/48 via 2001:db8:1::2");
    EXPECT_TRUE(becomes([&] { return route("2001:db8:9::/48") != nullptr; }));
    run("ip addr add 198.18.0.10/32 dev east");
    EXPECT_TRUE(becomes([&] { return has_address("198.18.0.10", 32, "east"); }));
    run("ip -6 addr add 2001:db8::10/128 dev east nodad");
    EXPECT_TRUE(becomes([&] { return has_address("2001:db8::10", 128, "east"); }));
    run("ip link set west mtu 1300");
    EXPECT_TRUE(becomes([&] {
        return std::any_of(now().links.begin(), now().links.end(),
                           [](const Link& l) { return l.name == "west" && l.mtu == 1300; });
    }));
    run("ip link del east");
    EXPECT_TRUE(becomes([&] { return index("east") == 0 && route("2001:db8:9::/48") == nullptr; }));
    EXPECT_LT(changes_, 30);
}

TEST_F(Routes, ADeadNextHopIsNone) {
    run("ip route add 203.0.113.0/24 nexthop via 198.18.1.3 nexthop via 198.18.2.3");
    open();
    EXPECT_EQ(hops("203.0.113.0/24").size(), 2U);
    run("ip link set west down");
    EXPECT_TRUE(becomes([&] { return hops("203.0.113.0/24") == Hops{via("198.18.1.3", "east")}; }));
}

TEST_F(Routes, NextHopObjectsAreFollowed) {
    run("ip nexthop add id 7 via 198.18.1.2 dev east");
    run("ip route add 203.0.113.0/24 nhid 7");
    open();
    EXPECT_EQ(hops("203.0.113.0/24"), Hops{via("198.18.1.2", "east")});
    run("ip nexthop replace id 7 via 198.18.2.2 dev west");
    EXPECT_TRUE(becomes([&] { return hops("203.0.113.0/24") == Hops{via("198.18.2.2", "west")}; }));
    run("echo 0 > /proc/sys/net/ipv4/nexthop_compat_mode");
    run("ip route add 203.0.113.128/25 via 198.18.1.2");
    EXPECT_TRUE(becomes([&] { return now().routes_ignored == 1; }));
    EXPECT_EQ(hops("203.0.113.128/25"), Hops{via("198.18.1.2", "east")});
}

TEST_F(Routes, LinkLocalPrefixesAreOfNoUse) {
    run("ip addr add fe80::1/64 dev east nodad");
    open();
    EXPECT_TRUE(has_address("fe80::1", 64, "east"));
    EXPECT_EQ(route("fe80::/64"), nullptr);
}

TEST_F(Routes, PolicyRoutingIsSeen) {
    open();
    run("ip rule add from 198.18.1.0/24 table 77");
    EXPECT_TRUE(becomes([&] { return now().policy_rules; }));
    run("ip rule del from 198.18.1.0/24 table 77");
    EXPECT_TRUE(becomes([&] { return !now().policy_rules; }));
    run("ip -6 rule add fwmark 1 table 77");
    EXPECT_TRUE(becomes([&] { return now().policy_rules; }));
    run("ip -6 rule del fwmark 1 table 77");
    EXPECT_TRUE(becomes([&] { return !now().policy_rules; }));
    run("ip route add 203.0.113.0/24 via 198.18.1.2 tos 0x10");
    EXPECT_TRUE(becomes([&] { return now().policy_rules; }));
    EXPECT_EQ(route("203.0.113.0/24"), nullptr);
    run("ip route del 203.0.113.0/24 tos 0x10");
    EXPECT_TRUE(becomes([&] { return !now().policy_rules; }));
}

std::string many_routes(int count, const char* verb = "add") {
    std::string text;
    for (int i = 0; i < count; ++i) {
        text += "route " + std::string(verb) + " 198.19." + std::to_string(i / 256) + "." + std::to_string(i % 256) +
                "/32 via 198.18.1.2\n";
    }
    return text;
}

TEST_F(Routes, ManyChangesAreFewReadings) {
    open();
    run_batch(many_routes(3000));
    const std::size_t all = now().routes.size() + 3000;
    EXPECT_TRUE(becomes([&] { return now().routes.size() == all; }));
    EXPECT_LT(changes_, 20);
    EXPECT_LT(calls_, 100) << "woken for nothing";
}

TEST_F(Routes, WhatWasLostInAnOverflowIsReadAgain) {
    open();
    const std::size_t before = now().routes.size();
    run_batch(many_routes(20'000));  // much more than the socket holds
    EXPECT_TRUE(becomes([&] { return now().routes.size() == before + 20'000; }));
    EXPECT_GT(calls_, 4) << "a reading is done in pieces";
    run("ip route flush root 198.19.0.0/16");
    EXPECT_TRUE(becomes([&] { return now().routes.size() == before; }));
}

TEST_F(Routes, ItIsBounded) {
    run_batch(many_routes(300));
    open(100);
    EXPECT_EQ(now().routes.size(), 100U);
    EXPECT_GE(now().routes_ignored, 200U);
    run("ip route flush root 198.19.0.0/16");
    EXPECT_TRUE(becomes([&] { return now().routes_ignored == 0; }));
}

TEST_F(Routes, WhatComesToNothingIsNoChange) {
    open();
    EXPECT_FALSE(becomes([] { return false; }, 200)) << "until it has settled";
    changes_ = calls_ = 0;
    run("ip route add 203.0.113.0/24 via 198.18.1.2");
    run("ip route del 203.0.113.0/24");
    EXPECT_FALSE(becomes([] { return false; }, 200));
    EXPECT_GT(calls_, 0);
    EXPECT_EQ(changes_, 0);
    calls_ = 0;
    run("ip neigh add 198.18.1.77 lladdr 02:00:00:00:00:77 dev east");
    EXPECT_FALSE(becomes([] { return false; }, 50));
    EXPECT_EQ(calls_, 0) << "neighbours are not our business";
}

}  // namespace
}  // namespace shunt::controlplane
