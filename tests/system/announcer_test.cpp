// Announcer against the kernel, in network namespaces.
#include "controlplane/network/announcer.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "tests/support/network_namespace.h"

namespace shunt::controlplane {
namespace {

using test::NetworkNamespace;

IpAddress address(const char* text) { return *IpAddress::parse(text); }

// "198.18.0.10/32 2001:db8::10/128 ": those of a device, but link-local ones.
std::string on(const std::string& device) {
    const std::string command = "ip -o addr show dev " + device + " scope global | awk '{printf \"%s \", $4}'";
    std::FILE* pipe = popen(command.c_str(), "r");
    std::string text;
    char buffer[256];
    while (std::fgets(buffer, sizeof buffer, pipe) != nullptr) text += buffer;
    pclose(pipe);
    return text;
}

void expect_done(const Status& status) { EXPECT_TRUE(status) << status.error().text(); }

const std::vector<IpAddress> both{address("198.18.0.10"), address("2001:db8::10")};

TEST(Announcer, MakesTheDeviceAndKeepsItAsWanted) {
    NetworkNamespace host;
    Announcer announcer;
    expect_done(announcer.announce({"vips", {}}));
    EXPECT_NE(std::system("ip link show vips >/dev/null 2>&1"), 0) << "nothing to carry, no device";
    expect_done(announcer.announce({"vips", both}));
    EXPECT_EQ(on("vips"), "198.18.0.10/32 2001:db8::10/128 ");
    expect_done(announcer.announce({"vips", both}));
    NetworkNamespace::run("ip addr del 198.18.0.10/32 dev vips");
    expect_done(announcer.announce({"vips", {both[0]}}));
    EXPECT_EQ(on("vips"), "198.18.0.10/32 ");
    expect_done(announcer.announce({"vips", {}}));
    EXPECT_EQ(on("vips"), "");
}

TEST(Announcer, FindsWhatOneBeforeItLeftAndTouchesNothingElse) {
    NetworkNamespace host;
    expect_done(Announcer{}.announce({"vips", both}));
    NetworkNamespace::run("ip addr add 198.18.0.77/32 dev vips");
    Announcer next;
    const auto found = next.found_on("vips");
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, both);
    expect_done(next.announce({"vips", {both[1]}}));
    EXPECT_EQ(on("vips"), "198.18.0.77/32 2001:db8::10/128 ");
    expect_done(next.announce({"", {}}));
    EXPECT_EQ(on("vips"), "198.18.0.77/32 ");
}

TEST(Announcer, MovesToAnotherDevice) {
    NetworkNamespace host;
    Announcer announcer;
    expect_done(announcer.announce({"vips", both}));
    expect_done(announcer.announce({"others", both}));
    EXPECT_EQ(on("vips"), "");
    EXPECT_EQ(on("others"), "198.18.0.10/32 2001:db8::10/128 ");
}

TEST(Announcer, LeavesADeviceDownThatIsDown) {
    NetworkNamespace host;
    NetworkNamespace::run("ip link add vips type bridge");
    Announcer announcer;
    const Status refused = announcer.announce({"vips", both});
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text().find("vips is down; run `ip link set vips up`"), std::string::npos);
    NetworkNamespace::run("ip link set vips up");
    expect_done(announcer.announce({"vips", both}));
}

TEST(Announcer, OneThatFailsDoesNotKeepTheOthers) {
    NetworkNamespace host;
    NetworkNamespace::run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    const std::vector<IpAddress> wanted{both[1], address("198.18.0.9"), both[0]};
    const Status failed = Announcer{}.announce({"vips", wanted});
    ASSERT_FALSE(failed);
    EXPECT_NE(failed.error().text().find("2001:db8::10"), std::string::npos) << failed.error().text();
    EXPECT_EQ(on("vips"), "198.18.0.9/32 198.18.0.10/32 ");
}

}  // namespace
}  // namespace shunt::controlplane
