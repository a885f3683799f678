// The guard in a kernel of its own: a client, the balancer and a backend in three network namespaces.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include "controlplane/network/guard.h"
#include "tests/support/network_namespace.h"

namespace shunt::controlplane {
namespace {

using test::NetworkNamespace;

sockaddr_storage socket_address(const IpAddress& address, std::uint16_t port, socklen_t& size) {
    sockaddr_storage storage{};
    const auto bytes = address.bytes();
    if (address.is_v4()) {
        auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        std::memcpy(&v4->sin_addr, bytes.data() + 12, 4);
        size = sizeof *v4;
    } else {
        auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        std::memcpy(&v6->sin6_addr, bytes.data(), 16);
        size = sizeof *v6;
    }
    return storage;
}

// A non-blocking socket in the namespace where it was made.
class Socket {
  public:
    Socket(const IpAddress& family_of, int type)
        : fd_(::socket(family_of.is_v4() ? AF_INET : AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {}
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket() { ::close(fd_); }

    void bind(const IpAddress& address, std::uint16_t port) const {
        socklen_t size = 0;
        const sockaddr_storage where = socket_address(address, port, size);
        EXPECT_EQ(::bind(fd_, reinterpret_cast<const sockaddr*>(&where), size), 0) << std::strerror(errno);
    }
    void listen() const { EXPECT_EQ(::listen(fd_, 8), 0); }
    void connect(const IpAddress& address, std::uint16_t port) const {
        socklen_t size = 0;
        const sockaddr_storage where = socket_address(address, port, size);
        ::connect(fd_, reinterpret_cast<const sockaddr*>(&where), size);
    }
    void send(const std::string& text) const { ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL); }
    bool has_news(int milliseconds) const {
        pollfd p{fd_, POLLIN | POLLOUT, 0};
        return ::poll(&p, 1, milliseconds) > 0;
    }
    // An error, waited for.
    int error() const {
        pollfd p{fd_, 0, 0};
        ::poll(&p, 1, 5000);
        return error_so_far();
    }
    int error_so_far() const {
        int error = 0;
        socklen_t size = sizeof error;
        ::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
        return error;
    }
    // The next datagram, waited for.
    std::string receive(int milliseconds = 5000) const {
        pollfd p{fd_, POLLIN, 0};
        ::poll(&p, 1, milliseconds);
        std::array<char, 100> buffer{};
        const ssize_t size = ::recv(fd_, buffer.data(), buffer.size(), 0);
        return size < 0 ? std::strerror(errno) : std::string(buffer.data(), static_cast<std::size_t>(size));
    }

  private:
    int fd_;
};

struct Ipv4 {
    static constexpr const char* vip = "198.18.0.10";
    static constexpr const char* balancer = "198.18.2.1";
    static constexpr const char* backend = "198.18.2.11";
    static constexpr const char* client = "203.0.113.2";
};
struct Ipv6 {
    static constexpr const char* vip = "2001:db8::10";
    static constexpr const char* balancer = "2001:db8:2::1";
    static constexpr const char* backend = "2001:db8:2::11";
    static constexpr const char* client = "2001:db8:1::2";
};

// client (c) -- wan0 balancer lan0 -- (s) backend
template <class Family>
class GuardInKernel : public testing::Test {
  protected:
    GuardInKernel() {
        balancer.enter();
        for (const char* command :
             {"ip link set wan0 up", "ip link set lan0 up", "ip addr add 203.0.113.1/24 dev wan0",
              "ip addr add 2001:db8:1::1/64 dev wan0 nodad", "ip addr add 198.18.2.1/24 dev lan0",
              "ip addr add 2001:db8:2::1/64 dev lan0 nodad", "ip addr add 198.18.0.10/32 dev wan0",
              "ip addr add 2001:db8::10/128 dev wan0 nodad", "echo 1 > /proc/sys/net/ipv4/ip_forward",
              "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"}) {
            balancer.run(command);
        }
    }

    static IpAddress address(const char* text) { return *IpAddress::parse(text); }
    static GuardRules rules() {
        return {.listeners = {{address(Family::vip), Be16(443), Protocol::tcp},
                              {address(Family::vip), Be16(53), Protocol::udp}},
                .nat_backends = {{address(Family::backend), Be16(80), Protocol::tcp},
                                 {address(Family::backend), Be16(80), Protocol::udp}},
                .interfaces = {"lan0"}};
    }
    void apply(const GuardRules& rules) {
        balancer.enter();
        const Status status = guard.apply(rules);
        EXPECT_TRUE(status) << status.error().text();
    }
    std::string listing() const {
        balancer.enter();
        std::string text;
        FILE* nft = ::popen("nft list table inet shunt_test", "r");
        std::array<char, 4096> buffer;
        while (const std::size_t size = std::fread(buffer.data(), 1, buffer.size(), nft)) {
            text.append(buffer.data(), size);
        }
        ::pclose(nft);
        return text;
    }
    // Whether the kernel answers a SYN to the VIP. Silence is certain once a later SYN, which it must refuse, is.
    bool answers(std::uint16_t port, const char* at = Family::vip) const {
        client.enter();
        const Socket asked(address(at), SOCK_STREAM);
        const Socket later(address(Family::vip), SOCK_STREAM);
        asked.connect(address(at), port);
        later.connect(address(Family::vip), 444);
        EXPECT_EQ(later.error(), ECONNREFUSED);
        return asked.has_news(0);
    }
    // What of two datagrams of the backend, one from the service port and a later one from another, reaches the client
    // first.
    std::string first_to_arrive() const {
        client.enter();
        const Socket sink(address(Family::client), SOCK_DGRAM);
        sink.bind(address(Family::client), 5000);
        backend.enter();
        for (const std::uint16_t port : {std::uint16_t{80}, std::uint16_t{81}}) {
            const Socket source(address(Family::backend), SOCK_DGRAM);
            source.bind(address(Family::backend), port);
            source.connect(address(Family::client), 5000);
            source.send(std::to_string(port));
        }
        return sink.receive();
    }

    NetworkNamespace balancer;
    NetworkNamespace client{};
    struct ClientLink {
        explicit ClientLink(const NetworkNamespace& balancer) {
            NetworkNamespace::run("ip link add c type veth peer name wan0 netns " + balancer.path());
            for (const char* command :
                 {"ip link set c up", "ip addr add 203.0.113.2/24 dev c", "ip addr add 2001:db8:1::2/64 dev c nodad",
                  "ip route add default via 203.0.113.1", "ip route add default via 2001:db8:1::1"}) {
                NetworkNamespace::run(command);
            }
        }
    } client_link{balancer};
    NetworkNamespace backend{};
    struct BackendLink {
        explicit BackendLink(const NetworkNamespace& balancer) {
            NetworkNamespace::run("ip link add s type veth peer name lan0 netns " + balancer.path());
            for (const char* command :
                 {"ip link set s up", "ip addr add 198.18.2.11/24 dev s", "ip addr add 2001:db8:2::11/64 dev s nodad",
                  "ip route add default via 198.18.2.1", "ip route add default via 2001:db8:2::1"}) {
                NetworkNamespace::run(command);
            }
        }
    } backend_link{balancer};
    Guard guard{"test"};
};

using Families = testing::Types<Ipv4, Ipv6>;
TYPED_TEST_SUITE(GuardInKernel, Families, );

TYPED_TEST(GuardInKernel, TheKernelKeepsQuietAboutOurServices) {
    EXPECT_TRUE(this->answers(443)) << "without the guard it sends RST";
    this->apply(this->rules());
    EXPECT_FALSE(this->answers(443));
    EXPECT_TRUE(this->answers(53)) << "53 is ours for udp only";
    EXPECT_NE(this->listing().find("drop"), std::string::npos);
}

TYPED_TEST(GuardInKernel, TheKernelKeepsQuietAboutDatagramsToo) {
    const IpAddress vip = this->address(TypeParam::vip);
    const auto error_of = [&](std::uint16_t port) {
        this->client.enter();
        const Socket socket(vip, SOCK_DGRAM);
        socket.connect(vip, port);
        // Nobody repeats a datagram that neighbour discovery lost, or an error that the kernel's rate limit held back.
        std::string answer;
        for (int tries = 0; tries < 10 && answer != std::strerror(ECONNREFUSED); ++tries) {
            socket.send("x");
            answer = socket.receive(1000);
        }
        return answer;
    };
    EXPECT_EQ(error_of(53), std::strerror(ECONNREFUSED)) << "without the guard: port unreachable";
    this->apply(this->rules());
    this->client.enter();
    const Socket asked(vip, SOCK_DGRAM);
    asked.connect(vip, 53);
    asked.send("x");
    EXPECT_EQ(error_of(54), std::strerror(ECONNREFUSED));
    EXPECT_EQ(asked.error_so_far(), 0);
}

TYPED_TEST(GuardInKernel, NoUntranslatedReplyIsForwarded) {
    EXPECT_EQ(this->first_to_arrive(), "80") << "without the guard";
    this->apply(this->rules());
    EXPECT_EQ(this->first_to_arrive(), "81");
    GuardRules elsewhere = this->rules();
    elsewhere.interfaces = {"wan0"};
    this->apply(elsewhere);
    EXPECT_EQ(this->first_to_arrive(), "80") << "it did not arrive on a port";
}

TYPED_TEST(GuardInKernel, HealthChecksOfTheSameEndpointWork) {
    this->apply(this->rules());
    this->backend.enter();
    const Socket server(this->address(TypeParam::backend), SOCK_STREAM);
    server.bind(this->address(TypeParam::backend), 80);
    server.listen();
    this->balancer.enter();
    const Socket check(this->address(TypeParam::backend), SOCK_STREAM);
    check.connect(this->address(TypeParam::backend), 80);
    ASSERT_TRUE(check.has_news(5000));
    EXPECT_EQ(check.error_so_far(), 0);
}

TYPED_TEST(GuardInKernel, AChangeTouchesOnlyTheDifference) {
    this->apply(this->rules());
    EXPECT_FALSE(this->answers(443));
    ASSERT_NE(this->listing().find("counter packets 1 "), std::string::npos) << this->listing();
    this->apply(this->rules());
    GuardRules more = this->rules();
    more.listeners.push_back({this->address(TypeParam::vip), Be16(8443), Protocol::tcp});
    more.listeners.erase(more.listeners.begin() + 1);  // 53/udp
    EXPECT_TRUE(this->answers(8443));
    this->apply(more);
    const std::string listing = this->listing();
    EXPECT_NE(listing.find("counter packets 1 "), std::string::npos) << "the counter began again\n" << listing;
    EXPECT_NE(listing.find(". tcp . 8443"), std::string::npos);
    EXPECT_EQ(listing.find(". udp . 53"), std::string::npos);
    EXPECT_FALSE(this->answers(8443));
}

TYPED_TEST(GuardInKernel, IsPutBackWhenSomebodyElseTookItAway) {
    this->balancer.enter();
    EXPECT_FALSE(*this->guard.present());
    this->apply(this->rules());
    EXPECT_TRUE(*this->guard.present());
    this->balancer.run("nft flush ruleset");
    EXPECT_FALSE(*this->guard.present());
    this->apply(this->rules());
    EXPECT_FALSE(this->answers(443));

    this->balancer.enter();
    this->balancer.run("nft flush set inet shunt_test ports");
    GuardRules fewer = this->rules();
    fewer.interfaces.clear();
    this->apply(fewer);  // cannot delete what is gone: replaces the table
    EXPECT_TRUE(*this->guard.present());
    EXPECT_FALSE(this->answers(443));
}

TYPED_TEST(GuardInKernel, ASuccessorTakesOverAndOnlyRemoveRemoves) {
    this->apply(this->rules());
    this->guard = Guard("test");  // another process
    EXPECT_FALSE(this->answers(443)) << "the table outlives us";
    GuardRules other = this->rules();
    other.listeners[0].ports = Be16(8443);
    this->apply(other);
    EXPECT_TRUE(this->answers(443));
    EXPECT_FALSE(this->answers(8443));
    this->balancer.enter();
    EXPECT_TRUE(this->guard.remove());
    EXPECT_FALSE(*this->guard.present());
    EXPECT_TRUE(this->guard.remove()) << "also when there is none";
    EXPECT_TRUE(this->answers(8443));
}

TYPED_TEST(GuardInKernel, RangesAndWholeAddressesAreKeptQuiet) {
    const bool v4 = this->address(TypeParam::vip).is_v4();
    const char* other_vip = v4 ? "203.0.113.1" : "2001:db8:1::1";
    const IpAddress vip = this->address(TypeParam::vip), whole = this->address(other_vip);
    GuardRules rules = this->rules();
    rules.listeners.push_back({vip, {Be16(8000), Be16(8999)}, Protocol::tcp});
    rules.listeners.push_back({vip, {Be16(9001), Be16(9002)}, Protocol::tcp});
    rules.listeners.push_back({whole, PortRange::all(), Protocol::tcp});
    this->apply(rules);
    for (const std::uint16_t port : std::array<std::uint16_t, 5>{8000, 8500, 8999, 9001, 9002})
        EXPECT_FALSE(this->answers(port)) << port;
    for (const std::uint16_t port : std::array<std::uint16_t, 3>{7999, 9000, 9003})
        EXPECT_TRUE(this->answers(port)) << port;
    for (const std::uint16_t port : std::array<std::uint16_t, 3>{1, 22, 65535})
        EXPECT_FALSE(this->answers(port, other_vip)) << port;
    // Only the difference, where the old range and the new one overlap.
    rules.listeners[2].ports = {Be16(8500), Be16(9000)};
    rules.listeners.pop_back();
    this->apply(rules);
    for (const std::uint16_t port : std::array<std::uint16_t, 3>{8500, 9000, 9001})
        EXPECT_FALSE(this->answers(port)) << port;
    EXPECT_TRUE(this->answers(8499));
    EXPECT_TRUE(this->answers(22, other_vip));
}

TYPED_TEST(GuardInKernel, NoReplyOfABackendThatAnswersFromEveryPortIsForwarded) {
    const bool v4 = this->address(TypeParam::vip).is_v4();
    const IpAddress neighbour = this->address(v4 ? "198.18.2.12" : "2001:db8:2::12");
    GuardRules rules = this->rules();
    rules.nat_backends = {{this->address(TypeParam::backend), PortRange::all(), Protocol::udp}};
    this->apply(rules);
    this->client.enter();
    const Socket sink(this->address(TypeParam::client), SOCK_DGRAM);
    sink.bind(this->address(TypeParam::client), 5000);
    this->backend.enter();
    NetworkNamespace::run("ip addr add " + neighbour.text() + (v4 ? "/24 dev s" : "/64 dev s nodad"));
    for (const std::uint16_t port : std::array<std::uint16_t, 3>{80, 4711, 0}) {
        const IpAddress from = port == 0 ? neighbour : this->address(TypeParam::backend);
        const Socket source(from, SOCK_DGRAM);
        source.bind(from, port);
        source.connect(this->address(TypeParam::client), 5000);
        source.send(from.text());
    }
    EXPECT_EQ(sink.receive(), neighbour.text());
}

TYPED_TEST(GuardInKernel, ManyEndpointsFit) {
    GuardRules many = this->rules();
    for (std::uint16_t port = 10'000; port < 13'000; ++port) {
        many.listeners.push_back({this->address(TypeParam::vip), Be16(port), Protocol::tcp});
    }
    this->apply(many);
    EXPECT_FALSE(this->answers(12'999));
    EXPECT_TRUE(this->answers(13'000));
}

TYPED_TEST(GuardInKernel, ARefusalIsSaidInOneLine) {
    this->balancer.enter();
    const Status status = Guard(std::string(300, 'x')).apply(this->rules());
    ASSERT_FALSE(status);
    EXPECT_TRUE(status.error().message.starts_with("nft: ")) << status.error().text();
    EXPECT_EQ(status.error().message.find('\n'), std::string::npos);
    EXPECT_GT(status.error().message.size(), 10U);
}

}  // namespace
}  // namespace shunt::controlplane
