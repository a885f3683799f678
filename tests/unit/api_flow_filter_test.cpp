// The language of flow filters: what it means, and where it says that something is wrong.
#include "src/api/flow_filter.h"

#include <gtest/gtest.h>

#include "src/shm/flow.h"
#include "tests/support/instance.h"

namespace shunt::api {
namespace {

class FlowFilterTest : public testing::Test {
  protected:
    Result<shm::FlowFilter> parse(std::string_view text) { return parse_flow_filter(text, instance_.tables(), 2); }
    shm::FlowFilter good(std::string_view text) {
        const auto filter = parse(text);
        EXPECT_TRUE(filter) << text << ": " << (filter ? "" : filter.error().text());
        return filter ? *filter : shm::FlowFilter{};
    }
    static std::uint8_t bit(shm::FlowState state) {
        return static_cast<std::uint8_t>(1U << static_cast<unsigned>(state));
    }

    test::Instance instance_{{test::make_service("web", {"198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"},
                                                 {"198.18.2.11:8080", "2001:db8:2::11"}),
                              test::make_service("dns", {"198.18.0.53:53/udp"}, {"198.18.3.9:53"})}};
};

TEST_F(FlowFilterTest, NothingAndAllMeanEveryFlow) {
    EXPECT_EQ(good(""), shm::FlowFilter{});
    EXPECT_EQ(good("all"), shm::FlowFilter{});
    EXPECT_EQ(good("  "), shm::FlowFilter{});
}

TEST_F(FlowFilterTest, EveryWordSaysOneThing) {
    const auto address = [](const char* text) { return *IpAddress::parse(text); };
    EXPECT_EQ(shm::name_of(instance_.tables().services[good("service=dns").service.value]), "dns");
    EXPECT_EQ(good("backend=198.18.2.11"), (shm::FlowFilter{.backend = address("198.18.2.11")}));
    EXPECT_EQ(good("backend=198.18.2.11:8080").backend_port, Be16(8080));
    EXPECT_EQ(good("backend=[2001:db8:2::11]:443"),
              (shm::FlowFilter{.backend = address("2001:db8:2::11"), .backend_port = Be16(443)}));
    EXPECT_EQ(good("client=203.0.113.7"), (shm::FlowFilter{.client = address("203.0.113.7"), .client_length = 32}));
    EXPECT_EQ(good("client=2001:db8:c::/48"),
              (shm::FlowFilter{.client = address("2001:db8:c::"), .client_length = 48}));
    EXPECT_EQ(good("client-port=40000").client_port, Be16(40000));
    EXPECT_EQ(good("vip=198.18.0.10"), (shm::FlowFilter{.vip = address("198.18.0.10")}));
    EXPECT_EQ(good("vip=[2001:db8::10]:443/tcp"),
              (shm::FlowFilter{.vip = address("2001:db8::10"), .vip_port = Be16(443), .protocol = Protocol::tcp}));
    EXPECT_EQ(good("state=syn").states, bit(shm::FlowState::embryonic));
    EXPECT_EQ(good("state=established").states, bit(shm::FlowState::established));
    EXPECT_EQ(good("state=fin").states, bit(shm::FlowState::closing));
    EXPECT_EQ(good("state=udp").states, bit(shm::FlowState::datagram));
    EXPECT_EQ(good("idle>30s").idle_above, 120U);
    EXPECT_EQ(good("idle<250ms").idle_below, 1U);
    EXPECT_EQ(good("protocol=udp").protocol, Protocol::udp);
    EXPECT_EQ(good("worker=1").workers, 2U);
    EXPECT_EQ(good("family=6").family, 6);
}

TEST_F(FlowFilterTest, WordsAreTakenTogether) {
    const auto filter = good(" service=web  idle>5s idle<1h backend=198.18.2.11");
    EXPECT_EQ(filter.idle_above, 20U);
    EXPECT_EQ(filter.idle_below, 14400U);
    EXPECT_FALSE(filter.backend.is_unspecified());
    EXPECT_TRUE(filter.service);
}

struct Wrong {
    const char* text;
    std::uint32_t column;
    const char* says;
};

TEST_F(FlowFilterTest, WhatIsWrongIsPointedAt) {
    const Wrong all[] = {
        {"servce=web", 1, "did you mean \"service\"?"},
        {"service=web colour=red", 13, "\"colour\" is no word of a filter"},
        {"service=wbe", 9, "did you mean \"web\"?"},
        {"service=mail", 9, "there is no service \"mail\""},
        {"service", 8, "is followed by ="},
        {"service>web", 8, "is followed by ="},
        {"service=", 9, "has no value"},
        {"service=web service=dns", 13, "is there twice"},
        {"all service=web", 1, "\"all\" is no word of a filter"},
        {"backend=198.18.2.99", 9, "there is no backend"},
        {"backend=198.18.2.11:80", 9, "there is no backend"},
        {"backend=198.18.2.11 service=dns", 9, "that service has no backend"},
        {"backend=web1", 9, "is no address of a backend"},
        {"client=203.0.113.7/33", 8, "is no address of clients"},
        {"client=0.0.0.0/0", 8, "is no address of clients"},
        {"client-port=0", 13, "is no port"},
        {"client-port=65536", 13, "is no port"},
        {"vip=198.18.0.11", 5, "there is no VIP"},
        {"vip=198.18.0.10:80", 5, "there is no VIP"},
        {"vip=198.18.0.10:443/icmp", 5, "is no VIP"},
        {"vip=198.18.0.10:443/tcp protocol=udp", 34, "is no protocol of that VIP"},
        {"state=open", 7, "is no state of a flow"},
        {"idle", 5, "in quotes: a shell takes < and > for itself"},
        {"idle=30s", 5, "is followed by < or >"},
        {"idle>30", 6, "is no length of time"},
        {"idle>0s", 6, "is no length of time"},
        {"idle>8d", 6, "is no length of time"},
        {"protocol=sctp", 10, "is no protocol here"},
        {"worker=2", 8, "there is no worker 2"},
        {"worker=x", 8, "is no number of a worker"},
        {"family=5", 8, "is no address family"},
        {"state=syn\tfamily=4", 7, "is no state of a flow"},
    };
    for (const Wrong& wrong : all) {
        const auto filter = parse(wrong.text);
        ASSERT_FALSE(filter) << wrong.text;
        EXPECT_EQ(filter.error().column, wrong.column) << wrong.text;
        EXPECT_EQ(filter.error().line, 1U);
        EXPECT_EQ(filter.error().file, "filter");
        EXPECT_NE(filter.error().remedy, "") << wrong.text;
        EXPECT_NE(filter.error().text().find(wrong.says), std::string::npos) << filter.error().text();
    }
    EXPECT_FALSE(parse(std::string(1001, ' ')));
}

}  // namespace
}  // namespace shunt::api
