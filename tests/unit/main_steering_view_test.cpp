// What the steering program is told of a generation.
#include <gtest/gtest.h>

#include <algorithm>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/publisher.h"
#include "dataplane/main/port_set.h"

namespace shunt::dataplane {
namespace {

IpAddress ip(const char* text) { return IpAddress::parse(text).value(); }

Endpoint tcp(const char* address, std::uint16_t port) { return {ip(address), Be16(port), Protocol::tcp}; }

template <class T>
std::vector<T> sorted(std::vector<T> values) {
    std::ranges::sort(values);
    return values;
}

TEST(SteeringView, NamesListenersSourcesOfRepliesAndTunnelEnds) {
    config::DesiredState state;
    state.dataplane.ports.push_back({.name = "lan0", .kind = config::AfXdpPort{"eth1"}});
    config::Service web{.name = "web", .vips = {*Vip::parse("198.18.0.10:443/tcp")}};
    web.backends = {{.address = ip("198.18.2.11"), .port = 8443}};
    config::Service tunnel{.name = "tunnel",
                           .vips = {*Vip::parse("198.18.0.11:443/tcp"), *Vip::parse("[2001:db8::11]:80/tcp")}};
    tunnel.mode = ForwardingMode::gue;
    tunnel.backends = {{.address = ip("198.18.2.12")}, {.address = ip("2001:db8:2::12")}};
    config::Service direct{
        .name = "direct", .vips = {*Vip::parse("198.18.0.12:443/tcp")}, .mode = ForwardingMode::direct};
    direct.backends = {{.address = ip("198.18.2.13")}};
    config::Service many{.name = "many",
                         .vips = {*Vip::parse("198.18.0.12:*/tcp"), *Vip::parse("198.18.0.12:53-54/udp")}};
    many.backends = {{.address = ip("198.18.2.14")}};
    state.services = {web, tunnel, direct, many};
    auto network = std::make_shared<controlplane::NetworkView>();
    network->local_addresses = {ip("198.18.1.11")};
    controlplane::Compiler compiler;
    const auto image = compiler.compile({.state = state, .network = network, .now = {1}});
    ASSERT_TRUE(image) << image.error().text();
    auto publisher = controlplane::Publisher::in_memory();
    ASSERT_TRUE(publisher.publish(**image));

    const SteeringView view = steering_view(publisher.tables());
    EXPECT_EQ(sorted(view.endpoints.listeners), sorted(std::vector{tcp("198.18.0.10", 443), tcp("198.18.0.11", 443),
                                                                   tcp("198.18.0.12", 443), tcp("2001:db8::11", 80)}));
    EXPECT_EQ(sorted(view.endpoints.ranges),
              sorted(std::vector{*Vip::parse("198.18.0.12:*/tcp"), *Vip::parse("198.18.0.12:53-54/udp")}));
    const Endpoint any_udp{ip("198.18.2.14"), shm::any_port, Protocol::udp};
    EXPECT_EQ(sorted(view.endpoints.backends),
              sorted(std::vector{tcp("198.18.2.11", 8443), tcp("198.18.2.14", 0), any_udp}));
    EXPECT_EQ(sorted(view.endpoints.tunnel_ends), sorted(std::vector{ip("198.18.2.12"), ip("2001:db8:2::12")}));
    EXPECT_EQ(view.local_addresses, std::vector{ip("198.18.1.11")});
}

}  // namespace
}  // namespace shunt::dataplane
