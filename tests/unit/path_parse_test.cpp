#include <gtest/gtest.h>

#include "dataplane/path/parse.h"
#include "src/base/random.h"
#include "src/net/checksum.h"
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
    // The step reads plain packets by a shorter text: what it says is the same, and of the same packets.
    Lane at_a_glance = lane;
    static_cast<Reading&>(at_a_glance) = {};
    EXPECT_EQ(Parse{}.apply(at_a_glance), verdict);
    EXPECT_TRUE(static_cast<const Reading&>(at_a_glance) == static_cast<const Reading&>(lane));
    return {verdict, lane};
}

template <class Bytes>
void set_be16(Bytes& bytes, std::size_t offset, std::uint16_t value) {
    bytes[offset] = static_cast<std::byte>(value >> 8);
    bytes[offset + 1] = static_cast<std::byte>(value & 0xff);
}

constexpr std::size_t ip = 14;

void fix_ipv4_checksum(Bytes& bytes) {
    set_be16(bytes, ip + 10, 0);
    const std::uint16_t sum = internet_checksum(bytes.data() + ip, 20);
    std::memcpy(bytes.data() + ip + 10, &sum, 2);
}

// The frame behind tags of these types.
Bytes tagged(Bytes frame, const std::vector<int>& types) {
    for (auto type = types.rbegin(); type != types.rend(); ++type) {
        Bytes tag(4);
        set_be16(tag, 0, static_cast<std::uint16_t>(*type));
        set_be16(tag, 2, 7);
        frame.insert(frame.begin() + 12, tag.begin(), tag.end());
    }
    return frame;
}

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

TEST(Parse, AFirstFragmentHasPortsALaterOneHasNot) {
    auto p = packet(V4::client, V4::vip, Protocol::udp);
    p.payload = std::string(16, 'x');
    p.fragment = ipv4_more_fragments;
    const auto first = parse_bytes(p.build());
    EXPECT_TRUE(first.verdict.keeps());
    EXPECT_EQ(first.lane.part, Part::first);
    EXPECT_EQ(first.lane.fragment_id, 0x4242U);
    EXPECT_EQ(first.lane.tuple.destination_port, Be16(443));

    p.fragment = 185;
    const auto later = parse_bytes(p.build());
    EXPECT_TRUE(later.verdict.keeps());
    EXPECT_EQ(later.lane.part, Part::later);
    EXPECT_EQ(later.lane.tuple.destination, p.destination);
    EXPECT_EQ(later.lane.tuple.destination_port, Be16{});

    p.fragment = 0;
    EXPECT_EQ(parse_bytes(p.build()).lane.part, Part::whole);

    p.fragment = 185;
    p.protocol = static_cast<Protocol>(51);  // neither TCP nor UDP: IPv4 has no extensions to look behind
    EXPECT_TRUE(parse_bytes(p.build()).verdict.punts());
}

struct Fragment {
    Protocol protocol;
    std::uint16_t word;  // flags and offset
    std::size_t payload;
    Verdict expected;
};

TEST(Parse, AFragmentMustFitItsDatagram) {
    const Verdict invalid = Verdict::drop(DropReason::fragment_invalid);
    const Fragment cases[] = {
        {Protocol::udp, ipv4_more_fragments | 3, 16, Verdict::keep()},
        {Protocol::udp, ipv4_more_fragments | 3, 15, invalid},  // not the last, and no whole units
        {Protocol::udp, 3, 15, Verdict::keep()},
        {Protocol::udp, 1, 16, Verdict::keep()},
        {Protocol::tcp, 1, 16, invalid},  // inside the transport header
        {Protocol::tcp, 2, 16, invalid},
        {Protocol::tcp, 3, 16, Verdict::keep()},
        {Protocol::udp, 0x1fff, 0, invalid},          // 65528 and 8 more
        {Protocol::udp, 0x1ffe, 8, invalid},          // 65520 and 16 more
        {Protocol::udp, 0x1ffd, 8, Verdict::keep()},  // 65512 and 16 more
    };
    for (const auto& c : cases) {
        auto p = packet(V4::client, V4::vip, c.protocol);
        p.fragment = c.word;
        p.payload = std::string(c.payload, 'x');
        EXPECT_EQ(parse_bytes(p.build()).verdict, c.expected) << c.word << ' ' << c.payload;
    }
    auto tiny = packet(V4::client, V4::vip);  // 16 bytes of a TCP header
    tiny.fragment = ipv4_more_fragments;
    Bytes bytes = tiny.build();
    set_be16(bytes, ip + 2, 36);
    bytes.resize(ip + 36);
    fix_ipv4_checksum(bytes);
    EXPECT_EQ(parse_bytes(bytes).verdict, invalid);
}

TEST(Parse, TagsAreReadOver) {
    for (const auto& tags : {std::vector<int>{0x8100}, {0x88a8, 0x8100}, {0x8100, 0x8100}}) {
        const auto p = packet(V6::client, V6::vip);
        const auto [verdict, lane] = parse_bytes(tagged(p.build(), tags));
        EXPECT_TRUE(verdict.keeps());
        EXPECT_EQ(lane.l3_offset, 14 + 4 * tags.size());
        EXPECT_EQ(lane.tuple.destination_port, Be16(443));
    }
    const Bytes plain = packet(V4::client, V4::vip).build();
    EXPECT_TRUE(parse_bytes(tagged(plain, {0x88a8, 0x8100, 0x8100})).verdict.punts());
    Bytes cut = tagged(plain, {0x8100});
    cut.resize(16);
    EXPECT_EQ(parse_bytes(cut).verdict, Verdict::drop(DropReason::header_truncated));
}

// Behind the fixed header: each kind with its own length, then the transport header.
Bytes with_extensions(const test::Packet& p, const std::vector<std::uint8_t>& kinds) {
    Bytes bytes = p.build();
    const auto transport = static_cast<std::uint8_t>(bytes[ip + 6]);
    Bytes chain;
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        const std::uint8_t next = i + 1 < kinds.size() ? kinds[i + 1] : transport;
        const bool authentication = kinds[i] == 51;
        Bytes header(kinds[i] == 44 ? 8 : authentication ? 12 : 16, std::byte{0});
        header[0] = static_cast<std::byte>(next);
        header[1] = std::byte{kinds[i] != 44};  // one unit more: 8 bytes, of authentication 4
        chain.insert(chain.end(), header.begin(), header.end());
    }
    if (!kinds.empty()) bytes[ip + 6] = static_cast<std::byte>(kinds[0]);
    bytes.insert(bytes.begin() + ip + 40, chain.begin(), chain.end());
    set_be16(bytes, ip + 4, static_cast<std::uint16_t>(bytes.size() - ip - 40));
    return bytes;
}

TEST(Parse, ExtensionsAreWalkedUpToABound) {
    const auto p = packet(V6::client, V6::vip);
    for (const auto& kinds :
         {std::vector<std::uint8_t>{0}, {43}, {51}, {60}, {0, 43, 60}, {44}, {0, 60, 43, 51, 60, 135, 139, 140}}) {
        const auto [verdict, lane] = parse_bytes(with_extensions(p, kinds));
        EXPECT_TRUE(verdict.keeps());
        EXPECT_EQ(lane.unsupported, DropReason::not_dropped);
        EXPECT_EQ(lane.part, Part::whole);  // a fragment header of a whole packet: RFC 6946
        EXPECT_EQ(lane.tuple.destination_port, Be16(443)) << kinds.size();
    }
    const auto [verdict, lane] = parse_bytes(with_extensions(p, std::vector<std::uint8_t>(9, 60)));
    EXPECT_TRUE(verdict.keeps());
    EXPECT_EQ(lane.unsupported, DropReason::extension_chain);
    Bytes none = p.build();
    none[ip + 6] = std::byte{59};  // no next header: not ours
    EXPECT_TRUE(parse_bytes(none).verdict.punts());
    Bytes cut = with_extensions(p, {60});
    cut[ip + 41] = std::byte{200};
    EXPECT_EQ(parse_bytes(cut).verdict, Verdict::drop(DropReason::header_truncated));
}

TEST(Parse, Ipv6FragmentsAreKnownByTheirHeader) {
    auto p = packet(V6::client, V6::vip, Protocol::udp);
    p.payload = std::string(16, 'x');
    Bytes bytes = with_extensions(p, {44});
    set_be16(bytes, ip + 42, 1);
    set_be16(bytes, ip + 46, 0x1234);
    const auto first = parse_bytes(bytes);
    EXPECT_TRUE(first.verdict.keeps());
    EXPECT_EQ(first.lane.part, Part::first);
    EXPECT_EQ(first.lane.fragment_id, 0x1234U);
    EXPECT_EQ(first.lane.tuple.source_port, Be16(40000));
    set_be16(bytes, ip + 42, 24 << 3);
    const auto later = parse_bytes(bytes);
    EXPECT_TRUE(later.verdict.keeps());
    EXPECT_EQ(later.lane.part, Part::later);
    bytes[ip + 40] = std::byte{60};  // what its extensions lead to, the first one says
    EXPECT_TRUE(parse_bytes(bytes).verdict.keeps());
    bytes[ip + 40] = std::byte{50};
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
    for (const int type : {0x0806, 0x88cc, 0x8847}) {
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
