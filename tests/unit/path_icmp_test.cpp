// ICMP errors through the path in mode nat, both directions, and what Shunt itself tells senders.
#include <gtest/gtest.h>

#include "tests/support/path_families.h"

namespace shunt::test {
namespace {

using shm::DropReason;

struct Router4 : V4 {
    static constexpr const char* router = "203.0.113.254";
    static constexpr std::uint8_t unreachable = 3, too_big = 3, too_big_code = 4, time_exceeded = 11;
    static constexpr std::size_t header = 20, longest = 576;
};
struct Router6 : V6 {
    static constexpr const char* router = "2001:db8:ffff::1";
    static constexpr std::uint8_t unreachable = 1, too_big = 2, too_big_code = 0, time_exceeded = 3;
    static constexpr std::size_t header = 40, longest = 1280;
};

template <class F>
class IcmpOf : public testing::Test {
  protected:
    Instance instance{web(F::vip, F::backends())};

    static Bytes frame(const std::string& from, const std::string& to, Protocol protocol, std::size_t payload = 40) {
        Packet p = packet(from, to, protocol);
        p.payload.assign(payload, 'x');
        return p.build();
    }
    static IcmpError about(const Bytes& frame, const IpAddress& to, std::size_t quoted,
                           std::uint8_t type = F::unreachable) {
        IcmpError error;
        error.source = *IpAddress::parse(F::router);
        error.destination = to;
        error.type = type;
        error.code = 1;
        error.rest = 0x1234;
        error.quote = quote_of(frame, quoted);
        return error;
    }
    IcmpError forward(const IcmpError& error, std::size_t worker = 0) {
        const auto output = instance.burst({error.build()}, worker);
        EXPECT_EQ(output.sent.size(), 1U);
        return output.sent.empty() ? IcmpError{} : IcmpError::read(output.sent[0]);
    }
};
using Routers = testing::Types<Router4, Router6>;
TYPED_TEST_SUITE(IcmpOf, Routers);

TYPED_TEST(IcmpOf, AnErrorAboutAReplyReachesTheBackendThatSentIt) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        for (const std::size_t quoted : {TypeParam::header + 8, TypeParam::header + 18, std::size_t{1000}}) {
            for (std::uint32_t n = 0; n < 20; ++n) {
                const Seen there = this->instance.forward(packet(TypeParam::client(n), TypeParam::vip, protocol));
                const Bytes reply = this->frame(TypeParam::vip, TypeParam::client(n), protocol);
                const IcmpError sent = this->about(reply, read(reply).source, quoted);
                const IcmpError got = this->forward(sent);
                EXPECT_EQ(got.destination, there.destination);
                EXPECT_EQ(got.source, sent.source) << "a router keeps its name";
                EXPECT_EQ(quoted_from(got.quote), there.to());
                EXPECT_EQ(quoted_to(got.quote), TypeParam::client(n));
                EXPECT_EQ(got.mac_destination, backend_mac(there.destination));
                EXPECT_EQ(got.rest, 0x1234U);
                EXPECT_TRUE(got.checksum_right);
            }
        }
    }
    this->instance.expect_conservation();
}

TYPED_TEST(IcmpOf, AnErrorAboutARequestReachesTheClientAsOneAboutTheVip) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const std::string client = TypeParam::client(3);
        const Seen there = this->instance.forward(packet(client, TypeParam::vip, protocol));
        const Bytes request = this->frame(client, there.to(), protocol);
        for (const bool from_backend : {true, false}) {
            IcmpError sent = this->about(request, there.source, TypeParam::header + 8);
            if (from_backend) sent.source = there.destination;
            const IcmpError got = this->forward(sent);
            EXPECT_EQ(got.destination, there.source);
            const IpAddress vip = parse_address_and_port(TypeParam::vip)->address;
            EXPECT_EQ(got.source, from_backend ? vip : sent.source);
            EXPECT_EQ(quoted_from(got.quote), client);
            EXPECT_EQ(quoted_to(got.quote), TypeParam::vip);
            EXPECT_EQ(got.mac_destination, gateway_mac);
            EXPECT_TRUE(got.checksum_right);
        }
    }
}

TYPED_TEST(IcmpOf, TheQuotedChecksumFollowsSoThatItsSenderKnowsItsPacket) {
    const std::string client = TypeParam::client(3);
    const Seen there = this->instance.forward(packet(client, TypeParam::vip, Protocol::tcp));
    const IcmpError got =
        this->forward(this->about(this->frame(client, there.to(), Protocol::tcp), there.source, 1000));
    Bytes as_sent = this->frame(client, TypeParam::vip, Protocol::tcp);
    EXPECT_EQ(got.quote, quote_of(as_sent)) << "bit for bit what the client sent";
}

TYPED_TEST(IcmpOf, OnAnyWorkerAndWithoutAFlowByTheTable) {
    Instance many{web(TypeParam::vip, TypeParam::backends()), 4};
    for (std::uint32_t n = 0; n < 40; ++n) {
        const Seen there = many.forward(packet(TypeParam::client(n), TypeParam::vip), 0);
        const Bytes reply = this->frame(TypeParam::vip, TypeParam::client(n), Protocol::tcp);
        const IcmpError error = this->about(reply, read(reply).source, 1000);
        const auto output = many.burst({error.build()}, 1 + n % 3);
        ASSERT_EQ(output.sent.size(), 1U);
        EXPECT_EQ(IcmpError::read(output.sent[0]).destination, there.destination);
        // Another node knows no flow, but has the same table.
        EXPECT_EQ(this->forward(error).destination, there.destination);
    }
    EXPECT_EQ(this->instance.state().workers()[0].flows_inserted.read(), 0U) << "an error is no packet of a flow";
    many.expect_conservation();
}

TYPED_TEST(IcmpOf, WhatIsNoErrorAboutUsIsTheKernels) {
    const IpAddress vip = parse_address_and_port(TypeParam::vip)->address;
    const Bytes reply = this->frame(TypeParam::vip, TypeParam::client(1), Protocol::tcp);
    IcmpError echo = this->about(reply, vip, 60);
    echo.type = TypeParam::header == 20 ? 8 : 128;
    EXPECT_EQ(this->instance.fate(echo.build()), "punted");
    // About another flow than its addressee's.
    EXPECT_EQ(this->instance.fate(this->about(reply, *IpAddress::parse(TypeParam::router), 60).build()), "punted");
    // About a health check of this host.
    const Bytes check = this->frame(TypeParam::own, TypeParam::backends()[0], Protocol::tcp);
    EXPECT_EQ(this->instance.fate(this->about(check, read(check).source, 60).build()), "punted");
    // About something that was never ours.
    const Bytes other = this->frame(TypeParam::other_vip, TypeParam::client(1), Protocol::tcp);
    EXPECT_EQ(this->instance.fate(this->about(other, read(other).source, 60).build()), "punted");
    // Cut off.
    EXPECT_EQ(this->instance.fate(this->about(reply, vip, TypeParam::header + 7).build()), "header_truncated");
    EXPECT_EQ(this->instance.fate(this->about(reply, vip, TypeParam::header - 1).build()), "header_truncated");
    this->instance.expect_conservation();
}

TYPED_TEST(IcmpOf, TheSenderOfWhatHasNoTimeLeftIsTold) {
    Packet p = packet(TypeParam::client(1), TypeParam::vip);
    p.hop_limit = 1;
    p.payload.assign(1200, 'x');
    const auto output = this->instance.burst({p.build()});
    ASSERT_EQ(output.sent.size(), 1U);
    const IcmpError answer = IcmpError::read(output.sent[0]);
    EXPECT_EQ(answer.type, TypeParam::time_exceeded);
    EXPECT_EQ(answer.code, 0);
    EXPECT_EQ(answer.source, p.destination);
    EXPECT_EQ(answer.destination, p.source);
    EXPECT_EQ(answer.mac_destination, p.mac_source);
    EXPECT_EQ(output.sent[0].size(),
              std::min(14 + TypeParam::longest, 14 + TypeParam::header + 8 + TypeParam::header + 1220));
    EXPECT_EQ(answer.quote, quote_of(p.build(), TypeParam::longest - TypeParam::header - 8));
    EXPECT_TRUE(answer.checksum_right);
    EXPECT_EQ(this->instance.state().workers()[0].originated.read(), 1U);
    EXPECT_EQ(this->instance.drops(DropReason::hop_limit_exceeded), 1U);
    this->instance.expect_conservation();
}

TYPED_TEST(IcmpOf, AnswersAreLimited) {
    Packet p = packet(TypeParam::client(1), TypeParam::vip);
    p.hop_limit = 1;
    std::size_t answers = 0;
    for (int i = 0; i < 300; ++i) answers += this->instance.burst({p.build()}).sent.size();
    EXPECT_EQ(answers, 100U);
    this->instance.clock.advance(Duration::milliseconds(10));
    for (int i = 0; i < 300; ++i) answers += this->instance.burst({p.build()}).sent.size();
    EXPECT_EQ(answers, 110U);
    EXPECT_EQ(this->instance.drops(DropReason::hop_limit_exceeded), 600U);
    this->instance.expect_conservation();
}

TYPED_TEST(IcmpOf, NobodyIsToldAboutAnErrorOrALaterFragment) {
    const Bytes reply = this->frame(TypeParam::vip, TypeParam::client(1), Protocol::tcp);
    Bytes error = this->about(reply, read(reply).source, 60).build();
    if (TypeParam::header == 40) {
        error[14 + 7] = std::byte{1};
        EXPECT_TRUE(this->instance.burst({error}).sent.empty());
    }
    Packet p = packet(TypeParam::client(1), TypeParam::vip, Protocol::udp);
    p.payload.assign(2000, 'x');
    p.hop_limit = 1;
    std::size_t answers = 0;
    for (const Bytes& piece : fragments_of(p.build(), 800)) answers += this->instance.burst({piece}).sent.size();
    EXPECT_EQ(answers, 1U);
    EXPECT_EQ(this->instance.drops(DropReason::hop_limit_exceeded), TypeParam::header == 40 ? 4U : 3U);
    this->instance.expect_conservation();
}

TYPED_TEST(IcmpOf, TheSenderOfWhatIsTooLongIsToldWhatFits) {
    this->instance.set_mtu(1400);
    this->instance.publish();
    Packet p = packet(TypeParam::client(1), TypeParam::vip);
    p.fragment = ipv4_dont_fragment;
    for (const std::size_t size : {1399UL, 1400UL, 1401UL}) {
        p.payload.assign(size - TypeParam::header - 20, 'x');
        const auto output = this->instance.burst({p.build()});
        ASSERT_EQ(output.sent.size(), 1U);
        if (size <= 1400) {
            EXPECT_EQ(output.sent[0].size(), 14 + size);
            continue;
        }
        const IcmpError answer = IcmpError::read(output.sent[0]);
        EXPECT_EQ(answer.type, TypeParam::too_big);
        EXPECT_EQ(answer.code, TypeParam::too_big_code);
        EXPECT_EQ(answer.rest, 1400U);
        EXPECT_TRUE(answer.checksum_right);
    }
    EXPECT_EQ(this->instance.drops(DropReason::packet_too_big), 1U);
    // The reply of a backend, too.
    const Seen there = this->instance.forward(packet(TypeParam::client(1), TypeParam::vip));
    Packet reply = packet(there.to(), there.from());
    reply.fragment = ipv4_dont_fragment;
    reply.payload.assign(1401 - TypeParam::header - 20, 'x');
    const auto output = this->instance.burst({reply.build()});
    ASSERT_EQ(output.sent.size(), 1U);
    EXPECT_EQ(IcmpError::read(output.sent[0]).destination, there.destination);
    this->instance.expect_conservation();
}

TEST(Icmp, WhatMayBeFragmentedIsCutAndArrivesWhole) {
    Instance instance{web(V4::vip, V4::backends())};
    instance.set_mtu(600);
    instance.publish();
    for (const std::size_t options : {std::size_t{0}, std::size_t{8}}) {
        for (const std::size_t size : {560UL, 572UL, 573UL, 1000UL, 1400UL}) {
            Packet p = packet(V4::client(1), V4::vip, Protocol::udp);
            p.payload.assign(size, 'x');
            p.ipv4_options = options;
            const auto output = instance.burst({p.build()});
            for (const Bytes& piece : output.sent) EXPECT_LE(piece.size(), 14U + 600U);
            const Seen there = read(reassembled(output.sent));
            EXPECT_EQ(there.payload, p.payload);
            EXPECT_EQ(there.destination_port, 8080);
            EXPECT_TRUE(there.checksums_right);
        }
    }
    EXPECT_GT(instance.state().workers()[0].originated.read(), 0U);
    instance.expect_conservation();
}

// What follows in later pieces may look like a TCP header with an option, and is data all the same.
TEST(Icmp, OfASynThatIsCutOnlyTheFirstPieceHasAHeader) {
    Instance instance{web(V4::vip, V4::backends())};
    instance.set_mtu(700);
    instance.publish();
    Packet syn = packet(V4::client(1), V4::vip);
    syn.tcp_flags = tcp_syn;
    syn.payload.assign(1200, 'x');
    constexpr std::size_t second_piece = 700 - 20 - 20;
    syn.payload.replace(second_piece + 12, 1, "\x60");
    syn.payload.replace(second_piece + 20, 4, "\x02\x04\xff\xff");
    const Seen there = read(reassembled(instance.burst({syn.build()}).sent));
    EXPECT_EQ(there.payload, syn.payload);
}

TEST(Icmp, AFragmentThatIsTooLongIsCutOnceMore) {
    Instance instance{web(V4::vip, V4::backends())};
    instance.set_mtu(700);
    instance.publish();
    Packet p = packet(V4::client(1), V4::vip, Protocol::udp);
    p.payload.assign(5000, 'x');
    std::vector<Bytes> sent;
    for (const Bytes& piece : fragments_of(p.build(), 1480)) {
        const auto output = instance.burst({piece});
        sent.insert(sent.end(), output.sent.begin(), output.sent.end());
    }
    const Seen there = read(reassembled(sent));
    EXPECT_EQ(there.payload, p.payload);
    EXPECT_TRUE(there.checksums_right);
    instance.expect_conservation();
}

TEST(Icmp, WithoutBuffersForThePiecesThePacketIsDropped) {
    Instance instance{web(V4::vip, V4::backends())};
    instance.set_mtu(600);
    instance.publish();
    instance.pool().withhold(instance.pool().size() - 2);
    Packet p = packet(V4::client(1), V4::vip, Protocol::udp);
    p.payload.assign(1400, 'x');
    EXPECT_EQ(instance.fate(p.build()), "no_buffer");
    instance.expect_conservation();
}

}  // namespace
}  // namespace shunt::test
