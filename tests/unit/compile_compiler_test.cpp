#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "tests/support/fleet.h"

namespace shunt::controlplane {
namespace {

using test::Fleet;

const IpAddress vip_address = IpAddress::v4(198, 18, 0, 10);

config::Backend backend(std::uint8_t last, std::uint16_t port = 0) {
    return {.address = IpAddress::v4(198, 18, 2, last), .port = port};
}

config::DesiredState one_service() {
    config::DesiredState state;
    state.dataplane.ports.push_back({.name = "lan0", .kind = config::AfXdpPort{"eth1"}});
    config::Service web{.name = "web", .table_size = 17};
    web.vips = {{vip_address, Be16(443), Protocol::tcp}};
    web.backends = {backend(1), backend(2)};
    state.services.push_back(web);
    return state;
}

Inputs inputs(const config::DesiredState& state) { return {.state = state, .now = {1'000'000'000}}; }

std::uint32_t listener_of(const Image& image, std::uint16_t port) {
    return image.listener_map.find({vip_address, Be16(port), Protocol::tcp});
}

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

TEST(Compiler, AnErrorChangesNothing) {
    Compiler compiler;
    config::DesiredState state = one_service();
    ASSERT_TRUE(compiler.compile(inputs(state)));
    const Image before = compiler.image();

    config::DesiredState bad = state;
    bad.services[0].backends.push_back(backend(3));
    config::Service twice{.name = "twice", .table_size = 17};
    twice.vips = {{vip_address, Be16(80), Protocol::tcp}};
    twice.backends = {backend(1), backend(1, 80)};
    bad.services.push_back(twice);
    const auto refused = compiler.compile(inputs(bad));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("are both 198.18.2.1:80/tcp"), std::string::npos) << refused.error().text();

    EXPECT_TRUE(same_bytes(compiler.image().backends, before.backends));
    // Numbers that were taken for it are free again.
    state.services[0].backends.push_back(backend(9));
    const auto image = compiler.compile(inputs(state));
    ASSERT_TRUE(image);
    EXPECT_EQ((*image)->backends.size(), 4U);
    EXPECT_EQ((*image)->backends[3].address, backend(9).address);
    EXPECT_EQ((*image)->services.size(), 2U);
}

TEST(Compiler, WhatWasPreparedCanBeGivenUp) {
    Compiler compiler;
    config::DesiredState state = one_service();
    ASSERT_TRUE(compiler.compile(inputs(state)));
    config::DesiredState other = state;
    other.services[0].backends[0] = backend(7);
    ASSERT_TRUE(compiler.prepare(inputs(other)));
    EXPECT_EQ(compiler.image().backends.size(), 3U);
    compiler.cancel();
    EXPECT_EQ(compiler.commit().backends.size(), 3U);
    EXPECT_EQ(compiler.image().backends[1].address, backend(1).address);
    // Preparing again takes the place of what was prepared.
    ASSERT_TRUE(compiler.prepare(inputs(other)));
    ASSERT_TRUE(compiler.prepare(inputs(state)));
    EXPECT_EQ(compiler.commit().backends.size(), 3U);
    ASSERT_TRUE(compiler.prepare(inputs(other)));
    const Image& image = compiler.commit();
    ASSERT_EQ(image.backends.size(), 4U);
    EXPECT_EQ(image.backends[3].address, backend(7).address);
    EXPECT_EQ(image.backends[1].status, shm::BackendStatus::absent);
    EXPECT_EQ(image.backends[1].retired_at, 1'000'000'000);
}

TEST(Compiler, RefusesWhatCannotBe) {
    const auto refusal = [](auto&& change) {
        config::DesiredState state = one_service();
        change(state);
        const auto refused = Compiler().compile(inputs(state));
        return refused ? std::string("nothing is refused") : refused.error().text();
    };
    const auto expect = [](const std::string& text, const char* part) {
        EXPECT_NE(text.find(part), std::string::npos) << text;
    };
    expect(refusal([](auto& s) { s.services.push_back(s.services[0]); }), "two services \"web\"");
    expect(refusal([](auto& s) { s.services[0].name = std::string(65, 'x'); }), "1 to 64 characters");
    expect(refusal([](auto& s) { s.services[0].name = ""; }), "1 to 64 characters");
    expect(refusal([](auto& s) { s.services[0].table_size = 18; }), "be a prime");
    expect(refusal([](auto& s) { s.next_hops.push_back({.address = vip_address, .port = "wan"}); }), "no port \"wan\"");
}

// A service with more backends than there are handles left is refused; the next change is not hurt.
TEST(Compiler, RefusesMoreBackendsThanFit) {
    config::DesiredState state = one_service();
    config::Service& web = state.services[0];
    web.table_size = 655'373;
    web.backends.clear();
    for (std::uint32_t n = 0; n < shm::max_handles; ++n) {
        const auto byte = [&](int shift) { return static_cast<std::uint8_t>(n >> shift); };
        web.backends.push_back(
            {.address = IpAddress::v4(198, static_cast<std::uint8_t>(18 + (n >> 16)), byte(8), byte(0)), .weight = 0});
    }
    Compiler compiler;
    const auto refused = compiler.compile(inputs(state));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("no room for another backend: 131071"), std::string::npos);
    web.backends.pop_back();
    EXPECT_TRUE(compiler.compile(inputs(state)));
}

TEST(Compiler, AVipThatMovesToAnotherServiceGetsAnotherListener) {
    config::DesiredState state = one_service();
    config::Service mail = state.services[0];
    mail.name = "mail";
    mail.vips = {{vip_address, Be16(25), Protocol::tcp}};
    state.services.push_back(mail);
    Compiler compiler;
    ASSERT_TRUE(compiler.compile(inputs(state)));
    const auto web_listener = listener_of(compiler.image(), 443);
    std::swap(state.services[0].vips, state.services[1].vips);
    ASSERT_TRUE(compiler.compile(inputs(state)));
    const auto moved = listener_of(compiler.image(), 443);
    EXPECT_GT(moved, 2U);
    EXPECT_NE(moved, web_listener);
    EXPECT_EQ(compiler.image().listeners[moved].record.service.value, 2);
    EXPECT_EQ(compiler.image().listeners[web_listener].record.in_use, 0);
    const Endpoint any{vip_address, shm::any_port, shm::any_protocol};
    EXPECT_EQ(compiler.image().listener_map.find(any), 2U);
}

// The order of services in the document means nothing.
TEST(Compiler, ServicesMayChangePlaces) {
    Fleet fleet(4);
    Compiler compiler;
    ASSERT_TRUE(compiler.compile(fleet.inputs()));
    const Image before = compiler.image();
    std::reverse(fleet.state.services.begin(), fleet.state.services.end());
    std::reverse(fleet.verdicts.begin(), fleet.verdicts.end());
    ASSERT_TRUE(compiler.compile(fleet.inputs()));
    EXPECT_TRUE(same_bytes(compiler.image().backends, before.backends));
    EXPECT_TRUE(same_bytes(compiler.image().services, before.services));
    fleet.state.services[0].direct_access ^= true;
    ASSERT_TRUE(compiler.compile(fleet.inputs()));
    std::size_t changed = 0;
    for (std::size_t i = 0; i < before.listeners.size(); ++i) {
        changed += before.listeners[i].record.flags != compiler.image().listeners[i].record.flags;
    }
    EXPECT_EQ(changed, fleet.state.services[0].vips.size());
}

TEST(Compiler, OnlyWhatChangedIsComputedAgain) {
    Fleet fleet(4);
    Compiler compiler;
    ASSERT_TRUE(compiler.compile(fleet.inputs()));
    const Image before = compiler.image();
    config::Service& changed = fleet.state.services[2];
    changed.backends[0].weight += 1;
    changed.backends[0].state = config::BackendState::ready;
    ASSERT_TRUE(compiler.compile(fleet.inputs()));
    for (std::size_t i = 1; i < before.listeners.size(); ++i) {
        const ListenerImage& listener = compiler.image().listeners[i];
        const bool of_changed = shm::name_of(before.services[listener.record.service.value]) == changed.name;
        if (of_changed) continue;
        EXPECT_EQ(listener.handles, before.listeners[i].handles);
        EXPECT_EQ(listener.slots, before.listeners[i].slots);
    }
}

TEST(Compiler, ASourceKeepsItsFirstEightListeners) {
    config::DesiredState state = one_service();
    config::Service& web = state.services[0];
    web.backends = {backend(1, 8080)};
    for (std::uint16_t port = 1001; port <= 1010; ++port) web.vips.push_back({vip_address, Be16(port), Protocol::tcp});
    Compiler compiler;
    ASSERT_TRUE(compiler.compile(inputs(state)));
    const shm::SourceRecord& source = compiler.image().sources[1];
    EXPECT_EQ(source.count, 8);
    for (std::uint16_t i = 0; i < 8; ++i) EXPECT_EQ(source.listeners[i].value, i + 1);
    web.vips.erase(web.vips.begin());
    ASSERT_TRUE(compiler.compile(inputs(state)));
    EXPECT_EQ(compiler.image().sources[1].listeners[7].value, 9);
}

TEST(Compiler, NextHopsFollowTheRoutes) {
    config::DesiredState state = one_service();
    auto view = std::make_shared<NetworkView>();
    view->routes = {{*Prefix::parse("198.18.2.0/24"), PortIndex(0), {}}};
    view->port_mtu = {9000};
    Inputs in = inputs(state);
    in.network = view;
    Compiler compiler;
    ASSERT_TRUE(compiler.compile(in));
    const auto hop_of = [&](std::uint32_t handle) {
        return compiler.image().next_hops[compiler.image().backends[handle].next_hop.value];
    };
    EXPECT_EQ(hop_of(1).address, backend(1).address);
    EXPECT_EQ(hop_of(1).mtu, 9000);
    const std::uint16_t version = hop_of(1).version;
    const auto index = compiler.image().backends[1].next_hop;

    // Behind a gateway both share one; their own are retired, with the version that a successor must not use.
    auto routed = std::make_shared<NetworkView>();
    routed->routes = {{*Prefix::parse("198.18.2.0/24"), PortIndex(0), IpAddress::v4(198, 18, 1, 1)}};
    in.network = routed;
    ASSERT_TRUE(compiler.compile(in));
    EXPECT_EQ(hop_of(1).address, IpAddress::v4(198, 18, 1, 1));
    EXPECT_EQ(compiler.image().backends[1].next_hop, compiler.image().backends[2].next_hop);
    const shm::NextHopRecord& retired = compiler.image().next_hops[index.value];
    EXPECT_TRUE(retired.address.is_unspecified());
    EXPECT_EQ(retired.version, version);
    EXPECT_NE(retired.retired_at, 0);

    // No route: the backend stays in the table, its packets are dropped for a reason.
    in.network = std::make_shared<NetworkView>();
    ASSERT_TRUE(compiler.compile(in));
    EXPECT_FALSE(compiler.image().backends[1].next_hop);
    EXPECT_EQ(compiler.image().backends[1].status, shm::BackendStatus::ready);
}

TEST(Compiler, StaticNextHopsSayTheirTagsAndMtu) {
    config::DesiredState state = one_service();
    state.dataplane.ports.push_back({.name = "file", .kind = config::CapturePort{}, .mtu = 1400});
    const auto hop = [](std::uint8_t last, const char* port, std::optional<std::vector<std::uint16_t>> vlan) {
        return config::NextHop{.address = IpAddress::v4(198, 18, 2, last), .port = port, .vlan = std::move(vlan)};
    };
    state.next_hops = {hop(1, "lan0", std::nullopt), hop(2, "lan0", {{}}), hop(3, "file", {{5}}),
                       hop(4, "file", {{100, 5}})};
    state.next_hops[0].mtu = 1300;
    state.next_hops[1].mtu = 9000;
    state.services[0].backends = {backend(1), backend(2), backend(3), backend(4)};
    const auto records = [&](std::vector<std::uint16_t> port_mtu) {
        auto view = std::make_shared<NetworkView>();
        view->port_mtu = std::move(port_mtu);
        Inputs in = inputs(state);
        in.network = view;
        Compiler compiler;
        EXPECT_TRUE(compiler.compile(in));
        std::vector<shm::NextHopRecord> found;
        for (std::uint32_t b = 1; b <= 4; ++b) {
            found.push_back(compiler.image().next_hops[compiler.image().backends[b].next_hop.value]);
        }
        return found;
    };
    using Tags = std::array<std::uint16_t, 2>;
    const auto hops = records({1500});
    const std::array<Tags, 4> tags{Tags{}, Tags{}, Tags{5}, Tags{100, 5}};
    const std::array<std::uint16_t, 4> mtu{1300, 1500, 1400, 1400};
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_EQ(hops[i].flags, shm::NextHopRecord::has_static | (i == 0 ? 0 : shm::NextHopRecord::sets_tags)) << i;
        EXPECT_EQ(hops[i].tags, tags[i]) << i;
        EXPECT_EQ(hops[i].mtu, mtu[i]) << i;
    }
    EXPECT_EQ(records({})[1].mtu, 9000) << "nobody knows better";
}

TEST(Compiler, VipsOfBothFamiliesShareTunnels) {
    config::DesiredState state = one_service();
    config::Service& web = state.services[0];
    web.mode = ForwardingMode::ipip;
    web.vips.push_back({*IpAddress::parse("2001:db8::10"), Be16(443), Protocol::tcp});
    web.vips.push_back({*IpAddress::parse("2001:db8::10"), Be16(80), Protocol::tcp});
    web.backends.push_back({.address = *IpAddress::parse("2001:db8:2::21")});
    state.node.source = {*IpAddress::parse("2001:db8:1::1"), IpAddress::v4(198, 18, 1, 1),
                         IpAddress::v4(198, 18, 1, 2)};
    Compiler compiler;
    ASSERT_TRUE(compiler.compile(inputs(state)));
    const Image& image = compiler.image();
    EXPECT_EQ(image.backends.size(), 1U + 3 + 3) << "one handle for each port";
    const ListenerImage &v4 = image.listeners[1], &v6 = image.listeners[2];
    EXPECT_EQ(v4.slots, v6.slots);
    EXPECT_EQ(*v4.handles, *v6.handles);
    EXPECT_EQ(image.services[1].table_hash[0], image.services[1].table_hash[1]);
    EXPECT_EQ(image.tunnel_source[0], IpAddress::v4(198, 18, 1, 1));
    EXPECT_EQ(image.tunnel_source[1], *IpAddress::parse("2001:db8:1::1"));
    const auto tunnels_to = [&](const config::Backend& b) {
        return image.tunnel_map.find({b.address, shm::any_port, shm::any_protocol});
    };
    for (const config::Backend& b : web.backends) EXPECT_EQ(tunnels_to(b), 2U);
    EXPECT_EQ(image.source_map.entries(), 0U);

    // Only VIPs of one family: there is no table for the other.
    web.vips.resize(1);
    ASSERT_TRUE(compiler.compile(inputs(state)));
    EXPECT_NE(image.services[1].table_hash[0], 0U);
    EXPECT_EQ(image.services[1].table_hash[1], 0U);
    EXPECT_EQ(image.listeners[1].record.backends, 3U);
    EXPECT_EQ(tunnels_to(web.backends[0]), 1U);

    // The way is another one now; who it leads to stays.
    const shm::Handle before = (*image.listeners[1].handles)[0];
    web.mode = ForwardingMode::direct;
    ASSERT_TRUE(compiler.compile(inputs(state)));
    EXPECT_EQ((*image.listeners[1].handles)[0], before);
    EXPECT_EQ(image.listeners[1].record.backends, 2U);
    EXPECT_EQ(image.tunnel_map.entries(), 0U);
}

TEST(NetworkView, TellsRoutesInPortsOfOurs) {
    std::vector<config::Port> ports{{.name = "a", .kind = config::AfXdpPort{"eth1"}},
                                    {.name = "b", .kind = config::VdevPort{"net_af_packet0,iface=eth2,blocksz=4096"}},
                                    {.name = "c", .kind = config::CapturePort{}},
                                    {.name = "d", .kind = config::AfXdpPort{"absent"}}};
    NetworkSnapshot snapshot;
    snapshot.links = {{.ifindex = 1, .name = "lo", .mtu = 65536},
                      {.ifindex = 7, .name = "eth1", .mtu = 1500},
                      {.ifindex = 9, .name = "eth2", .mtu = 70000}};
    const IpAddress gateway = IpAddress::v4(198, 18, 1, 1);
    snapshot.addresses = {{gateway, 24, 7}, {gateway, 32, 1}};
    snapshot.routes = {{*Prefix::parse("0.0.0.0/0"), {{gateway, 1}, {gateway, 9}}},
                       {*Prefix::parse("198.18.1.0/24"), {{std::nullopt, 7}}},
                       {*Prefix::parse("198.18.2.0/24"), {}},
                       {*Prefix::parse("198.18.3.0/24"), {{std::nullopt, 1}}}};
    const NetworkView view = network_view(snapshot, ports);
    const std::vector<RouteView> expected{{*Prefix::parse("0.0.0.0/0"), PortIndex(1), gateway},
                                          {*Prefix::parse("198.18.1.0/24"), PortIndex(0), std::nullopt},
                                          {*Prefix::parse("198.18.2.0/24"), std::nullopt, std::nullopt},
                                          {*Prefix::parse("198.18.3.0/24"), std::nullopt, std::nullopt}};
    EXPECT_EQ(view.routes, expected);
    EXPECT_EQ(view.local_addresses, std::vector{gateway});
    EXPECT_EQ(view.port_mtu, (std::vector<std::uint16_t>{1500, 65535, 0, 0}));
}

}  // namespace
}  // namespace shunt::controlplane
