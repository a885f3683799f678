#include "src/config/changes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "src/base/random.h"
#include "src/config/toml.h"
#include "tests/support/config_states.h"

namespace shunt::config {
namespace {

DesiredState parsed(const std::string& text) {
    auto state = parse_toml("version = 1\n" + text, "f");
    EXPECT_TRUE(state) << state.error().text();
    return state ? std::move(*state) : DesiredState{};
}

// As `shunt config diff` prints them.
std::string changes(const DesiredState& before, const DesiredState& after) {
    std::string lines;
    for (const auto& [kind, key, old, now] : changed_keys(before, after)) {
        if (kind == ChangeKind::add) lines += "+ " + key + "  " + now + "\n";
        if (kind == ChangeKind::remove) lines += "- " + key + "  " + old + "\n";
        if (kind == ChangeKind::change) lines += "~ " + key + "  " + old + " -> " + now + "\n";
    }
    return lines;
}

const std::string base = R"(
[[dataplane.port]]
name = "lan0"
af_xdp = "eth1"
[[service]]
name = "web"
vip = ["198.18.0.10:443/tcp"]
table_size = 1021
[service.check]
type = "http"
path = "/health"
[[service.backend]]
address = "198.18.2.11"
[[service.backend]]
address = "198.18.2.12"
port = 443
[[service]]
name = "dns"
vip = ["198.18.0.53:53/udp"]
[[service.backend]]
address = "198.18.3.9"
)";

DesiredState changed(const std::function<void(DesiredState&)>& change) {
    DesiredState state = parsed(base);
    change(state);
    return state;
}
std::string changes_of(const std::function<void(DesiredState&)>& change) {
    return changes(parsed(base), changed(change));
}

TEST(Changes, AreNoneWhereNothingDiffers) {
    EXPECT_EQ(changes_of([](DesiredState&) {}), "");
    // The order of services and backends means nothing.
    EXPECT_EQ(changes_of([](DesiredState& s) {
                  std::ranges::reverse(s.services);
                  std::ranges::reverse(s.services[1].backends);
              }),
              "");
}

TEST(Changes, TellOfTablesThatComeAndGo) {
    EXPECT_EQ(changes_of([](DesiredState& s) { s.ha.emplace(); }), "+ ha  { track_files = { }, hold = \"3s\" }\n");
    DesiredState with = parsed(base);
    with.ha.emplace();
    EXPECT_EQ(changes(with, parsed(base)), "- ha  { track_files = { }, hold = \"3s\" }\n");
    DesiredState longer = with;
    longer.ha->hold = Duration::seconds(5);
    longer.ha->track_files.dataplane = "/run/a";
    longer.http_listen = AddressAndPort{IpAddress::v4(127, 0, 0, 1), 9480};
    EXPECT_EQ(changes(with, longer),
              "+ http.listen  \"127.0.0.1:9480\"\n"
              "+ ha.track_files.dataplane  \"/run/a\"\n"
              "~ ha.hold  \"3s\" -> \"5s\"\n");
    DesiredState other = with;
    with.sync = Sync{.listen = {IpAddress::v4(198, 18, 1, 11), 7400}, .peers = {{IpAddress::v4(198, 18, 1, 12), 7400}}};
    other.sync = with.sync;
    other.sync->peers[0].port = 7401;
    other.sync->flows = SyncFlows::all;
    EXPECT_EQ(changes(with, other),
              "+ sync.peers  198.18.1.12:7401\n"
              "- sync.peers  198.18.1.12:7400\n"
              "~ sync.flows  \"pinned\" -> \"all\"\n");
}

TEST(Changes, NameTheKeyAndBothValues) {
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services[0].check->path = "/healthz"; }),
              "~ service.web.check.path  \"/health\" -> \"/healthz\"\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services[0].backends[1].weight = 0; }),
              "~ service.web.backend.198.18.2.12:443.weight  100 -> 0\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services[1].table_size = 7; }), "+ service.dns.table_size  7\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services[0].table_size.reset(); }),
              "- service.web.table_size  1021\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services[1].timeouts.udp = Duration::seconds(5); }),
              "+ service.dns.timeouts.udp  \"5s\"\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.dataplane.flows = 7; }), "~ dataplane.flows  1048576 -> 7\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.node.name = "lb2"; }), "~ node.name  \"lb\" -> \"lb2\"\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.api_socket = "/x"; }), "+ api.socket  \"/x\"\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.announce_device = "v"; }), "+ announce.device  \"v\"\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services[0].quorum.up = 2; }), "~ service.web.quorum.up  1 -> 2\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services[0].check.reset(); }).substr(0, 45),
              "- service.web.check  { type = \"http\", path = ");
}

TEST(Changes, ShowListsOfNumbersWhole) {
    DesiredState before = parsed(base);
    before.next_hops.push_back({IpAddress::v4(198, 18, 2, 1), {}, MacAddress{{2}}, "lan0"});
    DesiredState after = before;
    const auto with = [](DesiredState state, std::vector<std::uint16_t> tags) {
        state.next_hops[0].vlan = std::move(tags);
        return state;
    };
    EXPECT_EQ(changes(before, with(after, {5})), "+ next_hop.198.18.2.1.vlan  [5]\n");
    EXPECT_EQ(changes(before, with(after, {})), "+ next_hop.198.18.2.1.vlan  []\n");
    EXPECT_EQ(changes(with(before, {}), with(after, {100, 5})), "~ next_hop.198.18.2.1.vlan  [] -> [100, 5]\n");
    EXPECT_EQ(changes(with(before, {5, 100}), with(after, {100, 5})),
              "~ next_hop.198.18.2.1.vlan  [5, 100] -> [100, 5]\n");
    EXPECT_EQ(changes(with(before, {5}), after), "- next_hop.198.18.2.1.vlan  [5]\n");
}

TEST(Changes, ShowWhatAModeTakes) {
    EXPECT_EQ(changes_of([](DesiredState& s) {
                  s.services[0].mode = ForwardingMode::vxlan;
                  s.services[0].tunnel.vni = 7;
                  s.services[0].mss = {Mss::Kind::fixed, 1200};
                  s.services[1].mss.kind = Mss::Kind::off;
                  s.services[1].dscp = 10;
              }),
              "~ service.web.mode  \"nat\" -> \"vxlan\"\n"
              "~ service.web.mss  \"auto\" -> 1200\n"
              "+ service.web.tunnel.vni  7\n"
              "~ service.dns.mss  \"auto\" -> \"off\"\n"
              "+ service.dns.dscp  10\n");
}

TEST(Changes, ListWhatCameAndWhatWent) {
    EXPECT_EQ(changes_of([](DesiredState& s) {
                  s.services[0].backends.push_back({IpAddress::v4(198, 18, 2, 15), 443});
                  s.services[0].backends.push_back({IpAddress::v4(198, 18, 2, 16), 0, 5, BackendState::drain});
                  s.services[1].backends.clear();
              }),
              "+ service.web.backend  198.18.2.15:443 weight 100\n"
              "+ service.web.backend  198.18.2.16 weight 5 state drain\n"
              "- service.dns.backend  198.18.3.9\n");
    EXPECT_EQ(changes_of([](DesiredState& s) {
                  s.services[0].vips[0].ports = Be16(8443);
                  s.node.source = {IpAddress::v4(198, 18, 1, 11)};
              }),
              "+ node.source  198.18.1.11\n"
              "+ service.web.vip  198.18.0.10:8443/tcp\n"
              "- service.web.vip  198.18.0.10:443/tcp\n");
    EXPECT_EQ(changes_of([](DesiredState& s) { s.services.erase(s.services.begin()); }), "- service  web\n");
    EXPECT_EQ(
        changes_of([](DesiredState& s) {
            s.services.push_back({.name = "new", .vips = {{IpAddress::v4(198, 18, 0, 9), Be16(1), Protocol::tcp}}});
            s.services.back().direct_access = true;
            s.services.back().backends.push_back({IpAddress::v4(198, 18, 2, 15)});
        }),
        "+ service  new 198.18.0.9:1/tcp\n"
        "~ service.new.direct_access  \"off\" -> \"on\"\n"
        "+ service.new.backend  198.18.2.15 weight 100\n");
    EXPECT_EQ(changes_of([](DesiredState& s) {
                  s.dataplane.ports[0].name = "lan1";
                  s.next_hops.push_back({IpAddress::v4(198, 18, 2, 1), {}, MacAddress{{2}}, "lan1"});
              }),
              "+ dataplane.port  lan1 { af_xdp = \"eth1\", queues = 1 }\n"
              "- dataplane.port  lan0\n"
              "+ next_hop  198.18.2.1 { mac = \"02:00:00:00:00:00\", port = \"lan1\" }\n");
}

TEST(Changes, TellTheOrderOfAListWhereThatIsAllThatDiffers) {
    DesiredState before = parsed(base);
    before.node.source = {IpAddress::v4(198, 18, 1, 1), IpAddress::v4(198, 18, 1, 2)};
    before.dataplane.ports.push_back({.name = "lan1", .kind = AfXdpPort{"eth2"}, .queues = 1});
    DesiredState after = before;
    std::ranges::reverse(after.node.source);
    std::ranges::reverse(after.dataplane.ports);
    EXPECT_EQ(changes(before, after),
              "~ node.source  [\"198.18.1.1\", \"198.18.1.2\"] -> [\"198.18.1.2\", \"198.18.1.1\"]\n"
              "~ dataplane.port  [\"lan0\", \"lan1\"] -> [\"lan1\", \"lan0\"]\n");
}

TEST(Changes, AreThereWheneverStatesDiffer) {
    Random random(9);
    for (int run = 0; run < 300; ++run) {
        const DesiredState one = test::random_state(random);
        DesiredState other = one;
        EXPECT_TRUE(changed_keys(one, other).empty());
        const DesiredState fresh = test::random_state(random);
        switch (random.below(6)) {
            case 0:
                other.node = fresh.node;
                break;
            case 1:
                other.dataplane = fresh.dataplane;
                break;
            case 2:
                other.next_hops = fresh.next_hops;
                break;
            case 3:
                other.services = fresh.services;
                break;
            case 4:
                other.announce_device = fresh.announce_device;
                break;
            default:
                other.api_socket = fresh.api_socket;
        }
        EXPECT_EQ(one == other, changed_keys(one, other).empty()) << to_toml(one) << "\n----\n" << to_toml(other);
    }
}

}  // namespace
}  // namespace shunt::config
