#include "src/config/validate.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "src/config/toml.h"

namespace shunt::config {
namespace {

struct Judged {
    std::vector<std::string> errors{};
    std::vector<std::string> warnings{};
};

// What is found in a text, as people see it.
Judged judged(const std::string& text) {
    Positions positions;
    const auto state = parse_toml("version = 1\n" + text, "f", &positions);
    EXPECT_TRUE(state) << state.error().text();
    Judged result;
    if (!state) return result;
    const Findings findings = examine(*state, positions);
    for (const Error& error : findings.errors) {
        result.errors.push_back(error.text());
        EXPECT_FALSE(error.remedy.empty());
        EXPECT_FALSE(error.key.empty());
    }
    for (const Error& warning : findings.warnings) result.warnings.push_back(warning.text());
    const Status status = validate(*state, positions);
    EXPECT_EQ(status ? "" : status.error().text(), result.errors.empty() ? "" : result.errors.front());
    return result;
}

// The only error in a text, without its remedy.
std::string error_in(const std::string& text) {
    const Judged found = judged(text);
    EXPECT_EQ(found.errors.size(), 1U) << text;
    return found.errors.empty() ? "" : found.errors[0].substr(0, found.errors[0].find("; "));
}
std::string warning_in(const std::string& text) {
    const Judged found = judged(text);
    EXPECT_TRUE(found.errors.empty()) << found.errors.front();
    EXPECT_EQ(found.warnings.size(), 1U) << text;
    return found.warnings.empty() ? "" : found.warnings[0].substr(0, found.warnings[0].find("; "));
}

std::string service(const std::string& name, const std::string& vips, const std::string& rest = {}) {
    return "[[service]]\nname = \"" + name + "\"\nvip = [" + vips + "]\n" + rest + "\n";
}
std::string backend(const std::string& address, const std::string& rest = {}) {
    return "[[service.backend]]\naddress = \"" + address + "\"\n" + rest + "\n";
}
constexpr const char* web_vip = "\"198.18.0.10:443/tcp\"";
constexpr const char* dns_vip = "\"198.18.0.53:53/udp\"";

TEST(Validate, FindsNothingInASoundState) {
    const Judged found = judged(
        "[node]\nsource = [\"198.18.1.11\"]\n[dataplane]\nworkers = 2\n"
        "[[dataplane.port]]\nname = \"lan0\"\naf_xdp = \"eth1\"\n[[dataplane.port]]\nname = \"lan1\"\naf_xdp = "
        "\"eth2\"\n"
        "[[next_hop]]\naddress = \"fe80::1\"\nport = \"lan0\"\nmac = \"02:00:00:00:00:01\"\nprefix = [\"::/0\"]\n" +
        service("web", "\"198.18.0.10:443/tcp\", \"[2001:db8::10]:443/tcp\"", "table_size = 1021\n[service.check]") +
        backend("198.18.2.11") + backend("2001:db8:2::21") +
        service("live", "\"198.18.0.10:8080/tcp\", \"198.18.0.10:8080/udp\"") + backend("198.18.2.11") +
        service("dns", dns_vip, "flows = \"off\"") + backend("198.18.2.11"));
    EXPECT_TRUE(found.errors.empty()) << found.errors.front();
    EXPECT_TRUE(found.warnings.empty()) << found.warnings.front();
}

TEST(Validate, NamesAndVipsAreUnique) {
    EXPECT_EQ(error_in(service("web", web_vip) + service("web", dns_vip)), "f:7:8: two services are named \"web\"");
    EXPECT_EQ(error_in(service("web", web_vip) + service("web2", std::string(dns_vip) + ",\n" + web_vip)),
              "f:9:1: the VIP 198.18.0.10:443/tcp belongs to service \"web\" already");
    EXPECT_EQ(error_in(service("web", std::string(web_vip) + ", " + web_vip)),
              "f:4:31: the VIP 198.18.0.10:443/tcp is there twice");
    EXPECT_EQ(error_in(service("web", "")), "f:4:7: service \"web\" has no VIP");
}

TEST(Validate, TableSizesArePrimeAndLargeEnough) {
    EXPECT_EQ(error_in(service("web", web_vip, "table_size = 65536")),
              "f:5:14: service \"web\": table_size 65536 is not prime");
    EXPECT_EQ(error_in(service("web", web_vip, "table_size = 2") + backend("198.18.2.1") + backend("198.18.2.2") +
                       backend("198.18.2.3")),
              "f:5:14: service \"web\": table_size 2 is less than the number of backends, 3");
    EXPECT_EQ(
        warning_in(service("web", web_vip, "table_size = 199") + backend("198.18.2.1") + backend("198.18.2.2")),
        "f:5:14: service \"web\": table_size 199 is less than 100 times the number of backends, 2: shares will be "
        "uneven");
    EXPECT_TRUE(judged(service("web", web_vip, "table_size = 7")).warnings.empty());
}

TEST(Validate, BackendsCanBeReachedFromAVip) {
    EXPECT_EQ(error_in(service("web", web_vip) + backend("2001:db8:2::21")),
              "f:7:11: no VIP of service \"web\" can use 2001:db8:2::21: none is IPv6");
    EXPECT_EQ(error_in(service("web", "\"[2001:db8::10]:443/tcp\"") + backend("198.18.2.11", "port = 80")),
              "f:7:11: no VIP of service \"web\" can use 198.18.2.11:80: none is IPv4");
}

TEST(Validate, BackendsAreInAServiceOnce) {
    EXPECT_EQ(error_in(service("web", web_vip) + backend("198.18.2.11") + backend("198.18.2.11")),
              "f:9:1: the backend 198.18.2.11:443/tcp is in service \"web\" twice");
    EXPECT_EQ(error_in(service("web", web_vip) + backend("198.18.2.11", "port = 443") + backend("198.18.2.11")),
              "f:9:1: the backend 198.18.2.11:443/tcp is in service \"web\" twice");
    EXPECT_TRUE(
        judged(service("web", web_vip) + backend("198.18.2.11", "port = 80") + backend("198.18.2.11")).errors.empty());
}

TEST(Validate, EndpointsWithoutFlowsBelongToOneService) {
    const std::string off = service("dns", dns_vip, "flows = \"off\"") + backend("198.18.2.11");
    const std::string also = "\"198.18.0.54:53/udp\"";
    EXPECT_EQ(
        error_in(off + service("dns2", also) + backend("198.18.2.11")),
        "f:13:1: the backend 198.18.2.11:53/udp is in services \"dns\" and \"dns2\", and \"dns\" has flows = \"off\": "
        "nobody could tell whose its replies are");
    EXPECT_EQ(error_in(service("dns2", also) + backend("198.18.2.11") + off).substr(0, 76),
              "f:13:1: the backend 198.18.2.11:53/udp is in services \"dns2\" and \"dns\", and ");
    EXPECT_TRUE(judged(off + service("dns2", also) + backend("198.18.2.11", "port = 54")).errors.empty());
    EXPECT_TRUE(judged(off + service("tcp", "\"198.18.0.53:53/tcp\"") + backend("198.18.2.11")).errors.empty());
    EXPECT_EQ(error_in(service("web", web_vip, "flows = \"off\"")),
              "f:4:8: flows = \"off\" is for services of single packets, but 198.18.0.10:443/tcp is tcp");
}

TEST(Validate, WarnsOfBackendsBehindSeveralVips) {
    const std::string two = service("a", "\"198.18.0.10:443/tcp\"") + backend("198.18.2.11") + backend("198.18.2.12") +
                            service("b", "\"198.18.0.11:443/tcp\"") + backend("198.18.2.11") + backend("198.18.2.12");
    EXPECT_EQ(warning_in(two),
              "f:6:1: the backend 198.18.2.11:443/tcp and 1 more is behind 2 VIPs (198.18.0.10:443/tcp, "
              "198.18.0.11:443/tcp): two connections from one client port would be one at the backend");
    std::string vips;
    for (int i = 1; i <= 9; ++i) vips += "\"198.18.0." + std::to_string(i) + ":443/tcp\",";
    const std::string nine = warning_in(service("a", vips) + backend("198.18.2.11"));
    EXPECT_NE(nine.find("is behind 9 VIPs (198.18.0.1:443/tcp, 198.18.0.2:443/tcp, …)"), std::string::npos) << nine;
    EXPECT_NE(nine.find("are derived for the first 8 of them only"), std::string::npos) << nine;
    // A port of the backend's own, behind two ports of the VIP.
    EXPECT_EQ(
        judged(service("a", "\"198.18.0.10:443/tcp\", \"198.18.0.10:80/tcp\"") + backend("198.18.2.11", "port = 80"))
            .warnings.size(),
        1U);
    EXPECT_TRUE(judged(service("a", "\"198.18.0.10:443/tcp\", \"198.18.0.10:80/tcp\"") + backend("198.18.2.11"))
                    .warnings.empty());
}

TEST(Validate, RangesOfOneAddressDoNotOverlap) {
    const auto two = [](const std::string& one, const std::string& other) {
        return service("a", '"' + one + '"') + service("b", '"' + other + '"');
    };
    const std::string range = "198.18.0.10:8000-8999/udp";
    EXPECT_EQ(error_in(two(range, "198.18.0.10:8999-9100/udp")),
              "f:8:8: the VIP 198.18.0.10:8999-9100/udp overlaps 198.18.0.10:8000-8999/udp of service \"a\"");
    EXPECT_EQ(error_in(two("198.18.0.10:8999-9100/udp", range)),
              "f:8:8: the VIP 198.18.0.10:8000-8999/udp overlaps 198.18.0.10:8999-9100/udp of service \"a\"");
    EXPECT_EQ(error_in(two("198.18.0.10:1-65535/udp", "198.18.0.10:53-54/udp")),
              "f:8:8: the VIP 198.18.0.10:53-54/udp overlaps 198.18.0.10:1-65535/udp of service \"a\"");
    EXPECT_EQ(error_in(service("a", '"' + range + "\", \"198.18.0.10:8000-8001/udp\"")),
              "f:4:37: the VIP 198.18.0.10:8000-8001/udp overlaps 198.18.0.10:8000-8999/udp of the same service");
    EXPECT_EQ(error_in(two(range, range)), "f:8:8: the VIP 198.18.0.10:8000-8999/udp belongs to service \"a\" already");
    EXPECT_EQ(error_in(two("198.18.0.10:*/udp", "198.18.0.10:0/udp")),
              "f:8:8: the VIP 198.18.0.10:*/udp belongs to service \"a\" already");
    // The most specific wins; beside it there is room for another.
    for (const char* fits : {"198.18.0.10:8500/udp", "198.18.0.10:*/udp", "198.18.0.10:9000-9100/udp",
                             "198.18.0.10:8000-8999/tcp", "198.18.0.11:8000-8999/udp"}) {
        const Judged found = judged(two(range, fits));
        EXPECT_TRUE(found.errors.empty() && found.warnings.empty()) << fits;
    }
}

TEST(Validate, AWholeAddressIsWarnedOfOnce) {
    EXPECT_EQ(warning_in(service("a", "\"198.18.0.10:*/tcp\"")),
              "f:4:8: 198.18.0.10:*/tcp take every TCP port of the address that has no service of its own, that of ssh "
              "included");
    const std::string two = warning_in(service("a", "\"198.18.0.10:*/tcp\", \"198.18.0.11:*/tcp\""));
    EXPECT_NE(two.find("198.18.0.10:*/tcp and 1 more take"), std::string::npos) << two;
    EXPECT_TRUE(judged(service("a", "\"198.18.0.10:*/udp\"")).warnings.empty());
    EXPECT_EQ(error_in("[node]\nsource = [\"198.18.0.10\"]\n" + service("a", "\"198.18.0.10:*/udp\"")),
              "f:6:8: 198.18.0.10:*/udp would take the answers to this node's own connections: 198.18.0.10 is a source "
              "of [node]");
}

TEST(Validate, ChecksOfRangesHaveAPort) {
    const std::string range = "\"198.18.0.10:8000-8999/udp\"", check = "[service.check]\n";
    EXPECT_EQ(error_in(service("a", range, check) + backend("198.18.2.11")),
              "f:5:1: service \"a\": the check has no port, nor has 198.18.2.11, and 198.18.0.10:8000-8999/udp has "
              "many");
    EXPECT_TRUE(judged(service("a", range, check + "port = 80") + backend("198.18.2.11")).errors.empty());
    EXPECT_TRUE(judged(service("a", range + ", \"198.18.0.10:80/tcp\"", check) + backend("198.18.2.11")).errors.empty())
        << "the first port that stands alone";
    EXPECT_TRUE(judged(service("a", range, check) + backend("198.18.2.11", "port = 80")).errors.empty());
}

TEST(Validate, APortOfTheBackendMakesOneOfMany) {
    const std::string range = "\"198.18.0.10:8000-8999/udp\"", fixed = backend("198.18.2.11", "port = 80");
    EXPECT_EQ(warning_in(service("a", range) + fixed),
              "f:8:8: all ports of 198.18.0.10:8000-8999/udp become port 80 of 198.18.2.11: two connections from one "
              "client port would be one at the backend, and replies without a known flow are dropped");
    EXPECT_EQ(error_in(service("a", range, "flows = \"off\"") + fixed),
              "f:8:8: all ports of 198.18.0.10:8000-8999/udp become port 80 of 198.18.2.11, and with flows = \"off\" "
              "nobody could tell which port a reply is to come from");
    EXPECT_EQ(error_in(service("a", range, "mode = \"direct\"") + fixed),
              "f:8:8: mode \"direct\" keeps the VIP's port 8000-8999, but here is 80");
    EXPECT_TRUE(judged(service("a", range, "flows = \"off\"") + backend("198.18.2.11")).errors.empty());
    EXPECT_EQ(error_in(service("a", range) + backend("198.18.2.11") + backend("198.18.2.11")),
              "f:9:1: the backend 198.18.2.11:*/udp is in service \"a\" twice");
}

TEST(Validate, BackendsOfRangesMeetThoseOfTheirPorts) {
    const std::string off = service("a", "\"198.18.0.10:8000-8999/udp\"", "flows = \"off\"") + backend("198.18.2.11");
    const auto beside = [](const char* vip) {
        return service("b", '"' + std::string(vip) + '"') + backend("198.18.2.11");
    };
    EXPECT_EQ(error_in(off + beside("198.18.0.11:8500/udp")),
              "f:13:1: the backend 198.18.2.11:8500/udp is in services \"a\" and \"b\", and \"a\" has flows = "
              "\"off\": nobody could tell whose its replies are");
    EXPECT_TRUE(judged(off + beside("198.18.0.11:9000/udp")).errors.empty());
    EXPECT_TRUE(judged(off + beside("198.18.0.11:8500/tcp")).errors.empty());
    EXPECT_EQ(judged(off + beside("198.18.0.11:*/udp")).errors.size(), 1U);
    // Only where the ports are the same two connections could be one.
    const std::string on = service("a", "\"198.18.0.10:8000-8999/udp\"") + backend("198.18.2.11");
    EXPECT_EQ(warning_in(on + beside("198.18.0.11:8999-9100/udp")),
              "f:6:1: the backend 198.18.2.11:*/udp is behind 2 VIPs (198.18.0.10:8000-8999/udp, "
              "198.18.0.11:8999-9100/udp): two connections from one client port would be one at the backend");
    EXPECT_TRUE(judged(on + beside("198.18.0.11:9000-9100/udp")).warnings.empty());
    EXPECT_TRUE(judged(on + beside("198.18.0.10:*/udp")).warnings.empty()) << "the range is taken out of it";
}

TEST(Validate, AddressesAreThoseOfMachines) {
    EXPECT_EQ(error_in(service("web", web_vip) + backend("198.18.0.10")),
              "f:7:11: 198.18.0.10 is also a VIP, of service \"web\"");
    for (const char* odd :
         {"0.0.0.0", "0.1.2.3", "169.254.1.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"}) {
        EXPECT_EQ(error_in(service("web", web_vip) + backend(odd)).substr(0, 7), "f:7:11:") << odd;
        EXPECT_EQ(error_in(service("web", "\"" + std::string(odd) + ":443/tcp\"")).substr(0, 6), "f:4:8:") << odd;
        EXPECT_EQ(error_in("[node]\nsource = [\"" + std::string(odd) + "\"]").substr(0, 7), "f:3:11:") << odd;
    }
    for (const char* odd : {"::", "fe80::1", "febf::1", "ff02::1"}) {
        EXPECT_EQ(judged(service("web", "\"[2001:db8::10]:443/tcp\"") + backend(odd)).errors.size(), 1U) << odd;
        EXPECT_EQ(judged(service("web", "\"[" + std::string(odd) + "]:443/tcp\"")).errors.size(), 1U) << odd;
    }
    EXPECT_EQ(judged(service("web", "\"127.0.0.1:443/tcp\"")).errors.size(), 1U);
    EXPECT_EQ(warning_in(service("web", web_vip) + backend("127.0.0.1")),
              "f:7:11: 127.0.0.1 is a loopback address: no packet can be forwarded to it");
}

TEST(Validate, ChecksEndBeforeTheNextBegins) {
    EXPECT_EQ(error_in(service("web", web_vip, "[service.check]\ninterval = \"500ms\"")),
              "f:5:1: the timeout 800ms is longer than the interval 500ms");
    EXPECT_TRUE(judged(service("web", web_vip, "[service.check]\ninterval = \"800ms\"")).errors.empty());
}

TEST(Validate, PortsAndWorkersFit) {
    const auto port = [](const char* name, const char* device) {
        return std::string("[[dataplane.port]]\nname = \"") + name + "\"\naf_xdp = \"" + device + "\"\n";
    };
    EXPECT_EQ(error_in("[dataplane]\nworkers = 2\n" + port("lan0", "eth1") + "queues = 1"),
              "f:7:10: port \"lan0\" has 1 queues for 2 workers");
    EXPECT_EQ(error_in(port("lan0", "eth1") + port("lan0", "eth2")), "f:6:8: two ports are named \"lan0\"");
    EXPECT_EQ(error_in(port("lan0", "eth1") + port("lan1", "eth1")), "f:7:10: port \"lan0\" has eth1 already");
    std::string many;
    for (int i = 0; i < 17; ++i) many += port(("p" + std::to_string(i)).c_str(), ("e" + std::to_string(i)).c_str());
    EXPECT_EQ(error_in(many), "f:2:1: there are 17 ports");
    DesiredState state;
    state.dataplane.cores = {1, 2};
    EXPECT_EQ(validate(state).error().message, "2 cores for 1 workers");
}

TEST(Validate, NextHopsLeadSomewhere) {
    const auto hop = [](const char* address, const char* port, const char* rest = "") {
        return std::string("[[next_hop]]\naddress = \"") + address + "\"\nport = \"" + port +
               "\"\nmac = \"02:00:00:00:00:01\"\n" + rest + "\n";
    };
    const std::string port = "[[dataplane.port]]\nname = \"cap0\"\npcap = { in = \"a\" }\n";
    EXPECT_EQ(error_in(port), "f:2:1: the capture port \"cap0\" has no next hop");
    EXPECT_TRUE(judged(port + hop("198.18.2.11", "cap0")).errors.empty());
    EXPECT_EQ(error_in(port + hop("198.18.2.11", "cap0") + hop("198.18.2.12", "cap1")),
              "f:12:8: there is no port \"cap1\"");
    EXPECT_EQ(error_in(port + hop("198.18.2.11", "cap0") + hop("198.18.2.11", "cap0")),
              "f:11:11: the next hop 198.18.2.11 is there twice");
    EXPECT_EQ(error_in(port + hop("198.18.2.11", "cap0", "prefix = [\"0.0.0.0/0\"]") +
                       hop("198.18.2.12", "cap0", "prefix = [\"::/0\", \"0.0.0.0/0\"]")),
              "f:14:19: two next hops lead to 0.0.0.0/0");
    EXPECT_EQ(error_in(port + hop("224.0.0.1", "cap0")), "f:6:11: 224.0.0.1 is a multicast address");
}

// ---- what modes ask for

constexpr const char* both_sources = "[node]\nsource = [\"198.18.1.11\", \"2001:db8:1::11\"]\n";
constexpr const char* both_vips = "\"198.18.0.10:443/tcp\", \"[2001:db8::10]:443/tcp\"";
constexpr const char* vxlan = "mode = \"vxlan\"\ntunnel = { vni = 7, inner_mac = \"02:00:00:00:00:01\" }";

std::string mode(const std::string& name, const std::string& rest = {}) { return "mode = \"" + name + "\"\n" + rest; }
std::string next_hop(const std::string& address, const std::string& rest = {}, const std::string& port = "cap0") {
    return "[[next_hop]]\naddress = \"" + address + "\"\nport = \"" + port + "\"\nmac = \"02:00:00:00:00:01\"\n" +
           rest + "\n";
}
std::string capture_port(const std::string& rest = {}) {
    return "[[dataplane.port]]\nname = \"cap0\"\npcap = { in = \"a\" }\n" + rest + "\n";
}
// The only error, with its remedy and without its place.
std::string sentence_in(const std::string& text) {
    const Judged found = judged(text);
    EXPECT_EQ(found.errors.size(), 1U) << text;
    return found.errors.empty() ? "" : found.errors[0].substr(found.errors[0].find(' ') + 1);
}

// A service of one backend that says these.
std::string scheduled(const std::string& settings, const std::string& vip = web_vip) {
    return service("web", vip, settings) + backend("198.18.2.11");
}

TEST(ValidateSchedulers, EverySchedulerHasASoundService) {
    for (const SchedulerTraits& traits : schedulers) {
        const std::string name = "scheduler = \"" + std::string(traits.name) + "\"\n";
        std::vector<std::string> sound{"", "flows = \"on\""};
        if (traits.only_table()) sound.push_back("flows = \"off\"");
        if (traits.hashes()) sound.insert(sound.end(), {"affinity = \"source\"", "affinity = \"source-port\""});
        if (traits.scheduler != Scheduler::source_hash) sound.push_back("affinity = \"5-tuple\"");
        if (traits.choice == Choice::bounded) sound.insert(sound.end(), {"load_factor = 1.01", "load_factor = 10"});
        for (const std::string& settings : sound) {
            const Judged found = judged(scheduled(name + settings, dns_vip));
            EXPECT_TRUE(found.errors.empty()) << name << settings << ": " << found.errors.front();
        }
    }
}

TEST(ValidateSchedulers, WithoutFlowsOnlyTheTableChooses) {
    for (const SchedulerTraits& traits : schedulers) {
        if (traits.only_table()) continue;
        const std::string name = "scheduler \"" + std::string(traits.name) + "\"";
        EXPECT_EQ(error_in(scheduled("scheduler = \"" + std::string(traits.name) + "\"\nflows = \"off\"", dns_vip)),
                  "f:5:13: " + name + " remembers where it sent a flow, but flows = \"off\" remembers none");
    }
}

TEST(ValidateSchedulers, OnlyThoseThatHashKeepASource) {
    for (const SchedulerTraits& traits : schedulers) {
        if (traits.hashes()) continue;
        for (const char* affinity : {"source", "source-port"}) {
            const std::string name(traits.name);
            EXPECT_EQ(
                error_in(scheduled("scheduler = \"" + name + "\"\naffinity = \"" + affinity + "\"")),
                "f:6:12: scheduler \"" + name + "\" takes no notice of the source: it cannot keep one at its backend");
        }
    }
    EXPECT_EQ(error_in(scheduled("scheduler = \"source-hash\"\naffinity = \"5-tuple\"")),
              "f:6:12: scheduler \"source-hash\" goes by the source, not by the 5-tuple");
}

TEST(ValidateSchedulers, OnlyBoundedLoadHasAFactor) {
    for (const SchedulerTraits& traits : schedulers) {
        if (traits.choice == Choice::bounded) continue;
        const std::string name(traits.name);
        EXPECT_EQ(error_in(scheduled("scheduler = \"" + name + "\"\nload_factor = 1.25")),
                  "f:6:15: scheduler \"" + name + "\" has no use for load_factor");
    }
}

TEST(ValidateSchedulers, ManyBackendsAreNotLookedAtForEachFlow) {
    std::string backends;
    for (int i = 0; i < 1025; ++i) {
        backends += backend("198.18." + std::to_string(100 + i / 250) + "." + std::to_string(1 + i % 250));
    }
    for (const char* name : {"least-connections", "weighted-least-connections", "maglev-bounded"}) {
        EXPECT_EQ(
            error_in(service("web", web_vip, "table_size = 655373\nscheduler = \"" + std::string(name) + "\"") +
                     backends),
            "f:6:13: scheduler \"" + std::string(name) + "\" looks at every backend for each flow, and here are 1025");
    }
    EXPECT_TRUE(
        judged(service("web", web_vip, "table_size = 655373\nscheduler = \"power-of-two\"") + backends).errors.empty());
}

TEST(ValidateSchedulers, ARingIsBounded) {
    DesiredState state;
    Service service;
    service.name = "web";
    service.vips = {*Vip::parse("198.18.0.10:443/tcp")};
    service.scheduler = Scheduler::ring;
    for (std::uint32_t i = 0; i < 1001; ++i) {
        service.backends.push_back({.address = IpAddress::v4(Be32(0xc6130000U + i)), .weight = 1000});
    }
    state.services = {service};
    const auto refused = validate(state);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("4004000 virtual nodes"), std::string::npos) << refused.error().message;
    state.services[0].backends.pop_back();
    EXPECT_TRUE(validate(state));
}

TEST(ValidateSchedulers, WeightsThatAreAllZeroAreNoWayToSayDrain) {
    const std::string zero = "weight = 0", drained = "weight = 0\nstate = \"drain\"";
    EXPECT_EQ(error_in(service("web", web_vip) + backend("198.18.2.11", zero) + backend("198.18.2.12", zero)),
              "f:8:10: the weights of service \"web\" are all 0: nobody would take a new flow");
    EXPECT_EQ(error_in(service("web", web_vip) + backend("198.18.2.11", drained) + backend("198.18.2.12", zero)),
              "f:12:10: the weights of service \"web\" are all 0: nobody would take a new flow");
    for (const std::string& sound :
         {backend("198.18.2.11", zero) + backend("198.18.2.12"), backend("198.18.2.11", drained),
          backend("198.18.2.11", zero) + backend("198.18.2.12", "state = \"maint\""), std::string()}) {
        EXPECT_TRUE(judged(service("web", web_vip) + sound).errors.empty()) << sound;
    }
}

TEST(ValidateModes, EveryModeHasASoundService) {
    for (const std::string& text :
         {mode("nat", "direct_access = \"on\""), mode("direct"), mode("l3dsr", "dscp = 10"), mode("ipip"),
          mode("gre", "tunnel = { key = 0 }"), mode("gue", "tunnel = { port = 1 }"), std::string(vxlan)}) {
        const Judged found = judged(both_sources + service("web", both_vips, text) + backend("198.18.2.11") +
                                    backend("2001:db8:2::21") + backend("198.18.2.12", "port = 443"));
        EXPECT_TRUE(found.errors.empty()) << text << found.errors.front();
        EXPECT_TRUE(found.warnings.empty()) << text << found.warnings.front();
    }
}

TEST(ValidateModes, TakeTheirKeysOnly) {
    EXPECT_EQ(error_in(service("web", web_vip, mode("nat", "dscp = 10"))), "f:6:8: mode \"nat\" has no use for dscp");
    EXPECT_EQ(error_in(service("web", web_vip, mode("ipip", "tunnel = { port = 6080 }"))),
              "f:6:19: mode \"ipip\" has no use for port");
    EXPECT_EQ(sentence_in(service("web", web_vip, mode("ipip", "tunnel = { port = 6080 }"))),
              "mode \"ipip\" has no use for port; remove it, or use mode \"gue\" or \"vxlan\"");
    for (const char* text : {"direct_access = \"on\"", "dscp = 1", "tunnel = { vni = 1 }", "tunnel = { key = 0 }",
                             "tunnel = { inner_mac = \"02:00:00:00:00:01\" }"}) {
        EXPECT_NE(error_in(service("web", web_vip, mode("gue", text))).find("mode \"gue\" has no use for "),
                  std::string::npos)
            << text;
    }
}

TEST(ValidateModes, NeedWhatTheyCannotDoWithout) {
    EXPECT_EQ(error_in(service("web", web_vip, mode("l3dsr"))), "f:2:1: mode \"l3dsr\" needs dscp");
    EXPECT_EQ(sentence_in(service("web", web_vip, mode("vxlan", "tunnel = { vni = 0 }"))),
              "mode \"vxlan\" needs inner_mac; add inner_mac = \"02:00:00:00:00:01\" to tunnel = { }");
    EXPECT_EQ(sentence_in(service("web", web_vip, mode("vxlan", "tunnel = { inner_mac = \"02:00:00:00:00:01\" }"))),
              "mode \"vxlan\" needs vni; add vni = 7 to tunnel = { }");
    EXPECT_EQ(judged(service("web", web_vip, mode("vxlan"))).errors.size(), 2U);
}

TEST(ValidateModes, TunnelsComeFromAnAddressOfThisNode) {
    const std::string web = service("web", web_vip, mode("ipip")) + backend("198.18.2.11") + backend("2001:db8:2::21") +
                            backend("2001:db8:2::22");
    EXPECT_EQ(error_in("[node]\nsource = [\"198.18.1.11\"]\n" + web),
              "f:13:11: mode \"ipip\" needs an IPv6 address of this node as the outer source");
    EXPECT_EQ(error_in("[node]\nsource = [\"2001:db8:1::11\"]\n" + web),
              "f:10:11: mode \"ipip\" needs an IPv4 address of this node as the outer source");
    EXPECT_EQ(judged(web).errors.size(), 2U);
    EXPECT_TRUE(judged(both_sources + web).errors.empty());
    EXPECT_TRUE(judged(service("web", web_vip, mode("direct")) + backend("198.18.2.11")).errors.empty());
}

TEST(ValidateModes, ServeOnlyTheFamiliesTheyCan) {
    for (const char* name : {"nat", "direct"}) {
        EXPECT_EQ(sentence_in(service("web", web_vip, mode(name)) + backend("2001:db8:2::21")),
                  "no VIP of service \"web\" can use 2001:db8:2::21: none is IPv6; add an IPv6 VIP, use a mode that "
                  "encapsulates, or remove the backend")
            << name;
    }
    EXPECT_EQ(judged(service("web", "\"[2001:db8::10]:443/tcp\"", mode("l3dsr", "dscp = 1")) + backend("198.18.2.11"))
                  .errors.size(),
              1U);
    for (const std::string& text : {mode("ipip"), mode("gre"), mode("gue"), std::string(vxlan)}) {
        EXPECT_TRUE(judged(both_sources + service("web", web_vip, text) + backend("2001:db8:2::21")).errors.empty());
        EXPECT_TRUE(judged(both_sources + service("web", "\"[2001:db8::10]:443/tcp\"", text) + backend("198.18.2.11"))
                        .errors.empty());
    }
}

TEST(ValidateModes, PortsAreTranslatedByOneModeOnly) {
    const std::string two = "\"198.18.0.10:443/tcp\", \"198.18.0.10:80/tcp\"";
    EXPECT_EQ(error_in(service("web", web_vip, mode("direct")) + backend("198.18.2.11", "port = 80")),
              "f:9:8: mode \"direct\" keeps the VIP's port 443, but here is 80");
    EXPECT_EQ(error_in(service("web", two, mode("direct")) + backend("198.18.2.11", "port = 80")),
              "f:9:8: mode \"direct\" keeps the VIP's port 443, but here is 80");
    EXPECT_TRUE(judged(service("web", two, mode("direct")) + backend("198.18.2.11")).errors.empty());
    // Only the port of a VIP that can use the backend counts.
    const std::string mixed = "\"198.18.0.10:443/tcp\", \"[2001:db8::10]:80/tcp\"";
    EXPECT_TRUE(judged(service("web", mixed, mode("direct")) + backend("198.18.2.11", "port = 443")).errors.empty());
    EXPECT_EQ(error_in(both_sources + service("web", mixed, mode("gue")) + backend("198.18.2.11", "port = 443")),
              "f:11:8: mode \"gue\" keeps the VIP's port 80, but here is 443");
}

TEST(ValidateModes, ADscpStandsForOneVip) {
    const auto dsr = [](const std::string& name, const std::string& vips, const char* dscp) {
        return service(name, vips, mode("l3dsr", std::string("dscp = ") + dscp)) + backend("198.18.2.11") +
               backend("198.18.2.12");
    };
    const std::string a = dsr("a", web_vip, "10");
    EXPECT_EQ(error_in(a + dsr("b", dns_vip, "10")),
              "f:17:8: to the backend 198.18.2.11, dscp 10 means 198.18.0.10 already, of another service");
    EXPECT_TRUE(judged(a + dsr("b", dns_vip, "11")).errors.empty());
    EXPECT_TRUE(judged(a + dsr("b", "\"198.18.0.10:80/tcp\"", "10")).errors.empty()) << "the same address";
    EXPECT_TRUE(judged(a + service("b", dns_vip, mode("l3dsr", "dscp = 10")) + backend("198.18.2.13")).errors.empty());
    EXPECT_EQ(error_in(dsr("a", "\"198.18.0.10:443/tcp\", \"198.18.0.11:443/tcp\"", "10")),
              "f:4:31: one dscp cannot stand for 198.18.0.10 and 198.18.0.11");
    EXPECT_TRUE(judged(dsr("a", both_vips, "10")).errors.empty()) << "one of each family";
}

TEST(ValidateModes, WaysToBackendsHaveRoom) {
    const auto web = [](const std::string& text, const char* to) {
        return both_sources + service("web", both_vips, text) + backend(to);
    };
    const auto by = [](const char* to, std::uint32_t mtu) {
        return capture_port("mtu = 9000") + next_hop(to, "mtu = " + std::to_string(mtu));
    };
    struct Case {
        std::string text;
        const char* to;
        std::uint32_t needed;
    };
    for (const Case& c : {Case{mode("direct"), "2001:db8:2::21", 1280}, Case{mode("ipip"), "198.18.2.11", 1300},
                          Case{mode("ipip"), "2001:db8:2::21", 1320}, Case{mode("gre"), "198.18.2.11", 1304},
                          Case{mode("gre", "tunnel = { key = 1 }"), "2001:db8:2::21", 1328},
                          Case{mode("gue"), "198.18.2.11", 1312}, Case{mode("gue"), "2001:db8:2::21", 1332},
                          Case{vxlan, "198.18.2.11", 1330}, Case{vxlan, "2001:db8:2::21", 1350}}) {
        EXPECT_TRUE(judged(web(c.text, c.to) + by(c.to, c.needed)).errors.empty()) << c.text << c.to;
        const std::string refused = sentence_in(web(c.text, c.to) + by(c.to, c.needed - 1));
        EXPECT_NE(refused.find("of service \"web\" needs an MTU of " + std::to_string(c.needed) + " "),
                  std::string::npos)
            << refused;
    }
    EXPECT_EQ(error_in(both_sources + service("web", web_vip, mode("ipip")) + backend("198.18.2.11") + capture_port() +
                       next_hop("198.18.1.1", "prefix = [\"0.0.0.0/0\"]\nmtu = 595")),
              "f:21:7: mode \"ipip\" of service \"web\" needs an MTU of 596 on the way to its backends, not 595");
    EXPECT_EQ(error_in(web(vxlan, "198.18.2.11") + capture_port("mtu = 1300") + next_hop("198.18.2.11")),
              "f:15:7: mode \"vxlan\" of service \"web\" needs an MTU of 1330 on the way to its backends, not 1300");
    // A longer prefix wins.
    EXPECT_TRUE(judged(web(mode("ipip"), "198.18.2.11") + by("198.18.2.11", 1300) +
                       next_hop("198.18.1.1", "prefix = [\"198.18.2.0/24\"]\nmtu = 600"))
                    .errors.empty());
}

TEST(ValidateModes, CapturesKnowStaticNextHopsOnly) {
    const std::string web = service("web", web_vip) + backend("198.18.2.11") + backend("198.18.3.12");
    EXPECT_EQ(error_in(capture_port() + next_hop("198.18.2.11") + web),
              "f:19:11: no next hop leads to 198.18.3.12, and with capture files the kernel's routes do not count");
    EXPECT_TRUE(judged(capture_port() + next_hop("198.18.2.11", "prefix = [\"198.18.3.0/24\"]") + web).errors.empty());
    EXPECT_EQ(
        judged(capture_port() + next_hop("198.18.2.11", "prefix = [\"198.18.2.0/23\", \"::/0\"]") + web).errors.size(),
        0U);
    EXPECT_TRUE(judged("[[dataplane.port]]\nname = \"lan0\"\naf_xdp = \"eth1\"\n" + web).errors.empty());
}

TEST(ValidateModes, OnlyTranslatedRepliesMeet) {
    const std::string a = service("a", "\"198.18.0.10:443/tcp\"", mode("direct")) + backend("198.18.2.11");
    const std::string b = service("b", "\"198.18.0.11:443/tcp\"", mode("direct")) + backend("198.18.2.11");
    const std::string c = service("c", "\"198.18.0.12:443/tcp\"") + backend("198.18.2.11");
    EXPECT_TRUE(judged(a + b + c).warnings.empty());
    const auto dns = [](const char* name, const char* vip, const std::string& text) {
        return service(name, std::string("\"") + vip + ":53/udp\"", text) + backend("198.18.2.11");
    };
    const std::string off = "flows = \"off\"";
    EXPECT_TRUE(judged(dns("a", "198.18.0.10", off) + dns("b", "198.18.0.11", mode("direct", off))).errors.empty());
    // The two that meet are found also with another between them.
    EXPECT_EQ(
        judged(dns("a", "198.18.0.10", off) + dns("b", "198.18.0.11", mode("direct")) + dns("c", "198.18.0.12", ""))
            .errors.size(),
        1U);
    // One backend, one endpoint on the wire, for VIPs of both families.
    EXPECT_EQ(error_in(both_sources + service("web", both_vips, mode("ipip")) + backend("198.18.2.11") +
                       backend("198.18.2.11", "port = 443")),
              "f:12:1: the backend 198.18.2.11:443/tcp is in service \"web\" twice");
}

TEST(Validate, KeepsToTheBoundsOfSharedMemory) {
    const auto vip = [](std::uint32_t n) {
        return Vip{IpAddress::v4(198, 18, static_cast<std::uint8_t>(n >> 16), 1), Be16(static_cast<std::uint16_t>(n)),
                   Protocol::tcp};
    };
    DesiredState services;
    for (std::uint32_t i = 0; i < 16'384; ++i) {
        services.services.push_back({.name = "s" + std::to_string(i), .vips = {vip(i + 1)}});
    }
    EXPECT_EQ(validate(services).error().message, "there are 16384 services");
    services.services.pop_back();
    EXPECT_TRUE(validate(services));

    DesiredState listeners;
    listeners.services.push_back({.name = "many"});
    for (std::uint32_t i = 0; i < 65'536; ++i) listeners.services[0].vips.push_back(vip(i));
    EXPECT_EQ(validate(listeners).error().message, "there are 65536 VIPs");
    listeners.services[0].vips.pop_back();
    EXPECT_TRUE(validate(listeners));

    // Two backends behind each of 65,535 ports are just below the bound, three beyond it.
    for (std::uint8_t i = 1; i <= 3; ++i) {
        EXPECT_TRUE(validate(listeners));
        listeners.services[0].backends.push_back({IpAddress::v4(198, 19, 0, i)});
    }
    EXPECT_EQ(validate(listeners).error().message,
              "all services together have 196605 backends, counted once for each port they serve");
}

TEST(Validate, NamesAtMostAHundredErrors) {
    DesiredState state;
    for (int i = 0; i < 1000; ++i) state.services.push_back({.name = "same"});
    EXPECT_EQ(examine(state).errors.size(), 100U);
}

constexpr const char* seeded = "[node]\nhash_seed_file = \"/etc/shunt/hash.seed\"\n";

TEST(Validate, EachDaemonHasATrackFileOfItsOwn) {
    const auto files = [](const std::string& one, const std::string& other) {
        return std::string(seeded) + "[ha]\ntrack_files = { dataplane = \"" + one + "\", controlplane = \"" + other +
               "\" }\n";
    };
    EXPECT_EQ(error_in(files("/run/a", "/run/a")), "f:5:54: both daemons would write /run/a");
    EXPECT_TRUE(judged(files("/run/a", "/run/b")).errors.empty());
    EXPECT_TRUE(judged(std::string(seeded) + "[ha]").errors.empty()) << "both are below the run directory";
}

TEST(Validate, APeerNeedsTheSameSeed) {
    EXPECT_EQ(
        warning_in("[ha]\nhold = \"1s\"\n"),
        "f:2:1: without node.hash_seed_file this node chooses other backends than its peer, and a failover breaks "
        "connections");
    EXPECT_TRUE(judged(std::string(seeded) + "[ha]\n").warnings.empty());
}

TEST(Validate, TheListenerForEverybodyIsOnLoopbackAndNoVip) {
    const auto listen = [](const std::string& where) { return "[http]\nlisten = \"" + where + "\"\n"; };
    EXPECT_TRUE(judged(listen("127.0.0.1:9480")).warnings.empty());
    EXPECT_TRUE(judged(listen("[::1]:9480")).warnings.empty());
    EXPECT_EQ(warning_in(listen("198.18.1.11:9480")),
              "f:3:10: whoever reaches 198.18.1.11:9480 may read metrics and the state of this node");
    EXPECT_EQ(error_in(listen("198.18.0.10:443") + service("web", web_vip)),
              "f:3:10: service \"web\" takes every packet to 198.18.0.10:443");
    EXPECT_TRUE(judged(listen("198.18.0.10:80") + service("web", web_vip)).errors.empty());
}

TEST(Validate, PeersOfFlowSyncAreOthersAndOfOneKind) {
    const auto sync = [](const std::string& listen, const std::string& peers) {
        return std::string(seeded) + "[sync]\nkey_file = \"/k\"\nlisten = \"" + listen + "\"\npeers = [" + peers +
               "]\n";
    };
    const std::string own = "198.18.1.11:7400", other = "\"198.18.1.12:7400\"";
    EXPECT_TRUE(judged(sync(own, other)).errors.empty());
    EXPECT_TRUE(judged(sync(own, "\"233.252.0.1:7400\"")).errors.empty());
    EXPECT_EQ(error_in(sync(own, "")), "f:7:9: there is nobody to tell");
    EXPECT_EQ(error_in(sync(own, other + ", " + other)), "f:7:30: 198.18.1.12:7400 is named twice");
    EXPECT_EQ(error_in(sync(own, "\"" + own + "\"")), "f:7:10: 198.18.1.11:7400 is this node itself");
    EXPECT_EQ(error_in(sync(own, "\"[2001:db8::1]:1\"")),
              "f:7:10: [2001:db8::1]:1 is of another family than 198.18.1.11");
    EXPECT_EQ(error_in(sync(own, other + ", \"233.252.0.1:7400\"")),
              "f:7:30: 233.252.0.1:7400 is a multicast group, and there are other peers");
    EXPECT_EQ(error_in(sync("0.0.0.0:7400", other)), "f:6:10: 0.0.0.0:7400 is no address of this node");
    EXPECT_EQ(error_in(sync("198.18.0.53:53", other) + service("dns", dns_vip)),
              "f:6:10: service \"dns\" takes every packet to 198.18.0.53:53");
    EXPECT_EQ(
        warning_in("[sync]\nkey_file = \"/k\"\nlisten = \"198.18.1.11:1\"\npeers = [\"198.18.1.12:1\"]\n"),
        "f:2:1: without node.hash_seed_file this node chooses other backends than its peers, and no record is used");
}

TEST(TableSizes, AreChosenOnceAndStay) {
    DesiredState before;
    before.services = {{.name = "small"}, {.name = "given"}};
    before.services[1].table_size = 4093;
    fix_table_sizes(before);
    EXPECT_EQ(before.services[0].table_size, 1021U);
    EXPECT_EQ(before.services[1].table_size, 4093U);

    DesiredState after;
    after.services = {{.name = "new"}, {.name = "small"}, {.name = "given"}};
    for (Service& service : after.services) service.backends.resize(50);
    after.services[2].table_size = 65537;
    fix_table_sizes(after, &before);
    EXPECT_EQ(after.services[0].table_size, 16381U);
    EXPECT_EQ(after.services[1].table_size, 1021U);
    EXPECT_EQ(after.services[2].table_size, 65537U);
}

TEST(Validate, WarnsOfAQuorumThatIsNeverThere) {
    const std::string two = backend("198.18.2.11") + backend("198.18.2.12");
    const auto with = [&](const std::string& quorum) { return service("web", web_vip, "quorum = " + quorum) + two; };
    EXPECT_NE(warning_in(with("{ up = 3 }")).find("\"web\" has 2 backends: its quorum of 3 is never there"),
              std::string::npos);
    EXPECT_NE(warning_in(with("{ up = 2, hysteresis = 1 }")).find("comes back with 3, which is never"),
              std::string::npos);
    EXPECT_TRUE(judged(with("{ up = 1, hysteresis = 1 }")).warnings.empty());
    EXPECT_TRUE(judged(with("{ up = 0 }")).warnings.empty());
    EXPECT_TRUE(judged(service("web", web_vip)).warnings.empty());
}

TEST(Validate, RefusesToPutVipsOnAPort) {
    const std::string port = "[[dataplane.port]]\nname = \"lan0\"\naf_xdp = \"eth1\"\n";
    EXPECT_NE(error_in("[announce]\ndevice = \"eth1\"\n" + port).find("eth1 is the interface of port \"lan0\""),
              std::string::npos);
    EXPECT_TRUE(judged("[announce]\ndevice = \"shunt-vip\"\n" + port).errors.empty());
}

}  // namespace
}  // namespace shunt::config
