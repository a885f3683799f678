// Established flows are forwarded by a worker's cache. Whatever it was made of changes between two bursts: the next
// packet must go as the tables say, just as if there were no cache.
#include <gtest/gtest.h>

#include "dataplane/tables/link_addresses.h"
#include "dataplane/tables/path_mtus.h"
#include "tests/support/path_families.h"

namespace shunt::test {
namespace {

template <class F>
class ForwardingCacheOf : public testing::Test {
  protected:
    static constexpr std::uint32_t flows = 60;

    Instance instance{web(F::vip, F::backends())};

    static Packet request(std::uint32_t n, Protocol protocol = Protocol::tcp) {
        return packet(F::client(n), F::vip, protocol);
    }
    // Opens flows and lets two more packets of each pass, so that the cache has every backend.
    std::vector<Seen> establish() {
        std::vector<Seen> seen;
        for (std::uint32_t n = 0; n < flows; ++n) {
            Packet opening = request(n);
            opening.tcp_flags = tcp_syn;
            instance.forward(opening);
            instance.forward(request(n));
            seen.push_back(instance.forward(request(n)));
        }
        return seen;
    }
    std::vector<config::Backend>& backends() { return instance.services()[0].backends; }
};
TYPED_TEST_SUITE(ForwardingCacheOf, Families);

TYPED_TEST(ForwardingCacheOf, TheTenthPacketOfAFlowIsForwardedAsTheFirst) {
    Seen first = this->instance.forward(this->request(1));
    for (int i = 0; i < 10; ++i) {
        const Seen later = this->instance.forward(this->request(1));
        EXPECT_EQ(later.to(), first.to());
        EXPECT_EQ(later.from(), first.from());
        EXPECT_EQ(later.mac_source, first.mac_source);
        EXPECT_EQ(later.mac_destination, first.mac_destination);
        EXPECT_EQ(later.hop_limit, first.hop_limit);
        EXPECT_TRUE(later.checksums_right);
    }
    const auto counters = this->instance.state().backends(WorkerIndex(0));
    std::uint64_t counted = 0;
    for (const auto& backend : counters) counted += backend.forth.packets.read();
    EXPECT_EQ(counted, 11U);
}

// Of every TTL, so of every checksum that its decrement meets, and of ports enough for every carry.
TYPED_TEST(ForwardingCacheOf, ChecksumsAreRightWhateverThePacket) {
    for (std::uint32_t n = 0; n < 2000; ++n) {
        Packet sent = this->request(n % 250);
        sent.hop_limit = static_cast<std::uint8_t>(2 + n % 254);
        sent.payload = std::string(n % 7, static_cast<char>('a' + n % 26));
        const Seen seen = this->instance.forward(sent);
        ASSERT_TRUE(seen.checksums_right) << n;
        ASSERT_EQ(seen.hop_limit, sent.hop_limit - 1);
    }
}

TYPED_TEST(ForwardingCacheOf, ABackendThatIsGoneIsNotSentTo) {
    const auto before = this->establish();
    const auto gone = this->backends()[0].address;
    this->backends().erase(this->backends().begin());
    this->instance.publish();
    for (std::uint32_t n = 0; n < this->flows; ++n) {
        const Seen now = this->instance.forward(this->request(n));
        EXPECT_NE(now.destination, gone);
        if (before[n].destination != gone) {
            EXPECT_EQ(now.to(), before[n].to());
        }
    }
}

TYPED_TEST(ForwardingCacheOf, AnIndexGivenToAnotherBackendIsAMiss) {
    this->establish();
    const IpAddress gone = this->backends()[0].address;
    auto bytes = gone.bytes();
    for (std::uint8_t last = 0x60; last < 0x70; ++last) {  // long enough for the index to be used again
        bytes[15] = last;
        this->backends()[0].address = IpAddress::v6(bytes);
        this->instance.publish();
        for (std::uint32_t n = 0; n < this->flows; ++n) {
            const Seen now = this->instance.forward(this->request(n));
            const bool is_there = std::any_of(this->backends().begin(), this->backends().end(),
                                              [&](const auto& b) { return b.address == now.destination; });
            EXPECT_TRUE(is_there) << now.to();
            EXPECT_EQ(now.mac_destination, backend_mac(now.destination));
            EXPECT_TRUE(now.checksums_right);
        }
    }
}

TYPED_TEST(ForwardingCacheOf, ALoweredMtuHoldsAtOnce) {
    this->establish();
    Packet sent = this->request(1);
    sent.payload = std::string(1350, 'x');
    sent.fragment = ipv4_dont_fragment;
    EXPECT_EQ(this->instance.fate(sent.build()), "forwarded");
    this->instance.set_mtu(1300);
    this->instance.publish();
    EXPECT_EQ(this->instance.fate(sent.build()), "packet_too_big");
    this->instance.set_mtu(1500);
    this->instance.publish();
    EXPECT_EQ(this->instance.fate(sent.build()), "forwarded");
}

TYPED_TEST(ForwardingCacheOf, ADeadHopLimitIsDeadAlsoInAFlow) {
    this->establish();
    Packet sent = this->request(1);
    sent.hop_limit = 1;
    EXPECT_EQ(this->instance.fate(sent.build()), "hop_limit_exceeded");
}

TYPED_TEST(ForwardingCacheOf, AFlowThatTimedOutIsNotContinuedByTheCache) {
    const auto before = this->establish();
    for (auto& b : this->backends()) {
        if (b.address == before[1].destination) b.weight = 0;  // takes no new flows: where it goes shows what it is
    }
    this->instance.publish();
    EXPECT_EQ(this->instance.forward(this->request(1)).to(), before[1].to());
    this->instance.clock.advance(Duration::seconds(8 * 24 * 3600));
    EXPECT_NE(this->instance.forward(this->request(1)).to(), before[1].to());
}

TYPED_TEST(ForwardingCacheOf, AServiceThatNoLongerKeepsFlowsGoesByItsTable) {
    const auto before = this->establish();
    auto& service = this->instance.services()[0];
    service.backends.erase(service.backends.begin() + 1, service.backends.end());
    service.flows = false;
    this->instance.publish();
    for (std::uint32_t n = 0; n < this->flows; ++n) {
        EXPECT_EQ(this->instance.forward(this->request(n)).destination, service.backends[0].address);
    }
}

// Two listeners of one service have the same backends, but not the same way there: the checksums tell.
TYPED_TEST(ForwardingCacheOf, ListenersOfOneServiceDoNotTakeEachOthersEntries) {
    auto& service = this->instance.services()[0];
    service.vips.clear();
    std::vector<std::string> vips;
    for (std::uint32_t i = 0; i < 9; ++i) {
        vips.push_back(
            address_and_port(parse_address_and_port(TypeParam::vip)->address, static_cast<std::uint16_t>(443 + i)));
        service.vips.push_back(vip(vips.back() + "/tcp"));
    }
    this->instance.publish();
    for (std::uint32_t round = 0; round < 3; ++round) {
        for (std::uint32_t n = 0; n < 90; ++n) {
            const Seen seen = this->instance.forward(packet(TypeParam::client(n), vips[n % 9]));
            EXPECT_TRUE(seen.checksums_right);
            EXPECT_EQ(seen.destination_port, 8080);
            const Seen back = this->instance.forward(packet(seen.to(), seen.from()));
            EXPECT_EQ(back.from(), vips[n % 9]);
            EXPECT_TRUE(back.checksums_right);
        }
    }
}

// The kernel's neighbours: the word that says the link address changes under the cache, without a publication.
TEST(ForwardingCache, ALinkAddressThatChangesIsFollowedAtOnce) {
    config::DesiredState desired;
    config::Port lan;
    lan.name = "lan0";
    desired.dataplane.ports.push_back(lan);
    desired.services = web(V4::vip, {"198.18.2.11:8080"});
    Instance instance(desired);
    instance.add_neighbours("198.18.2.0/24");
    const shm::State state = instance.state();
    dataplane::LinkAddresses links(state.links(), state.neighbours());
    NextHopIndex to_backend{};
    std::uint16_t version = 0;
    const auto hops = instance.tables().next_hops();
    for (std::uint16_t i = 1; i < hops.size(); ++i) {
        if (hops[i].address != *IpAddress::parse("198.18.2.11")) continue;
        to_backend = NextHopIndex(i);
        version = hops[i].version;
    }
    ASSERT_TRUE(to_backend);
    const Packet sent = packet(V4::client(1), V4::vip);
    EXPECT_EQ(instance.fate(sent.build()), "punted");
    for (std::uint8_t last = 1; last <= 3; ++last) {
        const MacAddress mac{{2, 2, 2, 2, 2, last}};
        links.set_next_hop(to_backend, version, mac);
        for (int i = 0; i < 3; ++i) EXPECT_EQ(instance.forward(sent).mac_destination, mac);
    }
    links.set_next_hop(to_backend, version, std::nullopt);
    EXPECT_EQ(instance.fate(sent.build()), "punted");
    links.set_next_hop(to_backend, static_cast<std::uint16_t>(version + 1), MacAddress{{2, 2, 2, 2, 2, 9}});
    EXPECT_EQ(instance.fate(sent.build()), "punted");  // the index was given to another address
}

// What an error said about the way to a tunnel's end counts from the next burst on.
TEST(ForwardingCache, APathMtuThatWasLearntHoldsAtOnce) {
    auto services = web(V4::vip, {"198.18.2.11"});
    services[0].mode = ForwardingMode::ipip;
    Instance instance(services);
    instance.desired().node.source = {*IpAddress::parse("198.18.1.2"), *IpAddress::parse("2001:db8:1::2")};
    instance.publish();
    Packet sent = packet(V4::client(1), V4::vip);
    sent.payload = std::string(1000, 'x');
    sent.fragment = ipv4_dont_fragment;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(instance.fate(sent.build()), "forwarded");
    const shm::State state = instance.state();
    dataplane::PathMtus mtus(state.path_mtus(), state.header().path_mtus_known);
    mtus.lower(*IpAddress::parse("198.18.2.11"), 700, Tick::at(instance.clock.now()));
    EXPECT_EQ(instance.fate(sent.build()), "packet_too_big");
}

}  // namespace
}  // namespace shunt::test
