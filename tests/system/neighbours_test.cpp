// The kernel's neighbours, followed over a veth pair whose other end is in a second network namespace. Needs root.
#include "dataplane/neighbours/neighbours.h"

#include <gtest/gtest.h>
#include <net/if.h>
#include <poll.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/base/clock.h"
#include "tests/support/network_namespace.h"

namespace shunt::dataplane {
namespace {

using namespace std::chrono_literals;
using test::NetworkNamespace;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }
std::optional<MacAddress> mac(const char* text) { return MacAddress::parse(text); }

class NeighboursTest : public testing::Test {
  protected:
    void SetUp() override {
        const std::string no_dad = "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad";  // seconds of waiting saved
        NetworkNamespace::run(no_dad);
        far_.run_inside(no_dad);
        NetworkNamespace::run(
            "ip link add v0 address 02:00:00:00:00:01 type veth peer name v1 address 02:00:00:00:00:02 "
            "netns " +
            far_.path());
        NetworkNamespace::run(
            "ip link set v0 up && ip address add 198.18.5.1/24 dev v0 && "
            "ip address add 2001:db8:5::1/64 dev v0 nodad");
        far_.run_inside(
            "ip link set v1 up && ip address add 198.18.5.2/24 dev v1 && "
            "ip address add 2001:db8:5::2/64 dev v1 nodad");
        interface_ = static_cast<int>(::if_nametoindex("v0"));
        far4_ = {.address = address("198.18.5.2"), .interface = interface_};
        far6_ = {.address = address("2001:db8:5::2"), .interface = interface_};
        open();
    }

    void open() {
        neighbours_.reset();
        heard_.clear();
        auto opened = Neighbours::open([this](const Neighbour& neighbour, const std::optional<MacAddress>& mac) {
            heard_[neighbour].push_back(mac);
        });
        ASSERT_TRUE(opened) << opened.error().text();
        neighbours_.emplace(*std::move(opened));
        process();
    }
    void process() {
        const auto done = neighbours_->process(clock_.now());
        EXPECT_TRUE(done) << done.error().text();
    }
    // Processes what comes until it is so; not for ever.
    void until(const std::function<bool()>& holds, const std::string& what, std::chrono::seconds patience = 10s) {
        const auto end = std::chrono::steady_clock::now() + patience;
        while (!holds() && std::chrono::steady_clock::now() < end) {
            pollfd event{.fd = neighbours_->fd(), .events = POLLIN, .revents = 0};
            ::poll(&event, 1, 50);
            process();
        }
        EXPECT_TRUE(holds()) << what;
    }
    void until_mac(const Neighbour& neighbour, const std::optional<MacAddress>& mac,
                   std::chrono::seconds patience = 10s) {
        until([&] { return neighbours_->find(neighbour) == mac; }, neighbour.address.text(), patience);
    }
    // What `ip` shows for one neighbour.
    static std::string shown(const Neighbour& neighbour) {
        const std::string file = testing::TempDir() + "shunt-neighbour-" + std::to_string(::getpid());
        NetworkNamespace::run("ip -d neigh show to " + neighbour.address.text() + " >" + file);
        std::ifstream stream(file);
        std::string line;
        std::getline(stream, line);
        std::remove(file.c_str());
        return line;
    }
    static bool shows(const Neighbour& neighbour, const char* word) {
        return shown(neighbour).find(word) != std::string::npos;
    }

    NetworkNamespace far_, here_;
    int interface_{};
    Neighbour far4_, far6_;
    ManualClock clock_;
    std::map<Neighbour, std::vector<std::optional<MacAddress>>> heard_;
    std::optional<Neighbours> neighbours_;
};

TEST_F(NeighboursTest, WhatIsThereAtTheStartIsHeard) {
    NetworkNamespace::run("ip neigh add 198.18.5.9 lladdr 02:00:00:00:00:09 dev v0");
    NetworkNamespace::run("ip neigh add 2001:db8:5::9 lladdr 02:00:00:00:00:0a dev v0 nud stale");
    NetworkNamespace::run("ip neigh add 198.18.5.10 dev v0 nud failed");
    open();
    const Neighbour v4{.address = address("198.18.5.9"), .interface = interface_};
    const Neighbour v6{.address = address("2001:db8:5::9"), .interface = interface_};
    EXPECT_EQ(neighbours_->find(v4), mac("02:00:00:00:00:09"));
    EXPECT_EQ(neighbours_->find(v6), mac("02:00:00:00:00:0a"));
    EXPECT_EQ(heard_[v4], std::vector{mac("02:00:00:00:00:09")});
    EXPECT_FALSE(heard_.contains({.address = address("198.18.5.10"), .interface = interface_}));
    EXPECT_EQ(neighbours_->find({.address = address("198.18.5.9"), .interface = interface_ + 1}), std::nullopt);
}

TEST_F(NeighboursTest, ChangesAreHeardOnce) {
    const auto put = [](const char* how) {
        NetworkNamespace::run("ip neigh replace 198.18.5.9 dev v0 " + std::string(how));
    };
    const Neighbour neighbour{.address = address("198.18.5.9"), .interface = interface_};
    put("lladdr 02:00:00:00:00:09 nud permanent");
    process();
    put("lladdr 02:00:00:00:00:09 nud reachable");
    process();
    put("lladdr 02:00:00:00:00:0a nud stale");
    process();
    put("nud failed");
    process();
    put("lladdr 02:00:00:00:00:0a nud noarp");
    process();
    NetworkNamespace::run("ip neigh del 198.18.5.9 dev v0");
    process();
    const std::vector expected{mac("02:00:00:00:00:09"), mac("02:00:00:00:00:0a"), std::optional<MacAddress>(),
                               mac("02:00:00:00:00:0a"), std::optional<MacAddress>()};
    EXPECT_EQ(heard_[neighbour], expected);
}

TEST_F(NeighboursTest, WatchedOnesAreResolvedAndKept) {
    neighbours_->watch(std::array{far4_, far6_});
    process();
    until_mac(far4_, mac("02:00:00:00:00:02"));
    until_mac(far6_, mac("02:00:00:00:00:02"));
    EXPECT_TRUE(shows(far4_, "managed")) << shown(far4_);
    EXPECT_TRUE(shows(far6_, "managed")) << shown(far6_);
}

TEST_F(NeighboursTest, ANewMacAddressIsHeard) {
    NetworkNamespace::run("echo 0 >/proc/sys/net/ipv4/neigh/v0/locktime");  // believe the second word at once
    neighbours_->watch(std::array{far4_});
    process();
    until_mac(far4_, mac("02:00:00:00:00:02"));
    far_.run_inside("ip link set v1 address 02:00:00:00:00:03 && ping -q -c 1 198.18.5.1 >/dev/null");
    until_mac(far4_, mac("02:00:00:00:00:03"));
}

TEST_F(NeighboursTest, OnesNoLongerWatchedAreGivenBack) {
    neighbours_->watch(std::array{far4_, far6_});
    process();
    until_mac(far4_, mac("02:00:00:00:00:02"));
    until_mac(far6_, mac("02:00:00:00:00:02"));
    neighbours_->watch(std::array{far6_});
    process();
    EXPECT_FALSE(shows(far4_, "managed")) << shown(far4_);
    EXPECT_TRUE(shows(far6_, "managed")) << shown(far6_);
}

TEST_F(NeighboursTest, APredecessorsAreGivenBackButNotTheAdministrators) {
    neighbours_->watch(std::array{far4_, far6_});
    process();
    NetworkNamespace::run("ip neigh add 198.18.5.50 dev v0 managed");
    open();
    neighbours_->watch(std::array{far6_});
    process();
    EXPECT_FALSE(shows(far4_, "managed")) << shown(far4_);
    EXPECT_TRUE(shows(far6_, "managed")) << shown(far6_);
    EXPECT_TRUE(shows({.address = address("198.18.5.50"), .interface = interface_}, "managed"));
}

TEST_F(NeighboursTest, AllOfOursAreLetGoInTheEnd) {
    neighbours_->watch(std::array{far4_, far6_});
    process();
    NetworkNamespace::run("ip neigh add 198.18.5.50 dev v0 managed");
    EXPECT_TRUE(Neighbours::release_all());
    EXPECT_FALSE(shows(far4_, "managed")) << shown(far4_);
    EXPECT_FALSE(shows(far6_, "managed")) << shown(far6_);
    EXPECT_TRUE(shows({.address = address("198.18.5.50"), .interface = interface_}, "managed"));
}

TEST_F(NeighboursTest, WhatTheKernelForgotIsAskedForAgain) {
    neighbours_->watch(std::array{far4_});
    process();
    until_mac(far4_, mac("02:00:00:00:00:02"));
    NetworkNamespace::run("ip neigh del 198.18.5.2 dev v0");
    clock_.advance(Duration::seconds(1));
    process();
    EXPECT_EQ(heard_[far4_].back(), std::nullopt);
    until_mac(far4_, mac("02:00:00:00:00:02"));
    EXPECT_TRUE(shows(far4_, "managed")) << shown(far4_);
}

TEST_F(NeighboursTest, ALinkThatComesBackIsResolvedAtOnce) {
    // Give up soon, or so late that an attempt made while the link is down still waits for its answer when it is up.
    const std::array attempts{"echo 1 >mcast_solicit && echo 20 >retrans_time_ms",
                              "echo 3 >mcast_solicit && echo 20000 >retrans_time_ms"};
    neighbours_->watch(std::array{far4_});
    process();
    until_mac(far4_, mac("02:00:00:00:00:02"));
    for (std::size_t flap = 0; flap < 4; ++flap) {
        NetworkNamespace::run(std::string("cd /proc/sys/net/ipv4/neigh/v0 && ") + attempts[flap % 2]);
        far_.run_inside("ip link set v1 down");  // the kernel forgets all that it resolved
        until_mac(far4_, std::nullopt);
        EXPECT_EQ(heard_[far4_].back(), std::nullopt);
        clock_.advance(Duration::seconds(1));
        process();
        EXPECT_TRUE(shows(far4_, "managed")) << "asked again: " << shown(far4_);
        until([&] { return shows(far4_, flap % 2 == 0 ? "FAILED" : "INCOMPLETE"); }, "given up, or not yet");
        far_.run_inside("ip link set v1 up");
        until_mac(far4_, mac("02:00:00:00:00:02"), 2s);  // the kernel by itself tries every five
    }
}

TEST_F(NeighboursTest, FixedOnesAreLeftAlone) {
    NetworkNamespace::run("ip neigh add 198.18.5.9 lladdr 02:00:00:00:00:09 dev v0 nud permanent");
    const Neighbour fixed{.address = address("198.18.5.9"), .interface = interface_};
    process();
    neighbours_->watch(std::array{fixed});
    process();
    EXPECT_TRUE(neighbours_->request(fixed));
    clock_.advance(Duration::seconds(2));
    process();
    EXPECT_TRUE(shows(fixed, "PERMANENT")) << shown(fixed);
    // Fixed while it is watched, then freed: watched again.
    neighbours_->watch(std::array{far4_});
    process();
    until_mac(far4_, mac("02:00:00:00:00:02"));
    NetworkNamespace::run("ip neigh replace 198.18.5.2 lladdr 02:00:00:00:00:33 dev v0 nud permanent");
    clock_.advance(Duration::seconds(2));
    process();
    process();
    EXPECT_TRUE(shows(far4_, "PERMANENT")) << shown(far4_);
    EXPECT_EQ(neighbours_->find(far4_), mac("02:00:00:00:00:33"));
    NetworkNamespace::run("ip neigh del 198.18.5.2 dev v0");
    clock_.advance(Duration::seconds(2));
    until_mac(far4_, mac("02:00:00:00:00:02"));
}

TEST_F(NeighboursTest, RequestedOnesAreResolvedOnce) {
    EXPECT_TRUE(neighbours_->request(far4_));
    until_mac(far4_, mac("02:00:00:00:00:02"));
    EXPECT_FALSE(shows(far4_, "managed")) << shown(far4_);
    EXPECT_TRUE(neighbours_->request(far6_));
    until_mac(far6_, mac("02:00:00:00:00:02"));
    neighbours_->watch(std::array{far4_});
    process();
    EXPECT_TRUE(neighbours_->request(far4_));
    EXPECT_TRUE(shows(far4_, "managed")) << "a request does not end what watching began: " << shown(far4_);
}

TEST_F(NeighboursTest, WhatCannotBeAskedIsSaidAndTriedAgainASecondLater) {
    const Neighbour later{.address = address("198.18.4.2"), .interface = 4711};
    neighbours_->watch(std::array{later, far4_});
    const auto refused = neighbours_->process(clock_.now());
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text().find("interface 4711: cannot have the neighbour 198.18.4.2 resolved"),
              std::string::npos)
        << refused.error().text();
    EXPECT_TRUE(shows(far4_, "managed")) << "the others are asked for all the same";
    process();  // no second attempt yet: it would fail
    NetworkNamespace::run("ip link add w0 index 4711 type veth peer name w1 && ip link set w1 up && ip link set w0 up");
    clock_.advance(Duration::seconds(1));
    process();
    EXPECT_TRUE(shows(later, "managed")) << shown(later);
}

TEST_F(NeighboursTest, AfterAnOverrunTheWholeTableIsReadAgain) {
    NetworkNamespace::run("ip neigh add 198.18.5.9 lladdr 02:00:00:00:00:09 dev v0");
    neighbours_->watch(std::array{far4_});
    process();
    until_mac(far4_, mac("02:00:00:00:00:02"));
    const std::string file = testing::TempDir() + "shunt-neighbours-" + std::to_string(::getpid());
    constexpr int count = 6000;
    {
        std::ofstream batch(file);
        for (int i = 0; i < count; ++i) {
            batch << "neigh add 198.19." << i / 250 << '.' << i % 250 + 1 << " lladdr 02:00:00:00:01:00 dev v0\n";
        }
        batch << "neigh del 198.18.5.9 dev v0\nneigh del 198.18.5.2 dev v0\n";
    }
    NetworkNamespace::run("ip -batch " + file);
    std::remove(file.c_str());
    clock_.advance(Duration::seconds(1));
    process();
    EXPECT_EQ(neighbours_->find({.address = address("198.18.5.9"), .interface = interface_}), std::nullopt);
    EXPECT_TRUE(shows(far4_, "managed")) << "asked again: " << shown(far4_);
    int found = 0;
    for (const auto& [neighbour, macs] : heard_) found += macs == std::vector{mac("02:00:00:00:01:00")} ? 1 : 0;
    EXPECT_EQ(found, count);
}

}  // namespace
}  // namespace shunt::dataplane
