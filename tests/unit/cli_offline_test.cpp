// The verbs that need no daemon: `shunt table show --config` and `shunt config check`.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "controlplane/cli/client.h"
#include "controlplane/cli/verb.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

struct Outcome {
    int code{};
    std::string out{};
    std::string err{};
};

class Offline : public testing::Test {
  protected:
    ~Offline() override { std::filesystem::remove(path_); }

    Outcome run(const std::string& words, const Arguments& arguments, Output output) const {
        const auto verb = std::ranges::find(all_verbs(), words, &Verb::words);
        EXPECT_NE(verb, all_verbs().end());
        std::ostringstream out, err;
        Session session{.output = output, .out = out, .err = err};
        const int code = verb->run(arguments, session);
        return {code, out.str(), err.str()};
    }
    Outcome table(const std::string& service, const std::string& family = {}, Output output = Output::json) const {
        Arguments arguments;
        arguments.add("SERVICE", service);
        arguments.add("--config", path_);
        if (!family.empty()) arguments.add("--family", family);
        return run("table show", arguments, output);
    }
    Outcome check(Output output = Output::json) const {
        Arguments arguments;
        arguments.add("FILE", path_);
        return run("config check", arguments, output);
    }
    void write(const std::string& text) const { std::ofstream(path_) << "version = 1\n" + text; }

    const std::string path_ = testing::TempDir() + "cli-offline-" + std::to_string(::getpid()) + ".toml";
};

TEST_F(Offline, ALengthOfTimeHasAUnit) {
    for (const char* wrong : {"2", "0s", "2 h", "h"}) {
        Arguments arguments;
        arguments.add("SERVICE/ADDR", "web/198.18.2.11");
        arguments.add("--for", wrong);
        const auto outcome = run("backend drain", arguments, Output::table);
        EXPECT_EQ(outcome.code, exit_usage) << wrong;
        EXPECT_NE(outcome.err.find("a number from 1 and its unit"), std::string::npos) << outcome.err;
    }
}

TEST_F(Offline, ExplainWantsOneFamily) {
    Arguments arguments;
    arguments.add("SRC:PORT", "203.0.113.7:40000");
    arguments.add("DST:PORT/PROTO", "[2001:db8::10]:80/tcp");
    const auto outcome = run("explain", arguments, Output::table);
    EXPECT_EQ(outcome.code, exit_usage);
    EXPECT_NE(outcome.err.find("one address is IPv4, the other IPv6"), std::string::npos) << outcome.err;
}

TEST_F(Offline, ADiffWithoutAChangeSaysSo) {
    std::ostringstream out, err;
    const Session session{.out = out, .err = err};
    EXPECT_EQ(show_change(session, {{"changed", false}, {"dry_run", true}}), exit_ok);
    EXPECT_EQ(out.str(), "nothing to change\n");
}

constexpr const char* three_services = R"(
[[service]]
name = "web"
vip = ["198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"]
table_size = 17
[[service.backend]]
address = "198.18.2.14"
port = 443
weight = 2
[[service.backend]]
address = "198.18.2.11"
port = 443
weight = 3
[[service.backend]]
address = "198.18.2.12"
port = 443
weight = 1
[[service.backend]]
address = "198.18.2.13"
port = 443
state = "drain"
[[service.backend]]
address = "2001:db8:2::22"
weight = 1
[[service.backend]]
address = "2001:db8:2::21"
weight = 1000
[[service.backend]]
address = "2001:db8:2::20"
state = "maint"

[[service]]
name = "away"
vip = ["198.18.0.11:443/tcp"]
table_size = 7
[[service.backend]]
address = "198.18.2.11"
port = 53
weight = 0
state = "drain"

[[service]]
name = "plain"
vip = ["[2001:db8::11]:443/tcp"]
)";

// The slots were computed by a program of its own (balance_maglev_test.cpp); absent backends leave no trace in them.
TEST_F(Offline, TheTableIsThatOfTheFile) {
    write(three_services);
    const Outcome outcome = table("web");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(json::parse(outcome.out),
              json::parse(R"({"service": "web", "family": 4, "table_size": 17, "generation": null,
        "source": "file", "scheduler": "maglev", "only_table": true, "backends": [{"key": "198.18.2.11:443", "weight": 3, "slots": 8},
        {"key": "198.18.2.12:443", "weight": 1, "slots": 3}, {"key": "198.18.2.14:443", "weight": 2, "slots": 6}],
        "slots": [2, 2, 0, 0, 0, 2, 0, 2, 2, 0, 0, 0, 1, 0, 1, 1, 2], "hash": "7ad5b748edba690d"})"));
    const json ipv6 = json::parse(table("web", "6").out);
    EXPECT_EQ(ipv6["family"], 6);
    EXPECT_EQ(ipv6["hash"], "bd7a2c2140e08f7b");
    EXPECT_EQ(ipv6["backends"][0], json::parse(R"({"key": "[2001:db8:2::21]:0", "weight": 1000, "slots": 16})"));
}

// VIPs of either family lead to all backends of a service that goes through tunnels.
TEST_F(Offline, TunnelsCarryEitherFamily) {
    std::string text = three_services;
    text.replace(text.find("table_size = 17"), 15, "table_size = 17\nmode = \"gre\"");
    write("[node]\nsource = [\"198.18.1.1\", \"2001:db8:1::1\"]\n" + text);
    const json ipv4 = json::parse(table("web", "4").out), ipv6 = json::parse(table("web", "6").out);
    EXPECT_EQ(ipv4["backends"].size(), 5U) << ipv4;
    EXPECT_EQ(ipv4["hash"], ipv6["hash"]);
    write(text);
    EXPECT_EQ(check().err,
              path_ +
                  ":9:11: mode \"gre\" needs an IPv4 address of this node as the outer source; add one to "
                  "source of [node]\n" +
                  path_ +
                  ":25:11: mode \"gre\" needs an IPv6 address of this node as the outer source; add one to "
                  "source of [node]\n");
}

TEST_F(Offline, WithoutBackendsEverySlotIsEmpty) {
    write(three_services);
    const json document = json::parse(table("away").out);
    EXPECT_EQ(document["backends"], json::array());
    EXPECT_EQ(document["slots"], json(std::vector<int>(7, -1)));
    EXPECT_EQ(json::parse(table("plain").out)["table_size"], 1021);
    EXPECT_EQ(json::parse(table("plain").out)["family"], 6);
}

// A ring has other slots; and what chooses otherwise shows the table of what it remembers nothing of, and says so.
TEST_F(Offline, EverySchedulerHasItsTable) {
    std::string text = three_services;
    const auto with = [&](const std::string& scheduler) {
        std::string changed = text;
        changed.replace(changed.find("table_size = 17"), 15, "table_size = 17\nscheduler = \"" + scheduler + "\"");
        write(changed);
        return json::parse(table("web").out);
    };
    const json ring = with("ring"), least = with("weighted-least-connections");
    EXPECT_EQ(ring["scheduler"], "ring");
    EXPECT_EQ(ring["only_table"], true);
    EXPECT_NE(ring["hash"], "7ad5b748edba690d");
    EXPECT_EQ(least["only_table"], false);
    EXPECT_EQ(least["hash"], "7ad5b748edba690d");  // Maglev's
    EXPECT_NE(table("web", "4", Output::table).out.find("flows that open are given by the scheduler"),
              std::string::npos);
}

TEST_F(Offline, PeopleReadShares) {
    write(three_services);
    const Outcome outcome = table("web", "4", Output::table);
    EXPECT_NE(outcome.out.find("17 slots, hash 7ad5b748edba690d"), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.out.find("47.06%"), std::string::npos) << outcome.out;
}

TEST_F(Offline, RefusesWithPlaceAndRemedy) {
    EXPECT_EQ(table("web").code, exit_refused);
    EXPECT_EQ(table("web").err, path_ + ": cannot read this file: No such file or directory; check the name\n");
    write(three_services);
    EXPECT_EQ(table("wbe").code, exit_refused);
    EXPECT_EQ(table("away", "6").code, exit_refused);
    EXPECT_EQ(table("web", "5").code, exit_usage);
    write("[[service]]\nname = \"web\"\nvip = [\"198.18.0.10:443/tcp\"]\ntable_size = 16\n");
    const Outcome outcome = table("web");
    EXPECT_EQ(outcome.code, exit_refused);
    EXPECT_EQ(outcome.err, path_ + ":5:14: service \"web\": table_size 16 is not prime; use 1021, or another prime\n");
    EXPECT_EQ(json::parse(outcome.out), (json{{"error",
                                               {{"message", "service \"web\": table_size 16 is not prime"},
                                                {"file", path_},
                                                {"line", 5},
                                                {"column", 14},
                                                {"key", "service.web.table_size"},
                                                {"remedy", "use 1021, or another prime"}}}}));
}

TEST_F(Offline, AFileIsChecked) {
    write(three_services);
    EXPECT_EQ(check().code, exit_ok);
    EXPECT_EQ(json::parse(check().out)["valid"], true);
    EXPECT_NE(check(Output::table).out.find("valid, 3 services"), std::string::npos);
    write("[[service]]\nname = \"web\"\nvip = []\nchekc = 5");
    EXPECT_EQ(check().code, exit_refused);
    EXPECT_EQ(check(Output::table).out, "");
    EXPECT_EQ(check().err, path_ + ":5:1: unknown key \"chekc\"; did you mean \"check\"?\n");
    write("[[service]]\nname = \"web\"\nvip = []\n[[service]]\nname = \"web\"\nvip = []\n");
    const Outcome all = check();
    EXPECT_EQ(std::ranges::count(all.err, '\n'), 3) << all.err;
    EXPECT_TRUE(all.err.starts_with(path_ + ":6:8: two services")) << all.err;
}

}  // namespace
}  // namespace shunt::cli
