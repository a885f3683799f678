// The punt device in a kernel of its own: what is written to it is answered and routed as if it had come from the wire.
// Needs root.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/punt/punt_device.h"
#include "src/net/checksum.h"
#include "tests/support/network_namespace.h"
#include "tests/support/packets.h"

namespace shunt::dataplane {
namespace {

using test::Bytes;
using test::NetworkNamespace;

constexpr MacAddress port_mac{{0x02, 0, 0, 0, 0, 0x01}}, virtual_mac{{0, 0, 0x5e, 0, 1, 7}};
constexpr char device_name[] = "punt-test";

struct Place {
    const char* vip;
    const char* client;
    const char* stranger;  // behind the client's side, on no subnet of ours
};
constexpr Place v4{"198.18.0.10", "198.18.1.2", "203.0.113.9"};
constexpr Place v6{"2001:db8::10", "2001:db8:1::2", "2001:db8:c::9"};

PuntSettings settings(std::uint16_t queues = 1) {
    return {.name = device_name, .mac = port_mac, .virtual_macs = {virtual_mac}, .mtu = 1400, .queues = queues};
}

bool put(PuntQueue queue, Bytes frame) { return queue.put(frame); }

std::string setting(const std::string& key) {
    std::ifstream file("/proc/sys/net/" + key);
    std::string value;
    file >> value;
    return value;
}

Bytes udp(const std::string& from, const std::string& to, const std::string& payload = "hello") {
    auto packet = test::packet(from, to, Protocol::udp);
    packet.mac_destination = port_mac;
    packet.payload = payload;
    return packet.build();
}

std::string at_port(const char* address, int port) {
    const std::string text(address);
    return (text.find(':') == text.npos ? text : "[" + text + "]") + ":" + std::to_string(port);
}

// A UDP socket that only listens.
class Listener {
  public:
    Listener(const char* address, std::uint16_t port) {
        sockaddr_storage storage{};
        socklen_t size = sizeof(sockaddr_in);
        auto* four = reinterpret_cast<sockaddr_in*>(&storage);
        auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
        storage.ss_family = AF_INET;
        four->sin_port = htons(port);
        if (::inet_pton(AF_INET, address, &four->sin_addr) != 1) {
            storage = {};
            size = sizeof(sockaddr_in6);
            storage.ss_family = AF_INET6;
            six->sin6_port = htons(port);
            EXPECT_EQ(::inet_pton(AF_INET6, address, &six->sin6_addr), 1);
        }
        fd_ = ::socket(storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&storage), size), 0) << address;
    }
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() { ::close(fd_); }

    std::string next() const {
        pollfd event{.fd = fd_, .events = POLLIN, .revents = 0};
        if (::poll(&event, 1, 3000) != 1) return "nothing came";
        std::array<char, 65536> buffer;
        const auto length = ::recv(fd_, buffer.data(), buffer.size(), 0);
        return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
    }

  private:
    int fd_;
};

// The balancer's kernel has the VIPs and a subnet in which the client lives; nobody has asked for the client's link
// address yet, and the host is no router but for what comes from the punt device.
class PuntDeviceTest : public testing::Test {
  protected:
    PuntDeviceTest() {
        client_.run_inside("sysctl -qw net.ipv6.conf.default.accept_dad=0");
        balancer_.enter();
        NetworkNamespace::run(
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv6.conf.default.accept_dad=0 net.ipv4.ip_forward=0"
            " net.ipv6.conf.all.forwarding=1 && "
            "ip link add lan0 type veth peer name eth0 netns " +
            client_.path() +
            " && ip link set lan0 address 02:00:00:00:00:01 up"
            " && ip addr add 198.18.0.10/32 dev lan0 && ip addr add 198.18.1.1/24 dev lan0"
            " && ip addr add 2001:db8::10/128 dev lan0 nodad && ip addr add 2001:db8:1::1/64 dev lan0 nodad");
        client_.run_inside(
            "ip link set eth0 up && ip addr add 198.18.1.2/24 dev eth0 && ip addr add 2001:db8:1::2/64 dev eth0 nodad"
            " && ip route add default via 198.18.1.1 && ip route add default via 2001:db8:1::1");
    }

    PuntDevice create(std::uint16_t queues = 1) {
        auto device = PuntDevice::create(settings(queues));
        EXPECT_TRUE(device) << device.error().text();
        return *std::move(device);
    }

    NetworkNamespace client_, balancer_;
};
class PuntDeviceFamilies : public PuntDeviceTest, public testing::WithParamInterface<Place> {};

TEST_F(PuntDeviceTest, BearsThePortsAddressAndKeepsToItself) {
    const PuntDevice device = create();
    NetworkNamespace::run("ip link show dev punt-test | grep -q 'mtu 1400.*state UNKNOWN'");
    NetworkNamespace::run("ip link show dev punt-test | grep -q '<BROADCAST,NOARP,UP,LOWER_UP>'");
    NetworkNamespace::run("ip link show dev punt-test | grep -q 'ether 02:00:00:00:00:01'");
    NetworkNamespace::run("test -z \"$(ip addr show dev punt-test | grep inet)\"");
    NetworkNamespace::run("test -z \"$(ip route show dev punt-test)\"");
    NetworkNamespace::run("test -z \"$(ip -6 route show dev punt-test)\"");
    for (const char* key : {"ipv4/conf/punt-test/rp_filter", "ipv6/conf/punt-test/accept_ra"}) {
        EXPECT_EQ(setting(key), "0") << key;
    }
    for (const char* key : {"ipv4/conf/punt-test/accept_local", "ipv6/conf/punt-test/addr_gen_mode"}) {
        EXPECT_EQ(setting(key), "1") << key;
    }
}

TEST_P(PuntDeviceFamilies, RoutesATranslatedReplyToANeighbourItHasToAskFor) {
    const auto [vip, client, stranger] = GetParam();
    const PuntDevice device = create();
    client_.enter();
    const Listener listener(client, 4000);
    balancer_.enter();
    EXPECT_TRUE(put(device.queue(0), udp(at_port(vip, 80), at_port(client, 4000))));
    EXPECT_EQ(listener.next(), "hello");
}

TEST_P(PuntDeviceFamilies, ServersOfTheHostAnswerAtTheVipWhateverItsLinkAddress) {
    const auto [vip, client, stranger] = GetParam();
    const PuntDevice device = create();
    const Listener listener(vip, 5353);
    EXPECT_TRUE(put(device.queue(0), udp(at_port(stranger, 4000), at_port(vip, 5353))));
    EXPECT_EQ(listener.next(), "hello");
    Bytes to_virtual = udp(at_port(stranger, 4000), at_port(vip, 5353), "by the virtual address");
    std::memcpy(to_virtual.data(), virtual_mac.bytes.data(), virtual_mac.bytes.size());
    EXPECT_TRUE(put(device.queue(0), to_virtual));
    EXPECT_EQ(listener.next(), "by the virtual address");
    Bytes to_other = udp(at_port(stranger, 4000), at_port(vip, 5353), "somebody else's");
    to_other[5] ^= std::byte{0x40};
    EXPECT_TRUE(put(device.queue(0), to_other));
    EXPECT_TRUE(put(device.queue(0), udp(at_port(stranger, 4000), at_port(vip, 5353), "ours again")));
    EXPECT_EQ(listener.next(), "ours again");
}
INSTANTIATE_TEST_SUITE_P(Both, PuntDeviceFamilies, testing::Values(v4, v6), [](const auto& place) {
    return std::string(std::strchr(place.param.vip, ':') != nullptr ? "v6" : "v4");
});

TEST_F(PuntDeviceTest, EveryWorkerHasItsQueue) {
    const PuntDevice device = create(4);
    const Listener listener(v4.vip, 5353);
    for (std::uint16_t i = 0; i < 4; ++i) {
        EXPECT_TRUE(put(device.queue(i), udp(at_port(v4.stranger, 4000), at_port(v4.vip, 5353), std::to_string(i))));
        EXPECT_EQ(listener.next(), std::to_string(i));
    }
}

TEST_F(PuntDeviceTest, WhatTheKernelDoesNotTakeStaysWithTheCaller) {
    const PuntDevice device = create();
    const Bytes frame = udp(at_port(v4.stranger, 4000), at_port(v4.vip, 5353));
    EXPECT_FALSE(put(PuntQueue(), frame));
    NetworkNamespace::run("ip link set punt-test down");
    EXPECT_FALSE(put(device.queue(0), frame));
    NetworkNamespace::run("ip link set punt-test up");
    EXPECT_TRUE(put(device.queue(0), frame));
    NetworkNamespace::run("ip link delete punt-test");
    EXPECT_FALSE(put(device.queue(0), frame));
}

// Nobody reads: the kernel must drop what does not fit, and go on taking what we punt.
TEST_F(PuntDeviceTest, WhatTheKernelSendsThereIsDropped) {
    const PuntDevice device = create();
    const int socket = ::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_ll address{};
    address.sll_family = AF_PACKET;
    address.sll_ifindex = static_cast<int>(::if_nametoindex(device_name));
    address.sll_halen = 6;
    const Bytes frame = udp(at_port(v4.vip, 80), at_port(v4.client, 4000), std::string(1000, 'x'));
    for (int i = 0; i < 20'000; ++i) {
        ::sendto(socket, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&address), sizeof address);
    }
    ::close(socket);
    const Listener listener(v4.vip, 5353);
    EXPECT_TRUE(put(device.queue(0), udp(at_port(v4.stranger, 4000), at_port(v4.vip, 5353))));
    EXPECT_EQ(listener.next(), "hello");
}

TEST_F(PuntDeviceTest, GoesWithItsOwnerAndRefusesToTakeSomebodyElses) {
    for (int i = 0; i < 3; ++i) {
        const PuntDevice device = create(2);
        EXPECT_NE(::if_nametoindex(device_name), 0U);
    }
    EXPECT_EQ(::if_nametoindex(device_name), 0U);
    NetworkNamespace::run("ip tuntap add dev punt-test mode tap multi_queue");
    const auto refused = PuntDevice::create(settings());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().text(),
              "there is an interface punt-test already, and it is not this data plane's; ip link delete punt-test, or "
              "rename the port");
    NetworkNamespace::run("ip link show dev punt-test | grep -qv 02:00:00:00:00:01");  // untouched
}

// udev on many distributions sets rp_filter of new devices, after us.
TEST_F(PuntDeviceTest, StandsAgainstWhatOthersSetAndNamesWhatItCannotChange) {
    const PuntDevice device = create();
    NetworkNamespace::run("sysctl -qw net.ipv4.conf.punt-test.rp_filter=2 net.ipv4.conf.punt-test.accept_local=0");
    EXPECT_TRUE(device.keep());
    EXPECT_EQ(setting("ipv4/conf/punt-test/rp_filter"), "0");
    EXPECT_EQ(setting("ipv4/conf/punt-test/accept_local"), "1");
    NetworkNamespace::run("sysctl -qw net.ipv4.conf.all.rp_filter=1");
    const auto kept = device.keep();
    ASSERT_FALSE(kept);
    EXPECT_EQ(kept.error().text(),
              "net.ipv4.conf.all.rp_filter is 1: the kernel drops what comes from punt-test, that is fragments and "
              "packets to clients whose link address is unknown; sysctl -w net.ipv4.conf.all.rp_filter=0; interfaces "
              "may keep their own setting");
}

TEST(PuntDeviceName, IsStableShortAndDistinct) {
    EXPECT_EQ(punt_device_name("/run/shunt", "lan0"), punt_device_name("/run/shunt", "lan0"));
    EXPECT_EQ(punt_device_name("/run/shunt", "lan0").substr(0, 10), "punt-lan0-");
    EXPECT_NE(punt_device_name("/run/shunt", "lan0"), punt_device_name("/run/shunt", "lan00"));
    EXPECT_NE(punt_device_name("/run/shunt", "lan0"), punt_device_name("/run/shunt2", "lan0"));
    EXPECT_NE(punt_device_name("/a", "bc"), punt_device_name("/ab", "c"));
    EXPECT_EQ(punt_device_name("/run/shunt", "a/b c:d").substr(0, 10), "punt-a_b_-");
    EXPECT_EQ(punt_device_name("/run/shunt", "a much longer name of a port").size(), 15U);
}

}  // namespace
}  // namespace shunt::dataplane
