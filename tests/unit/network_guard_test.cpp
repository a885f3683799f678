#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "controlplane/network/guard.h"

namespace shunt::controlplane {
namespace {

Vip endpoint(const char* address, std::uint16_t port, Protocol protocol = Protocol::tcp) {
    return {*IpAddress::parse(address), Be16(port), protocol};
}

GuardRules example() {
    return {.listeners = {endpoint("198.18.0.53", 53, Protocol::udp), endpoint("2001:db8::10", 443),
                          endpoint("198.18.0.10", 443)},
            .nat_backends = {endpoint("2001:db8:2::21", 8443), endpoint("198.18.2.11", 443)},
            .interfaces = {"lan0"}};
}

TEST(GuardText, IsOneTransactionThatReplacesTheTable) {
    EXPECT_EQ(guard_replace_script("lb1", example()), R"(add table inet shunt_lb1
delete table inet shunt_lb1
table inet shunt_lb1 {
    set listeners4 { type ipv4_addr . inet_proto . inet_service; }
    set listeners6 { type ipv6_addr . inet_proto . inet_service; }
    set ranges4 { type ipv4_addr . inet_proto . inet_service; flags interval; }
    set ranges6 { type ipv6_addr . inet_proto . inet_service; flags interval; }
    set whole4 { type ipv4_addr . inet_proto; }
    set whole6 { type ipv6_addr . inet_proto; }
    set backends4 { type ipv4_addr . inet_proto . inet_service; }
    set backends6 { type ipv6_addr . inet_proto . inet_service; }
    set whole_backends4 { type ipv4_addr . inet_proto; }
    set whole_backends6 { type ipv6_addr . inet_proto; }
    set ports { type ifname; }
    chain input {
        type filter hook input priority -10; policy accept;
        ip daddr . meta l4proto . th dport @listeners4 counter drop
        ip6 daddr . meta l4proto . th dport @listeners6 counter drop
        ip daddr . meta l4proto . th dport @ranges4 counter drop
        ip6 daddr . meta l4proto . th dport @ranges6 counter drop
        ip daddr . meta l4proto @whole4 counter drop
        ip6 daddr . meta l4proto @whole6 counter drop
    }
    chain forward {
        type filter hook forward priority -10; policy accept;
        iifname @ports ip saddr . meta l4proto . th sport @backends4 counter drop
        iifname @ports ip6 saddr . meta l4proto . th sport @backends6 counter drop
        iifname @ports ip saddr . meta l4proto @whole_backends4 counter drop
        iifname @ports ip6 saddr . meta l4proto @whole_backends6 counter drop
    }
}
add element inet shunt_lb1 listeners4 {
198.18.0.10 . tcp . 443,
198.18.0.53 . udp . 53,
}
add element inet shunt_lb1 listeners6 {
2001:db8::10 . tcp . 443,
}
add element inet shunt_lb1 backends4 {
198.18.2.11 . tcp . 443,
}
add element inet shunt_lb1 backends6 {
2001:db8:2::21 . tcp . 8443,
}
add element inet shunt_lb1 ports {
"lan0",
}
)");
}

TEST(GuardText, DoesNotDependOnOrderOrRepetition) {
    GuardRules rules = example();
    std::reverse(rules.listeners.begin(), rules.listeners.end());
    rules.nat_backends.push_back(rules.nat_backends.front());
    rules.interfaces.push_back("lan0");
    EXPECT_EQ(guard_replace_script("lb1", rules), guard_replace_script("lb1", example()));
    EXPECT_EQ(guard_change_script("lb1", rules, example()), "");
}

TEST(GuardText, NamesOnlyWhatChanged) {
    GuardRules rules = example();
    rules.listeners[0] = endpoint("198.18.0.54", 53, Protocol::udp);
    rules.nat_backends.pop_back();
    rules.interfaces.push_back("lan1");
    EXPECT_EQ(guard_change_script("lb1", example(), rules), R"(delete element inet shunt_lb1 listeners4 {
198.18.0.53 . udp . 53,
}
add element inet shunt_lb1 listeners4 {
198.18.0.54 . udp . 53,
}
delete element inet shunt_lb1 backends4 {
198.18.2.11 . tcp . 443,
}
add element inet shunt_lb1 ports {
"lan1",
}
)");
}

TEST(GuardText, RangesAndWholeAddressesHaveSetsOfTheirOwn) {
    GuardRules rules{.listeners = {endpoint("198.18.0.10", 443)}};
    GuardRules more = rules;
    more.listeners.push_back({*IpAddress::parse("198.18.0.10"), {Be16(8000), Be16(8999)}, Protocol::udp});
    more.listeners.push_back({*IpAddress::parse("2001:db8::10"), PortRange::all(), Protocol::tcp});
    more.nat_backends.push_back({*IpAddress::parse("198.18.2.11"), PortRange::all(), Protocol::udp});
    EXPECT_EQ(guard_change_script("lb1", rules, more), R"(add element inet shunt_lb1 ranges4 {
198.18.0.10 . udp . 8000-8999,
}
add element inet shunt_lb1 whole6 {
2001:db8::10 . tcp,
}
add element inet shunt_lb1 whole_backends4 {
198.18.2.11 . udp,
}
)");
}

TEST(GuardText, ManyElementsAreManyStatements) {
    GuardRules rules;
    for (std::uint16_t port = 1; port <= 2001; ++port) rules.listeners.push_back(endpoint("198.18.0.10", port));
    const std::string text = guard_replace_script("lb1", rules);
    std::size_t statements = 0;
    for (std::size_t at = 0; (at = text.find("add element", at)) != std::string::npos; ++at) ++statements;
    EXPECT_EQ(statements, 3U);
    EXPECT_EQ(std::count(text.begin(), text.end(), '}'), 11 + 2 + 1 + 3) << "sets, chains, the table, statements";
    EXPECT_TRUE(text.ends_with("198.18.0.10 . tcp . 2001,\n}\n"));
}

TEST(GuardText, EveryInstanceHasATableOfItsOwn) {
    EXPECT_EQ(guard_table_name("lb1"), "shunt_lb1");
    EXPECT_EQ(guard_table_name("lb-1"), "shunt_lb_2d1");
    EXPECT_EQ(guard_table_name("lb_1"), "shunt_lb_5f1");
    EXPECT_EQ(guard_table_name("/run/shunt"), "shunt__2frun_2fshunt");
    EXPECT_EQ(guard_table_name("a\xff\n"), "shunt_a_ff_0a");
    EXPECT_EQ(guard_remove_script("lb1"), "add table inet shunt_lb1\ndelete table inet shunt_lb1\n");
}

TEST(Guard, RefusesWhatNoInterfaceIsCalled) {
    for (const char* name : {"", ".", "sixteen_letters_", "a b", "a/b", "a\";x", "eth*", "\xc3\xa4"}) {
        const Status status = Guard("lb1").apply({.interfaces = {name}});
        ASSERT_FALSE(status) << name;
        EXPECT_EQ(status.error().message, "\"" + std::string(name) + "\" cannot be the name of an interface");
    }
}

}  // namespace
}  // namespace shunt::controlplane
