#include "src/config/toml.h"

#include <gtest/gtest.h>

#include "src/base/random.h"
#include "tests/support/config_states.h"

namespace shunt::config {
namespace {

DesiredState parsed(const std::string& text) {
    auto state = parse_toml(text, "shunt.toml");
    EXPECT_TRUE(state) << state.error().text() << "\n" << text;
    return state ? std::move(*state) : DesiredState{};
}

Error refused(const std::string& text) {
    const auto state = parse_toml(text, "shunt.toml");
    EXPECT_FALSE(state) << "accepted: " << text;
    return state ? Error{} : state.error();
}

// The error in a text, as people see it; the text begins with the lines every file has.
std::string sentence(const std::string& text) { return refused("version = 1\n" + text).text(); }
std::string in_service(const std::string& text) {
    return sentence("[[service]]\nname = \"web\"\nvip = [\"198.18.0.10:443/tcp\"]\n" + text);
}

constexpr const char* everything = R"(# all that this version knows
version = 1

[node]
name = "lb1"
hash_seed_file = "/etc/shunt/hash.seed"
source = ["198.18.1.11", "2001:db8:1::11"]

[dataplane]
workers = 2
idle = "sleep"
flows = 4_194_304
timeouts = { tcp_established = "2h", tcp_syn = "10s", tcp_fin = "30s", udp = "90s" }

[[dataplane.port]]
name = "lan0"
af_xdp = "eth1"
queues = 2
virtual_mac = ["00:00:5e:00:01:07"]

[[dataplane.port]]
name = "file0"
pcap = { in = "in.pcap", out = "out.pcap", punt = "punt.pcap" }
mac = "02:00:00:00:00:01"
mtu = 9000

[[dataplane.port]]
name = "tap0"
vdev = "net_tap0,iface=x"

[[next_hop]]
address = "198.18.2.11"
prefix = ["0.0.0.0/0", "::/0"]
mac = "02:00:00:00:02:0b"
port = "file0"
mtu = 1400
vlan = [100, 5]

[[next_hop]]
address = "198.18.2.12"
mac = "02:00:00:00:02:0c"
port = "file0"
vlan = []

[[service]]
name = "web"
vip = ["198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"]
mode = "nat"
scheduler = "maglev-bounded"
affinity = "source"
load_factor = 1.5
table_size = 65537
flows = "on"
direct_access = "on"
timeouts = { udp = "30s" }
on_no_backend = "drop"
backends_from = "file"

  [service.check]
  type = "http"
  path = "/healthz"
  host = "www.example.net"
  expect = { status = "200-299,301" }
  port = 8443
  interval = "2s"
  timeout = "700ms"
  rise = 3
  fall = 4
  via = "direct"

  [[service.backend]]
  address = "198.18.2.11"
  port = 8080
  weight = 50
  [[service.backend]]
  address = "2001:db8:2::21"
  state = "drain"

[[service]]
name = "dns"
vip = ["198.18.0.53:53/udp"]
flows = "off"
mode = "gre"
mss = 1200
tunnel = { port = 6081, vni = 16777215, key = 4294967295, inner_mac = "02:00:00:00:00:07" }
  [service.check]
  [[service.backend]]
  address = "198.18.3.9"
  state = "maint"

[[service]]
name = "old"
vip = []
mode = "l3dsr"
mss = "off"
dscp = 63

[api]
socket = "/run/shunt/other.sock"

[http]
listen = "[::1]:9480"

[ha]
track_files = { dataplane = "/run/ha/d", controlplane = "/run/ha/c" }
hold = "1500ms"

[sync]
group = "edge"
listen = "198.18.1.11:7400"
peers = ["198.18.1.12:7400", "198.18.1.13:7401"]
key_file = "/etc/shunt/sync.key"
flows = "all"
)";

DesiredState expected_everything() {
    const auto ip = [](const char* text) { return *IpAddress::parse(text); };
    const auto vip = [&](const char* address, std::uint16_t port, Protocol protocol) {
        return Vip{ip(address), Be16(port), protocol};
    };
    DesiredState s;
    s.node = {"lb1", "/etc/shunt/hash.seed", {ip("198.18.1.11"), ip("2001:db8:1::11")}};
    s.dataplane.workers = 2;
    s.dataplane.idle = Idle::sleep;
    s.dataplane.flows = 4'194'304;
    s.dataplane.timeouts = {Duration::seconds(7200), Duration::seconds(10), Duration::seconds(30),
                            Duration::seconds(90)};
    s.dataplane.ports.resize(3);
    s.dataplane.ports[0] = {.name = "lan0", .kind = AfXdpPort{"eth1"}, .queues = 2};
    s.dataplane.ports[0].virtual_mac = {MacAddress{{0, 0, 0x5e, 0, 1, 7}}};
    s.dataplane.ports[1] = {.name = "file0", .kind = CapturePort{"in.pcap", "out.pcap", "punt.pcap"}, .queues = 2};
    s.dataplane.ports[1].mac = MacAddress{{2, 0, 0, 0, 0, 1}};
    s.dataplane.ports[1].mtu = 9000;
    s.dataplane.ports[2] = {.name = "tap0", .kind = VdevPort{"net_tap0,iface=x"}, .queues = 2};
    s.next_hops = {{ip("198.18.2.11"),
                    {*Prefix::parse("0.0.0.0/0"), *Prefix::parse("::/0")},
                    MacAddress{{2, 0, 0, 0, 2, 0x0b}},
                    "file0",
                    1400,
                    std::vector<std::uint16_t>{100, 5}}};
    s.next_hops.push_back({ip("198.18.2.12"), {}, MacAddress{{2, 0, 0, 0, 2, 0x0c}}, "file0"});
    s.next_hops[1].vlan.emplace();
    Service web{.name = "web"};
    web.vips = {vip("198.18.0.10", 443, Protocol::tcp), vip("2001:db8::10", 443, Protocol::tcp)};
    web.scheduler = Scheduler::maglev_bounded;
    web.affinity = Affinity::source;
    web.load_factor = 150;
    web.table_size = 65537;
    web.direct_access = true;
    web.timeouts.udp = Duration::seconds(30);
    web.check = Check{.type = CheckType::http, .path = "/healthz", .host = "www.example.net"};
    web.check->status = {{200, 299}, {301, 301}};
    web.check->port = 8443;
    web.check->interval = Duration::seconds(2);
    web.check->timeout = Duration::milliseconds(700);
    web.check->rise = 3;
    web.check->fall = 4;
    web.backends = {{ip("198.18.2.11"), 8080, 50, BackendState::ready},
                    {ip("2001:db8:2::21"), 0, 100, BackendState::drain}};
    Service dns{.name = "dns"};
    dns.vips = {vip("198.18.0.53", 53, Protocol::udp)};
    dns.flows = false;
    dns.check.emplace();
    dns.backends = {{ip("198.18.3.9"), 0, 100, BackendState::maint}};
    dns.mode = ForwardingMode::gre;
    dns.mss = {Mss::Kind::fixed, 1200};
    dns.tunnel = {6081, 16777215, 4294967295, MacAddress{{2, 0, 0, 0, 0, 7}}};
    Service old{.name = "old", .mode = ForwardingMode::l3dsr};
    old.mss.kind = Mss::Kind::off;
    old.dscp = 63;
    s.services = {web, dns, old};
    s.api_socket = "/run/shunt/other.sock";
    s.http_listen = {ip("::1"), 9480};
    s.ha = Ha{{"/run/ha/d", "/run/ha/c"}, Duration::milliseconds(1500)};
    s.sync = Sync{"edge",
                  {ip("198.18.1.11"), 7400},
                  {{ip("198.18.1.12"), 7400}, {ip("198.18.1.13"), 7401}},
                  "/etc/shunt/sync.key",
                  SyncFlows::all};
    return s;
}

TEST(Toml, ReadsEveryKey) { EXPECT_EQ(parsed(everything), expected_everything()); }

TEST(Toml, LeavesDefaultsWhereNothingIsSaid) {
    DesiredState expected;
    EXPECT_EQ(parsed("version = 1"), expected);
    EXPECT_EQ(expected.dataplane.flows, 1'048'576U);
    EXPECT_EQ(expected.dataplane.workers, 1);
    const DesiredState state = parsed(
        "version = 1\n[[service]]\nname = \"web\"\nvip = []\n[service.check]\n[[service.backend]]\naddress = \"::1\"");
    const Service& service = state.services.at(0);
    EXPECT_EQ(service.mode, ForwardingMode::nat);
    EXPECT_EQ(service.mss, Mss{});
    EXPECT_FALSE(service.dscp);
    EXPECT_EQ(service.tunnel, Tunnel{});
    EXPECT_TRUE(service.flows);
    EXPECT_FALSE(service.direct_access);
    EXPECT_FALSE(service.table_size);
    EXPECT_EQ(service.check, Check{});
    EXPECT_EQ(service.check->interval, Duration::seconds(1));
    EXPECT_EQ(service.check->timeout, Duration::milliseconds(800));
    EXPECT_EQ(service.backends.at(0).weight, 100U);
}

TEST(Toml, CoresStandForWorkers) {
    const Dataplane dataplane = parsed(
                                    "version = 1\n[dataplane]\ncores = \"2-3,8\"\n"
                                    "[[dataplane.port]]\nname = \"lan0\"\naf_xdp = \"eth1\"")
                                    .dataplane;
    EXPECT_EQ(dataplane.cores, (std::vector<std::uint16_t>{2, 3, 8}));
    EXPECT_EQ(dataplane.workers, 3);
    EXPECT_EQ(dataplane.ports.at(0).queues, 3);
}

TEST(Toml, WhatIsWrittenReadsTheSame) {
    EXPECT_EQ(parsed(to_toml(expected_everything())), expected_everything());
    EXPECT_EQ(parsed(to_toml(DesiredState{})), DesiredState{});
    Random random(7);
    for (int run = 0; run < 500; ++run) {
        const DesiredState state = test::random_state(random);
        ASSERT_EQ(parsed(to_toml(state)), state) << to_toml(state);
    }
}

TEST(Toml, WritesLongListsOnSeveralLines) {
    DesiredState state;
    state.services.push_back({.name = "many"});
    for (std::uint16_t port = 1; port <= 2000; ++port) {
        state.services[0].vips.push_back({*IpAddress::parse("2001:db8::10"), Be16(port), Protocol::tcp});
    }
    EXPECT_EQ(parsed(to_toml(state)), state);
}

TEST(Toml, SaysWhereAndWhatToDo) {
    EXPECT_EQ(in_service("[[service.backend]]\naddress = \"198.18.2.11\"\nweight = 1001\n"),
              "shunt.toml:7:10: weight: 1001 is out of range; use 0 to 1000");
    const Error error =
        refused("version = 1\n[[service]]\nname = \"web\"\nvip = []\n  [service.check]\n  interval = 5");
    EXPECT_EQ(error.file, "shunt.toml");
    EXPECT_EQ(error.line, 6U);
    EXPECT_EQ(error.column, 14U);
    EXPECT_EQ(error.key, "service.web.check.interval");
    EXPECT_EQ(error.pointer, "/service/0/check/interval");
    EXPECT_EQ(error.message, "interval: a number stands where text belongs");
    EXPECT_EQ(refused("version = 1\n[[service]]\nname = \"web\"\nvip = []\n"
                      "[[service.backend]]\naddress = \"198.18.2.11\"\nport = 8080\nweight = -1\n")
                  .key,
              "service.web.backend.198.18.2.11:8080.weight");
}

TEST(Toml, NamesTheNearestKnownKey) {
    EXPECT_EQ(in_service("[[service.backend]]\naddress = \"198.18.2.11\"\n wieght = 5"),
              "shunt.toml:7:2: unknown key \"wieght\"; did you mean \"weight\"?");
    EXPECT_EQ(in_service("shceduler = \"maglev\""),
              "shunt.toml:5:1: unknown key \"shceduler\"; did you mean \"scheduler\"?");
    EXPECT_EQ(sentence("[[servce]]\nname = \"web\""),
              "shunt.toml:2:3: unknown key \"servce\"; did you mean \"service\"?");
    EXPECT_EQ(sentence("[[service]]\nnmae = \"web\""), "shunt.toml:3:1: unknown key \"nmae\"; did you mean \"name\"?");
    EXPECT_EQ(sentence("[service.chekc]"),
              "shunt.toml:2:1: service: a list belongs here; in a file write [[…]] where you wrote […]");
    EXPECT_EQ(in_service("wieght = 5"),
              "shunt.toml:5:1: unknown key \"wieght\"; the nearest key known here is \"vip\"");
    EXPECT_EQ(in_service("timeouts = { upd = \"1s\" }"), "shunt.toml:5:14: unknown key \"upd\"; did you mean \"udp\"?");
}

TEST(Toml, RefusesWhatIsMissing) {
    EXPECT_EQ(refused("").text(), "shunt.toml:1:1: \"version\" is missing; add it");
    EXPECT_EQ(sentence("[[service]]\nname = \"web\"\n"), "shunt.toml:2:1: \"vip\" is missing; add it");
    EXPECT_EQ(in_service("[[service.backend]]\nweight = 1"), "shunt.toml:5:1: \"address\" is missing; add it");
    EXPECT_EQ(sentence("[[dataplane.port]]\nname = \"lan0\""), "shunt.toml:2:1: \"af_xdp\" is missing; add it");
}

TEST(Toml, RefusesAnotherVersion) {
    EXPECT_EQ(refused("version = 2").text(), "shunt.toml:1:11: version: 2 is out of range; use 1");
}

TEST(Toml, RefusesDuplicates) {
    EXPECT_EQ(refused("version = 1\n[node]\nname = \"a\"\nname = \"b\"").line, 4U);
    for (const char* text :
         {"[node]\nname = \"a\"\nname = \"b\"", "[node]\n[node]", "node = { name = \"a\", name = \"b\" }"}) {
        EXPECT_NE(sentence(text).find(": duplicate key, in "), std::string::npos) << sentence(text);
    }
}

TEST(Toml, RefusesFeaturesThatAreNotBuilt) {
    for (const char* line : {"panic_threshold = \"0%\"", "slow_start = \"30s\"", "[service.outlier]\nwindow = \"10s\"",
                             "mode = \"full-nat\"", "on_no_backend = \"reset\"", "sorry = \"198.18.0.1:80\"",
                             "backends_from = \"api\"", "[service.check]\ntype = \"https\"",
                             "[service.check]\nvia = \"datapath\"", "[service.check]\nquery = { name = \"x\" }",
                             "[service.check]\ntype=\"http\"\nexpect = { body_regex = \"ok\" }"}) {
        EXPECT_NE(in_service(line).find("not available in this version; "), std::string::npos) << in_service(line);
    }
    for (const char* text : {"[node]\nnat_pool = [\"198.18.1.64/28\"]", "[dataplane]\nidle = \"interrupt\"",
                             "[[dataplane.port]]\nname = \"a\"\npci = \"0000:3b:00.0\""}) {
        EXPECT_NE(sentence(text).find("not available in this version; "), std::string::npos) << sentence(text);
    }
}

const std::vector<std::pair<const char*, const char*>> wrong_in_service{
    {"quorum", "2"},
    {"quorum", "{ up = -1 }"},
    {"quorum", "{ up = 65535 }"},
    {"quorum", "{ down = 1 }"},
    {"vip", "\"198.18.0.10:443/tcp\""},
    {"vip", "[\"198.18.0.10:443\"]"},
    {"vip", "[\"198.18.0.10:443/icmp\"]"},
    {"vip", "[\"198.18.0.10:0-5/tcp\"]"},
    {"vip", "[\"198.18.0.10:9-8/tcp\"]"},
    {"vip", "[\"198.18.0.10:8-/tcp\"]"},
    {"vip", "[\"198.18.0.10:-8/tcp\"]"},
    {"vip", "[\"198.18.0.10:1-65536/tcp\"]"},
    {"vip", "[\"198.18.0.10:*-8/tcp\"]"},
    {"vip", "[\"2001:db8::10:*/tcp\"]"},
    {"vip", "[\"[198.18.0.10]:*/tcp\"]"},
    {"vip", "[\"2001:db8::10:443/tcp\"]"},
    {"vip", "[\"198.18.0.10/tcp\"]"},
    {"vip", "[\"198.18.0.10:70000/tcp\"]"},
    {"vip", "[\"www.example.net:443/tcp\"]"},
    {"vip", "[443]"},
    {"vip", "[[\"198.18.0.10:443/tcp\"]]"},
    {"vip", "[\"\"]"},
    {"vip", "[\"/tcp\"]"},
    {"table_size", "\"65537\""},
    {"table_size", "1e3"},
    {"table_size", "655374"},
    {"table_size", "1"},
    {"table_size", "-7"},
    {"flows", "true"},
    {"flows", "\"yes\""},
    {"direct_access", "1"},
    {"timeouts", "{ udp = \"999ms\" }"},
    {"timeouts", "{ udp = \"8d\" }"},
    {"timeouts", "{ udp = 30 }"},
    {"timeouts", "\"30s\""},
    {"timeouts", "{ udp = \"30 s\" }"},
    {"timeouts", "{ udp = \"-30s\" }"},
    {"timeouts", "{ udp = \"99999999999d\" }"},
    {"mode", "\"nta\""},
    {"mode", "1"},
    {"mode", "\"full-nat\""},
    {"scheduler", "\"rr\""},
    {"scheduler", "1"},
    {"scheduler", "\"none\""},
    {"affinity", "\"destination\""},
    {"affinity", "true"},
    {"load_factor", "1.0"},
    {"load_factor", "1"},
    {"load_factor", "10.01"},
    {"load_factor", "-2"},
    {"load_factor", "1.255"},
    {"load_factor", "nan"},
    {"load_factor", "inf"},
    {"load_factor", "\"1.25\""},
    {"mss", "63"},
    {"mss", "65001"},
    {"mss", "\"on\""},
    {"mss", "true"},
    {"dscp", "0"},
    {"dscp", "64"},
    {"dscp", "\"10\""},
    {"tunnel", "{ port = 0 }"},
    {"tunnel", "{ vni = 16777216 }"},
    {"tunnel", "{ key = 4294967296 }"},
    {"tunnel", "{ inner_mac = \"01:00:5e:00:00:01\" }"},
    {"tunnel", "{ inner_mac = \"02:00:00:00:00\" }"},
    {"tunnel", "6080"},
    {"check", "{ type = \"tcpp\" }"},
    {"check", "{ path = \"/\", host = \"x y\" }"},
    {"check", "{ type = \"http\", path = \"healthz\" }"},
    {"check", "{ type = \"http\", path = \"/a\\r\\nHost: b\" }"},
    {"check", "{ type = \"http\", path = \"/a b\" }"},
    {"check", "{ type = \"tcp\", path = \"/healthz\" }"},
    {"check", "{ type = \"http\", expect = { status = \"600\" } }"},
    {"check", "{ type = \"http\", expect = { status = \"299-200\" } }"},
    {"check", "{ type = \"http\", expect = { status = \"\" } }"},
    {"check", "{ port = 0 }"},
    {"check", "{ rise = 0 }"},
    {"check", "{ interval = \"1ms\" }"},
    {"backend", "[{ address = \"198.18.2.11:80\" }]"},
    {"backend", "[{ address = \"198.18.2\" }]"},
    {"backend", "[{ address = \"::ffff:198.18.2.1\" }]"},
    {"backend", "[{ address = \"198.18.2.1\", port = 65536 }]"},
    {"backend", "[{ address = \"198.18.2.1\", state = \"down\" }]"},
    {"backend", "[{ address = \"198.18.2.1\", weight = 1.5 }]"},
    {"backend", "[1]"},
};
const std::vector<const char*> wrong_elsewhere{
    "version = 1 2", "version", "= 1", "version = ", "a = \"\\q\"", "a = \"", "[[a]", "a = [1,,2]"};

TEST(Toml, RefusesWrongValues) {
    for (const auto& [key, value] : wrong_in_service) {
        const std::string vip = std::string(key) == "vip" ? "" : "vip = [\"198.18.0.10:443/tcp\"]\n";
        const Error error = refused("version = 1\n[[service]]\nname = \"web\"\n" + vip + key + " = " + value);
        EXPECT_EQ(error.line, vip.empty() ? 4U : 5U) << value;
        EXPECT_GT(error.column, 3U) << value;
        EXPECT_FALSE(error.remedy.empty()) << value;
        EXPECT_TRUE(error.key.starts_with("service.web." + std::string(key))) << error.key;
    }
    for (const char* text : {"[node]\nname = \"../../etc\"",
                             "[node]\nname = \"\"",
                             "[node]\nsource = [\"198.18.1.0/24\"]",
                             "[node]\nhash_seed_file = \"a\\u0000b\"",
                             "[dataplane]\nworkers = 0",
                             "[dataplane]\nworkers = 65",
                             "[dataplane]\ncores = \"3-2\"",
                             "[dataplane]\ncores = \"2,2\"",
                             "[dataplane]\ncores = \"0-4095\"",
                             "[dataplane]\nworkers = 3\ncores = \"2-3\"",
                             "[dataplane]\nflows = 0",
                             "node = 5",
                             "[http]\nlisten = \"127.0.0.1\"",
                             "[http]\nlisten = \"127.0.0.1:0\"",
                             "[http]\nlisten = \"localhost:9480\"",
                             "[http]\nlisten = 9480",
                             "[ha]\nhold = \"50ms\"",
                             "[ha]\nhold = \"2h\"",
                             "[ha]\ntrack_files = { dataplane = \"ha.dataplane\" }",
                             "[ha]\ntrack_files = { dataplane = \"/run/shunt/\" }",
                             "[ha]\ntrack_files = { controlplane = 1 }",
                             "[ha]\ntrack_file = \"/run/x\"",
                             "[sync]\nlisten = \"198.18.1.11:1\"\npeers = [\"198.18.1.12:1\"]",
                             "[sync]\nlisten = \"198.18.1.11:1\"\nkey_file = \"/k\"",
                             "[sync]\npeers = [\"198.18.1.12:1\"]\nkey_file = \"/k\"",
                             "[sync]\nlisten = \"198.18.1.11\"\npeers = [\"198.18.1.12:1\"]\nkey_file = \"/k\"",
                             "[sync]\nlisten = \"198.18.1.11:1\"\npeers = [\"lb2:1\"]\nkey_file = \"/k\"",
                             "[sync]\nlisten = \"198.18.1.11:1\"\npeers = [\"198.18.1.12:1\"]\nkey_file = \"k\"",
                             "[[dataplane.port]]\nname = \"a\"\naf_xdp = \"x\"\nvdev = \"y\"",
                             "[[dataplane.port]]\nname = \"a\"\naf_xdp = \"far/too\"",
                             "[[dataplane.port]]\nname = \"a\"\naf_xdp = \"interface-too-long\"",
                             "[[dataplane.port]]\nname = \"a\"\naf_xdp = \"x\"\nmtu = 9000",
                             "[[dataplane.port]]\nname = \"a\"\naf_xdp = \"x\"\nmac = \"02:00:00:00:00:01\"",
                             "[[dataplane.port]]\nname = \"a\"\nvdev = \"x\"\nxdp = \"generic\"",
                             "[[dataplane.port]]\nname = \"a\"\naf_xdp = \"x\"\nvirtual_mac = [\"01:00:5e:00:00:01\"]",
                             "[[next_hop]]\naddress = \"198.18.2.11\"\nport = \"a\"\nmac = \"00:00:00:00:00:00\"",
                             "[[next_hop]]\naddress = \"198.18.2.11\"\nvlan = [0]",
                             "[[next_hop]]\naddress = \"198.18.2.11\"\nvlan = [4095]",
                             "[[next_hop]]\naddress = \"198.18.2.11\"\nvlan = 5",
                             "[[next_hop]]\naddress = \"198.18.2.11\"\nvlan = [1, 2, 3]",
                             "[[next_hop]]\naddress = \"198.18.2.11\"\nport = \"a\"\nmac = "
                             "\"02:00:00:00:00:01\"\nprefix = [\"198.18.2.1/24\"]"}) {
        const Error error = refused(std::string("version = 1\n") + text);
        EXPECT_GE(error.line, 2U) << error.text();
        EXPECT_FALSE(error.remedy.empty()) << error.text();
    }
}

TEST(Toml, RefusesWhatIsNoToml) {
    EXPECT_EQ(sentence("[node\n").substr(0, 31), "shunt.toml:2:6: not valid TOML,");
    for (const char* text : wrong_elsewhere) {
        EXPECT_GE(refused(text).line, 1U);
        EXPECT_NE(refused(text).message.find("not valid TOML"), std::string::npos) << refused(text).text();
    }
    for (const char* text : {"[[[a]]]", " [[=", "[[]]", "[[\n", "[[ ]]"}) {
        EXPECT_EQ(sentence(text).substr(0, 13), "shunt.toml:2:") << text;
    }
    EXPECT_GE(refused(std::string("a = 1\n\0b = 2", 12)).line, 1U);
    EXPECT_GE(refused("a = \"\xff\xfe\"").line, 1U);
}

TEST(Toml, RefusesWhatTheParserDoesNotSurvive) {
    const std::string section = "\xc2\xa7";
    EXPECT_EQ(sentence("x = \"a\" " + section),
              "shunt.toml:2:9: a character beyond ASCII stands outside quotes; remove it, or put the text into quotes");
    EXPECT_EQ(sentence("x = 0x7f\"" + section + "\""),
              "shunt.toml:2:9: a quote stands in the middle of a word; remove it, or put the whole into quotes");
    EXPECT_EQ(sentence("x = 1 # \v" + section),
              "shunt.toml:2:9: a control character; remove it; in a quoted string write it as an escape");
    for (const std::string& text : {"\"\"\"\\\n" + section + "\"\"\"", std::string("'''a'''")}) {
        EXPECT_EQ(sentence("x = " + text),
                  "shunt.toml:2:5: strings of several lines are not read here; write the text on one line");
    }
    EXPECT_EQ(parsed("\xef\xbb\xbfversion = 1 # " + section + "\nnode = { hash_seed_file = \"" + section + "\\\"\" }")
                  .node.hash_seed_file,
              section + "\"");
    EXPECT_EQ(parsed("version = 1\r\nnode = { hash_seed_file = '" + section + "\\' } # '").node.hash_seed_file,
              section + "\\");
}

TEST(Toml, BoundsSizeAndNesting) {
    const auto repeated = [](const char* piece, std::size_t times) {
        std::string text;
        for (std::size_t i = 0; i < times; ++i) text += piece;
        return text;
    };
    EXPECT_EQ(refused(std::string(max_toml_bytes + 1, '\n')).message, "it is larger than 32 MiB");
    for (const std::string& text : {repeated("a.", 1'000'000) + "a = 1", "[" + repeated("a . ", 33) + "a]",
                                    "x = 1.2 # .....\n" + repeated("'a'.", 33) + "a = 1"}) {
        EXPECT_EQ(refused(text).message, "the key is nested too deep");
    }
    EXPECT_EQ(refused(repeated("a.", 32) + "a = 1").message.substr(0, 25), "a: it is nested too deep");
    const std::string dots = repeated(".", 100);
    EXPECT_EQ(parsed("version = 1 # " + dots + "\n[node]\nhash_seed_file = '" + dots + "'").node.hash_seed_file, dots);
    EXPECT_GE(refused("x = " + repeated("[\n", 1'000'000)).line, 1U);
    EXPECT_GE(refused("x = " + repeated("{ x = ", 600)).line, 1U);
    const std::string deepest = repeated(("{ " + repeated("a.", 30) + "a = [\n").c_str(), 7);
    EXPECT_GE(refused("x = " + deepest).line, 1U);
}

}  // namespace
}  // namespace shunt::config
