// Services of several ports and of whole addresses through the whole packet path, both ways.
#include <gtest/gtest.h>

#include <set>

#include "src/base/random.h"
#include "tests/support/path_families.h"

namespace shunt::test {
namespace {

template <class F>
class RangesOf : public testing::Test {
  protected:
    // "198.18.0.10" of "198.18.0.10:443", with brackets where there are some.
    static std::string host(const std::string& place) { return place.substr(0, place.rfind(':')); }
    static std::string at(const std::string& host_text, std::uint16_t port) {
        return host_text + ":" + std::to_string(port);
    }
    static std::string vip_at(std::uint16_t port) { return at(host(F::vip), port); }
    // One machine for each service, so that what a packet reaches says whose it was.
    static std::string machine(std::size_t i) { return host(F::backends()[i]); }
    static std::string bare(std::size_t i) { return parse_address_and_port(F::backends()[i])->address.text(); }

    // Everything but two ranges and one port goes to the first machine, by its own port.
    static std::vector<config::Service> services() {
        std::vector<config::Service> all;
        for (const char* protocol : {"tcp", "udp"}) {
            const auto named = [&](const char* name, const std::string& ports, const std::string& backend) {
                all.push_back(make_service(std::string(name) + protocol, {host(F::vip) + ":" + ports + "/" + protocol},
                                           {backend}));
            };
            named("whole", "*", bare(0));
            named("range", "8000-8999", bare(1));
            named("fixed", "9000-9999", at(machine(1), 7000));
            named("one", "8500", bare(2));
        }
        return all;
    }
    static Packet request(std::uint32_t n, std::uint16_t port, Protocol protocol = Protocol::tcp) {
        return packet(F::client(n), vip_at(port), protocol);
    }
    static Packet reply(const Seen& there) { return packet(there.to(), there.from(), there.protocol); }
    // Where a packet to this port of the VIP has to arrive.
    static std::string expected(std::uint16_t port) {
        if (port == 8500) return at(machine(2), 8500);
        if (port >= 8000 && port <= 8999) return at(machine(1), port);
        if (port >= 9000 && port <= 9999) return at(machine(1), 7000);
        return at(machine(0), port);
    }
    static constexpr std::array<std::uint16_t, 12> ports{0,    1,    22,   443,  7999, 8000,
                                                         8499, 8500, 8501, 8999, 9000, 65535};
};
TYPED_TEST_SUITE(RangesOf, Families);

TYPED_TEST(RangesOf, TheMostSpecificListenerTakesAPacketAndRepliesComeFromItsPort) {
    Instance instance{this->services()};
    std::uint32_t n = 0;
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        for (const std::uint16_t port : this->ports) {
            const Packet sent = this->request(++n, port, protocol);
            for (int again = 0; again < 2; ++again) {
                const Seen there = instance.forward(sent);
                EXPECT_EQ(there.to(), this->expected(port)) << port;
                EXPECT_EQ(there.source_port, sent.source_port);
                EXPECT_TRUE(there.checksums_right);
                const Seen back = instance.forward(this->reply(there));
                EXPECT_EQ(back.from(), this->vip_at(port));
                EXPECT_EQ(back.to(), there.from());
                EXPECT_TRUE(back.checksums_right);
            }
        }
    }
    EXPECT_EQ(instance.state().workers()[0].flows_inserted.read(), 2 * this->ports.size());
    EXPECT_EQ(instance.state().workers()[0].flows_derived.read(), 0U);
    instance.expect_conservation();
}

// One client port to several ports of the VIP: as many flows, each with the backend it has.
TYPED_TEST(RangesOf, FlowsOfOneClientPortAreToldApartByThePort) {
    std::vector<std::string> backends;
    for (std::size_t i = 0; i < 3; ++i) backends.push_back(this->bare(i));
    Instance instance{{make_service("whole", {this->host(TypeParam::vip) + ":*/tcp"}, backends)}, 2};
    std::map<std::uint16_t, Seen> flows;
    std::set<std::string> used;
    constexpr std::array<std::uint16_t, 6> six{0, 101, 102, 103, 104, 105};  // the first fits a narrow entry
    for (const std::uint16_t port : six) {
        flows[port] = instance.forward(this->request(1, port), port % 2);
        used.insert(flows[port].destination.text());
    }
    EXPECT_GT(used.size(), 1U);
    auto& weights = instance.services()[0].backends;
    weights[0].weight = 1;
    weights[1].weight = 1000;
    weights[2].weight = 10;
    instance.publish();  // only the flow tables know now, and not every worker's
    for (int step = 0; step < 48; ++step) {
        const std::uint16_t port = six[static_cast<std::size_t>(step) % six.size()];
        const std::size_t worker = static_cast<std::size_t>(step) / six.size() % 2;
        EXPECT_EQ(instance.forward(this->request(1, port), worker).to(), flows[port].to()) << port;
        EXPECT_EQ(instance.forward(this->reply(flows[port]), worker).from(), this->vip_at(port));
    }
    instance.expect_conservation();
}

// The two directions on different workers: the other half is found by the look-aside.
TYPED_TEST(RangesOf, WorkersThatSeeHalfAFlowAgree) {
    Instance instance{this->services(), 2};
    std::uint32_t n = 0;
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        for (const std::uint16_t port : this->ports) {
            Packet opening = this->request(++n, port, protocol);
            opening.tcp_flags = tcp_syn;
            const Seen there = instance.forward(opening, n % 2);
            EXPECT_EQ(there.to(), this->expected(port));
            EXPECT_EQ(instance.forward(this->reply(there), (n + 1) % 2).from(), this->vip_at(port));
            EXPECT_EQ(instance.forward(this->request(n, port, protocol), (n + 1) % 2).to(), there.to());
        }
    }
    EXPECT_EQ(instance.state().workers()[0].flows_derived.read() + instance.state().workers()[1].flows_derived.read(),
              0U);
    instance.expect_conservation();
}

TYPED_TEST(RangesOf, RepliesWithoutAFlowAreDerivedWherePacketsKeepTheirPort) {
    Instance other{this->services()};
    Instance instance{this->services()};
    std::uint32_t n = 0;
    std::uint64_t derived = 0;
    for (const std::uint16_t port : this->ports) {
        const Seen there = other.forward(this->request(++n, port));
        if (there.destination_port == 7000) {
            // All ports of the range became one: which it was is known to the flow alone.
            EXPECT_EQ(instance.fate(this->reply(there).build()), "return_unknown");
            continue;
        }
        EXPECT_EQ(instance.forward(this->reply(there)).from(), this->vip_at(port));
        EXPECT_EQ(instance.state().workers()[0].flows_derived.read(), ++derived);
    }
    // What the more specific listener takes never was the whole address's.
    for (const std::uint16_t port : std::array<std::uint16_t, 3>{8500, 8000, 9001}) {
        const std::string from = this->at(this->machine(0), port);
        EXPECT_EQ(instance.fate(packet(from, TypeParam::client(1)).build()), "punted") << port;
    }
    // Nor is what the machine sends from another port, as a client or a server of its own, a reply of the service.
    EXPECT_EQ(instance.fate(packet(this->at(this->machine(1), 7999), TypeParam::client(1)).build()), "punted");
    instance.expect_conservation();
}

// The same machine behind a port of its own and behind the whole address.
TYPED_TEST(RangesOf, AMachineMayServeAPortAndTheWholeAddress) {
    Instance instance{{make_service("whole", {this->host(TypeParam::vip) + ":*/tcp"}, {this->bare(0)}),
                       make_service("web", {this->vip_at(443) + "/tcp"}, {this->at(this->machine(0), 8443)})}};
    const Seen web = instance.forward(this->request(1, 443)), whole = instance.forward(this->request(2, 8443));
    EXPECT_EQ(web.to(), whole.to());
    EXPECT_EQ(instance.forward(this->reply(web)).from(), this->vip_at(443));
    EXPECT_EQ(instance.forward(this->reply(whole)).from(), this->vip_at(8443));
    // Without their flows, too: the table has one backend for each.
    Instance another{instance.services()};
    EXPECT_EQ(another.forward(packet(this->at(this->machine(0), 22), TypeParam::client(3))).from(), this->vip_at(22));
}

TYPED_TEST(RangesOf, ServicesWithoutFlowsAreDerivedBothWays) {
    auto service = make_service("dns", {this->host(TypeParam::vip) + ":5000-5099/udp"}, {});
    for (std::size_t i = 0; i < 3; ++i) service.backends.push_back(backend(this->bare(i)));
    service.flows = false;
    Instance instance{{service}};
    for (std::uint32_t n = 0; n < 100; ++n) {
        const auto port = static_cast<std::uint16_t>(5000 + n);
        const Seen there = instance.forward(this->request(n, port, Protocol::udp));
        EXPECT_EQ(there.destination_port, port);
        EXPECT_EQ(instance.forward(this->reply(there)).from(), this->vip_at(port));
    }
    EXPECT_EQ(instance.fate(this->request(1, 5100, Protocol::udp).build()), "punted");
    EXPECT_EQ(instance.state().workers()[0].flows_inserted.read(), 0U);
}

// A change of the ranges is another listener; what no longer is one is the kernel's, and its flows go nowhere.
TYPED_TEST(RangesOf, RangesComeAndGo) {
    Instance instance{this->services()};
    const Seen there = instance.forward(this->request(1, 8100));
    instance.services()[1].vips[0].ports = PortRange(Be16(8200), Be16(8299));
    instance.publish();
    EXPECT_EQ(instance.forward(this->request(1, 8100)).to(), this->at(this->machine(0), 8100));
    EXPECT_EQ(instance.forward(this->request(1, 8200)).to(), this->at(this->machine(1), 8200));
    std::erase_if(instance.services(), [](const auto& service) { return service.name == "wholetcp"; });
    instance.publish();
    EXPECT_EQ(instance.fate(this->request(1, 8100).build()), "punted");
    EXPECT_EQ(instance.forward(this->request(1, 8200)).to(), this->at(this->machine(1), 8200));
    EXPECT_EQ(instance.fate(this->reply(there).build()), "punted");
    instance.expect_conservation();
}

TYPED_TEST(RangesOf, OtherModesLeaveThePortAlone) {
    config::DesiredState state;
    state.node.source = {*IpAddress::parse("198.18.1.2"), *IpAddress::parse("2001:db8:1::2")};
    state.dataplane.ports.emplace_back().name = "lan0";
    const bool v4 = parse_address_and_port(TypeParam::vip)->address.is_v4();
    state.next_hops = {{*IpAddress::parse(v4 ? "198.18.2.11" : "2001:db8:2::11"), {}, gateway_mac, "lan0"}};
    state.services = {make_service("whole", {this->host(TypeParam::vip) + ":*/udp"}, {this->bare(0)})};
    state.services[0].mode = ForwardingMode::direct;
    Instance instance{state};
    for (const std::uint16_t port : this->ports) {
        const Seen there = instance.forward(this->request(1, port, Protocol::udp));
        EXPECT_EQ(there.to(), this->vip_at(port));
        EXPECT_EQ(there.mac_destination, gateway_mac);
    }
}

// Errors of the way about a flow, in both directions: what they quote is what their receiver sent.
TYPED_TEST(RangesOf, IcmpErrorsFindTheFlow) {
    Instance instance{this->services(), 2};
    const bool v4 = parse_address_and_port(TypeParam::vip)->address.is_v4();
    const auto tell = [&](const std::string& from, const std::string& to, std::size_t worker) {
        IcmpError error;
        error.source = *IpAddress::parse(v4 ? "203.0.113.254" : "2001:db8:ffff::1");
        error.destination = parse_address_and_port(from)->address;
        error.type = v4 ? 3 : 1;
        error.code = 1;
        error.quote = quote_of(packet(from, to, Protocol::udp).build());
        const auto output = instance.burst({error.build()}, worker);
        EXPECT_EQ(output.sent.size(), 1U);
        return output.sent.empty() ? IcmpError{} : IcmpError::read(output.sent[0]);
    };
    std::uint32_t n = 0;
    for (const std::uint16_t port : this->ports) {
        const Seen there = instance.forward(this->request(++n, port, Protocol::udp));
        for (const std::size_t worker : {0U, 1U}) {
            const IcmpError about_reply = tell(this->vip_at(port), there.from(), worker);
            EXPECT_EQ(about_reply.destination, there.destination);
            EXPECT_EQ(quoted_from(about_reply.quote), there.to()) << port;
            EXPECT_EQ(quoted_to(about_reply.quote), there.from());
            EXPECT_TRUE(about_reply.checksum_right);
            const IcmpError about_request = tell(there.from(), there.to(), worker);
            EXPECT_EQ(about_request.destination, there.source);
            EXPECT_EQ(quoted_from(about_request.quote), there.from());
            EXPECT_EQ(quoted_to(about_request.quote), this->vip_at(port)) << port;
            EXPECT_TRUE(about_request.checksum_right);
        }
    }
    EXPECT_EQ(instance.state().workers()[0].flows_inserted.read(), this->ports.size());
    instance.expect_conservation();
}

// The first fragment has the port, the others follow it, both ways.
TYPED_TEST(RangesOf, FragmentsFollowTheirFirst) {
    Instance instance{this->services()};
    std::uint32_t id = 0;
    const auto through = [&](Packet sent) {
        sent.payload.assign(3000, 'x');
        const auto output = instance.burst(fragments_of(sent.build(), 1400, ++id));
        EXPECT_EQ(output.sent.size(), 3U);
        return read(reassembled(output.sent));
    };
    for (const std::uint16_t port : this->ports) {
        const Seen there = through(this->request(port, port, Protocol::udp));
        EXPECT_EQ(there.to(), this->expected(port));
        EXPECT_TRUE(there.checksums_right);
        const Seen back = through(this->reply(there));
        EXPECT_EQ(back.from(), this->vip_at(port));
        EXPECT_TRUE(back.checksums_right);
    }
    instance.expect_conservation();
}

}  // namespace
}  // namespace shunt::test
