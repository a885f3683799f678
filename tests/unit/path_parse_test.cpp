#include <gtest/gtest.h>

#include "dataplane/path/parse.h"
#include "src/base/random.h"
#include "tests/support/packets.h"

namespace shunt::dataplane {
namespace {

using shm::DropReason;
using test::Bytes;
using test::packet;

struct Parsed {
    Verdict verdict;
    Lane lane;
};

Parsed parse_bytes(Bytes bytes) {
    // The exact size on the heap: the address sanitizer sees every byte read beyond the packet.
    const auto exact = std::make_unique<std::byte[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), exact.get());
    Lane lane;
    lane.bytes = exact.get();
    lane.length = static_cast<std::uint32_t>(bytes.size());
    const Verdict verdict = parse(lane);
    return {verdict, lane};
}

template <class Bytes>
void set_be16(Bytes& bytes, std::size_t offset, std::uint16_t value) {
    bytes[offset] = static_cast<std::byte>(value >> 8);
    bytes[offset + 1] = static_cast<std::byte>(value & 0xff);
}

constexpr std::size_t ip = 14;

struct V4 {
    static constexpr const char* client = "203.0.113.7:40000";
    static constexpr const char* vip = "198.18.0.10:443";
    static constexpr std::size_t l4 = 34;
};
struct V6 {
    static constexpr const char* client = "[2001:db8::7]:40000";
    static constexpr const char* vip = "[2001:db8:1::10]:443";
    static constexpr std::size_t l4 = 54;
};

template <class F>
class ParseOf : public testing::Test {};
using Families = testing::Types<V4, V6>;
TYPED_TEST_SUITE(ParseOf, Families);

TYPED_TEST(ParseOf, ReadsTheTupleOfTcpAndUdp) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const auto p = packet(TypeParam::client, TypeParam::vip, protocol);
        const auto [verdict, lane] = parse_bytes(p.build());
        EXPECT_TRUE(verdict.keeps());
        EXPECT_EQ(lane.tuple, (FiveTuple{p.source, p.destination, Be16(40000), Be16(443), protocol}));
        EXPECT_EQ(lane.l4_offset, TypeParam::l4);
    }
}

TYPED_TEST(ParseOf, TellsOpeningAndClosingSegments) {
    auto p = packet(TypeParam::client, TypeParam::vip);
    p.tcp_flags = tcp_syn;
    EXPECT_TRUE(parse_bytes(p.build()).lane.is_opening());
    p.tcp_flags = tcp_syn | tcp_ack;
    EXPECT_FALSE(parse_bytes(p.build()).lane.is_opening());
    p.tcp_flags = tcp_fin | tcp_ack;
    EXPECT_TRUE(parse_bytes(p.build()).lane.is_closing());
    p.tcp_flags = tcp_rst;
    EXPECT_TRUE(parse_bytes(p.build()).lane.is_closing());
}

TYPED_TEST(ParseOf, EveryTruncationIsJudgedWithoutReadingBeyond) {
    for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
        const Bytes whole = packet(TypeParam::client, TypeParam::vip, protocol).build();
        for (std::size_t length = 0; length < whole.size(); ++length) {
            const auto [verdict, lane] =
                parse_bytes(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
            ASSERT_FALSE(verdict.keeps()) << length;
            ASSERT_FALSE(verdict.punts()) << length;
            const auto expected = length < TypeParam::l4 ? DropReason::header_truncated : DropReason::length_mismatch;
            EXPECT_EQ(verdict.reason(), expected) << length;
        }
    }
}

TYPED_TEST(ParseOf, TrailingPaddingIsNotAnError) {
    Bytes bytes = packet(TypeParam::client, TypeParam::vip).build();
    bytes.resize(bytes.size() + 18);
    EXPECT_TRUE(parse_bytes(bytes).verdict.keeps());
}

TYPED_TEST(ParseOf, ATransportHeaderThatPromisesTooMuchIsDropped) {
    Bytes tcp = packet(TypeParam::client, TypeParam::vip).build();
    tcp[TypeParam::l4 + 12] = std::byte{0xf0};
    EXPECT_EQ(parse_bytes(tcp).verdict, Verdict::drop(DropReason::length_mismatch));
    tcp[TypeParam::l4 + 12] = std::byte{0x40};
    EXPECT_EQ(parse_bytes(tcp).verdict, Verdict::drop(DropReason::length_mismatch));
    Bytes udp = packet(TypeParam::client, TypeParam::vip, Protocol::udp).build();
    set_be16(udp, TypeParam::l4 + 4, 500);
    EXPECT_EQ(parse_bytes(udp).verdict, Verdict::drop(DropReason::length_mismatch));
    set_be16(udp, TypeParam::l4 + 4, 7);
    EXPECT_EQ(parse_bytes(udp).verdict, Verdict::drop(DropReason::length_mismatch));
}

TYPED_TEST(ParseOf, OtherProtocolsAreTheKernels) {
    const Bytes bytes = [] {
        auto p = packet(TypeParam::client, TypeParam::vip);
        p.protocol = Protocol::icmp;
        return p.build();
    }();
    EXPECT_TRUE(parse_bytes(bytes).verdict.punts());
}

TYPED_TEST(ParseOf, WhatThePortFlaggedIsDropped) {
    Bytes bytes = packet(TypeParam::client, TypeParam::vip).build();
    Lane lane;
    lane.bytes = bytes.data();
    lane.length = static_cast<std::uint32_t>(bytes.size());
    lane.segmented = true;
    EXPECT_EQ(parse(lane), Verdict::drop(DropReason::segmented));
    lane.segmented = false;
    lane.checksum_flagged = true;
    EXPECT_EQ(parse(lane), Verdict::drop(DropReason::checksum_flagged));
}

TEST(Parse, Ipv4OptionsAreWalkedOver) {
    auto p = packet(V4::client, V4::vip);
    p.ipv4_options = 40;
    const auto [verdict, lane] = parse_bytes(p.build());
    EXPECT_TRUE(verdict.keeps());
    EXPECT_EQ(lane.l4_offset, 74);
    EXPECT_EQ(lane.tuple.destination_port, Be16(443));
}

TEST(Parse, Ipv4HeaderMustBeSound) {
    const Bytes good = packet(V4::client, V4::vip).build();
    Bytes bad = good;
    bad[ip] = std::byte{0x55};
    EXPECT_EQ(parse_bytes(bad).verdict, Verdict::drop(DropReason::ipv4_header_invalid));
    bad[ip] = std::byte{0x44};
    EXPECT_EQ(parse_bytes(bad).verdict, Verdict::drop(DropReason::ipv4_header_invalid));
    bad = good;
    bad[ip + 8] ^= std::byte{1};
    EXPECT_EQ(parse_bytes(bad).verdict, Verdict::drop(DropReason::ipv4_checksum_bad));
    bad = good;
    set_be16(bad, ip + 2, 19);
    EXPECT_EQ(parse_bytes(bad).verdict, Verdict::drop(DropReason::length_mismatch));
    set_be16(bad, ip + 2, 60'000);
    EXPECT_EQ(parse_bytes(bad).verdict, Verdict::drop(DropReason::length_mismatch));
}

TEST(Parse, Ipv4FragmentsKeepTheirAddressesOnly) {
    for (const auto fragment : {ipv4_more_fragments, std::uint16_t{185}}) {
        auto p = packet(V4::client, V4::vip);
        p.fragment = fragment;
        const auto [verdict, lane] = parse_bytes(p.build());
        EXPECT_TRUE(verdict.keeps());
        EXPECT_EQ(lane.unsupported, DropReason::fragment_waited);
        EXPECT_EQ(lane.tuple.destination, p.destination);
    }
}

TEST(Parse, Ipv6ExtensionsAndFragmentsKeepTheirAddressesOnly) {
    Bytes bytes = packet(V6::client, V6::vip).build();
    bytes[ip + 6] = std::byte{44};
    EXPECT_EQ(parse_bytes(bytes).lane.unsupported, DropReason::fragment_waited);
    for (const int header : {0, 43, 51, 60, 135}) {
        bytes[ip + 6] = static_cast<std::byte>(header);
        const auto [verdict, lane] = parse_bytes(bytes);
        EXPECT_TRUE(verdict.keeps());
        EXPECT_EQ(lane.unsupported, DropReason::extension_chain);
    }
    bytes[ip + 6] = std::byte{59};  // no next header: not ours
    EXPECT_TRUE(parse_bytes(bytes).verdict.punts());
}

TEST(Parse, Ipv6HeaderMustBeSound) {
    Bytes bytes = packet(V6::client, V6::vip).build();
    bytes[ip] = std::byte{0x40};
    EXPECT_EQ(parse_bytes(bytes).verdict, Verdict::drop(DropReason::ipv6_header_invalid));
    auto p = packet(V6::client, V6::vip);
    Bytes mapped = p.build();
    for (std::size_t i = 0; i < 16; ++i) mapped[ip + 8 + i] = static_cast<std::byte>(i == 10 || i == 11 ? 0xff : 0);
    EXPECT_EQ(parse_bytes(mapped).verdict, Verdict::drop(DropReason::source_invalid));
}

TEST(Parse, WhatIsNotIpIsTheKernels) {
    for (const int type : {0x0806, 0x8100, 0x88a8, 0x88cc}) {
        Bytes bytes = packet(V4::client, V4::vip).build();
        set_be16(bytes, 12, static_cast<std::uint16_t>(type));
        EXPECT_TRUE(parse_bytes(bytes).verdict.punts()) << type;
    }
}

TEST(Parse, RandomBytesGetOneVerdictEach) {
    Random random(11);
    for (int run = 0; run < 200'000; ++run) {
        Bytes bytes = packet(run % 2 ? V4::client : V6::client, run % 2 ? V4::vip : V6::vip).build();
        bytes.resize(random.below(bytes.size() + 1));
        for (std::uint64_t flips = random.below(6); flips > 0 && !bytes.empty(); --flips) {
            bytes[random.below(bytes.size())] = static_cast<std::byte>(random());
        }
        const Verdict verdict = parse_bytes(bytes).verdict;
        const bool dropped = !verdict.keeps() && !verdict.punts();
        ASSERT_EQ(dropped, verdict.reason() != DropReason::not_dropped);
    }
}

}  // namespace
}  // namespace shunt::dataplane
