// The instances that scripts are played on: those of golden packets, so that golden packets are seeds, and one more.
#pragma once

#include <string>
#include <vector>

#include "tests/support/golden.h"

namespace shunt::test {

struct FuzzSetup {
    std::string name;
    std::string toml;
    std::vector<controlplane::RouteView> routes{};  // of the kernel
};

// Several backends, checks, backends that services share; IPv4 backends and some clients are neighbours, some clients
// are nowhere.
inline constexpr const char* shared_backends = R"(version = 1
[node]
source = ["198.18.1.2", "2001:db8:1::2"]
[[dataplane.port]]
name = "lan0"
pcap = { in = "unused" }
mac = "02:00:00:00:00:02"
[[next_hop]]
address = "198.18.1.1"
mac = "02:00:00:00:00:fe"
port = "lan0"
prefix = ["203.0.113.0/25"]
[[next_hop]]
address = "2001:db8:1::1"
mac = "02:00:00:00:00:fe"
port = "lan0"
prefix = ["2001:db8:cafe::/48", "2001:db8:2::/48"]
[[service]]
name = "web"
vip = ["198.18.0.10:443/tcp", "198.18.0.10:443/udp", "[2001:db8::10]:443/tcp", "[2001:db8::10]:443/udp"]
timeouts = { tcp_established = "60s", tcp_syn = "10s", tcp_fin = "30s", udp = "20s" }
table_size = 17
[service.check]
[[service.backend]]
address = "198.18.2.11"
port = 8080
[[service.backend]]
address = "198.18.2.12"
port = 8080
[[service.backend]]
address = "2001:db8:2::11"
port = 8080
[[service.backend]]
address = "2001:db8:2::12"
port = 8080
[[service]]
name = "again"
vip = ["198.18.0.11:443/tcp", "[2001:db8::11]:443/tcp"]
direct_access = "on"
table_size = 17
[service.check]
[[service.backend]]
address = "198.18.2.11"
port = 8080
[[service.backend]]
address = "198.18.2.13"
port = 8081
[[service.backend]]
address = "2001:db8:2::11"
port = 8080
[[service]]
name = "dns"
vip = ["198.18.0.53:53/udp"]
flows = "off"
table_size = 17
[service.check]
[[service.backend]]
address = "198.18.2.53"
[[service.backend]]
address = "198.18.2.54"
[[service]]
name = "tunnel"
vip = ["198.18.0.40:443/tcp", "[2001:db8::40]:443/udp"]
mode = "ipip"
table_size = 17
[service.check]
[[service.backend]]
address = "198.18.2.40"
[[service.backend]]
address = "2001:db8:2::40"
[[service]]
name = "link"
vip = ["198.18.0.20:443/tcp"]
mode = "direct"
table_size = 17
[[service.backend]]
address = "198.18.2.20"
)";

inline std::vector<FuzzSetup> fuzz_setups() {
    std::vector<FuzzSetup> setups;
    const GoldenFile nat = read_golden("nat");
    for (const char* name : {"plain", "without a source of its own", "without flows"})
        setups.push_back({name, nat.setups.at(name), {}});
    const GoldenFile mtu = read_golden("mtu");
    for (const char* name : {"narrow", "mss"}) setups.push_back({name, mtu.setups.at(name), {}});
    const GoldenFile vlan = read_golden("vlan");
    for (const char* name : {"two tags are set", "tags are removed"})
        setups.push_back({name, vlan.setups.at(name), {}});
    setups.push_back({"shared backends", shared_backends, {}});
    for (const char* prefix : {"198.18.2.0/24", "203.0.113.128/25"}) {
        setups.back().routes.push_back({.prefix = *Prefix::parse(prefix), .port = PortIndex(0), .gateway = {}});
    }
    // Small tables are quicker to build.
    for (FuzzSetup& setup : setups) {
        const std::string large = "table_size = 1021";
        for (auto at = setup.toml.find(large); at != std::string::npos; at = setup.toml.find(large, at)) {
            setup.toml.replace(at, large.size(), "table_size = 17");
        }
    }
    return setups;
}

}  // namespace shunt::test
