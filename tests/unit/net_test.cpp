#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "src/base/random.h"
#include "src/net/address.h"
#include "src/net/checksum.h"
#include "src/net/packet_hash.h"
#include "src/net/vip.h"

namespace shunt {
namespace {

TEST(IpAddress, ReadsAndPrintsBothFamilies) {
    for (const char* text : {"198.18.0.10", "0.0.0.0", "2001:db8::10", "::", "2001:db8:0:1:1:1:1:1", "fe80::1"}) {
        const auto address = IpAddress::parse(text);
        ASSERT_TRUE(address) << text;
        EXPECT_EQ(address->text(), text);
    }
    EXPECT_EQ(IpAddress::parse("2001:DB8:0:0::1")->text(), "2001:db8::1");
    EXPECT_EQ(*IpAddress::parse("198.18.0.10"), IpAddress::v4(198, 18, 0, 10));
    EXPECT_EQ(IpAddress::parse("198.18.0.10")->family(), Family::ipv4);
    EXPECT_EQ(IpAddress::parse("::1")->family(), Family::ipv6);
}

TEST(IpAddress, RefusesWhatIsNoAddress) {
    for (const char* text :
         {"", "198.18.0", "198.18.0.256", "198.18.0.1 ", "::ffff:198.18.0.1", "2001:db8::g", "[::1]", "1"}) {
        EXPECT_FALSE(IpAddress::parse(text)) << text;
    }
    EXPECT_FALSE(IpAddress::parse(std::string_view("198.18.0.1\0", 11)));
}

TEST(IpAddress, OrdersNumerically) {
    EXPECT_LT(*IpAddress::parse("198.18.0.9"), *IpAddress::parse("198.18.0.10"));
    EXPECT_LT(*IpAddress::parse("2001:db8::9"), *IpAddress::parse("2001:db8::10"));
}

TEST(Vip, ReadsAndWritesOnePortARangeAndAll) {
    for (const char* text : {"198.18.0.10:443/tcp", "[2001:db8::10]:53/udp", "198.18.0.10:8000-8999/udp",
                             "[2001:db8::10]:1-65535/tcp", "198.18.0.10:*/tcp", "[2001:db8::10]:*/udp"}) {
        const auto vip = Vip::parse(text);
        ASSERT_TRUE(vip) << text;
        EXPECT_EQ(vip->text(), text);
    }
    EXPECT_EQ(Vip::parse("198.18.0.10:0/tcp"), Vip::parse("198.18.0.10:*/tcp"));
    EXPECT_EQ(Vip::parse("198.18.0.10:80-80/tcp"), Vip::parse("198.18.0.10:80/tcp"));
    EXPECT_NE(Vip::parse("198.18.0.10:1-65535/tcp"), Vip::parse("198.18.0.10:*/tcp"));
    for (const char* text :
         {"", "198.18.0.10", "198.18.0.10:443", "198.18.0.10/tcp", "198.18.0.10:443/icmp", "198.18.0.10:/tcp",
          "198.18.0.10:80-/tcp", "198.18.0.10:-80/tcp", "198.18.0.10:9-8/tcp", "198.18.0.10:0-8/tcp",
          "198.18.0.10:1-65536/tcp", "198.18.0.10:**/tcp", "198.18.0.10:1-*/tcp", "2001:db8::10:*/tcp",
          "[198.18.0.10]:*/tcp", "[2001:db8::10:*/tcp", "[]:*/tcp", "198.18.0.10: 1/tcp"}) {
        EXPECT_FALSE(Vip::parse(text)) << text;
    }
}

TEST(Vip, RangesContainAndOverlapByTheirEnds) {
    const PortRange range(Be16(255), Be16(256));  // in network order the second is the smaller number
    EXPECT_TRUE(range.contains(Be16(255)) && range.contains(Be16(256)));
    EXPECT_FALSE(range.contains(Be16(254)) || range.contains(Be16(257)));
    EXPECT_TRUE(range.overlaps(Be16(256)) && range.overlaps({Be16(1), Be16(255)}));
    EXPECT_FALSE(range.overlaps(Be16(257)) || range.overlaps({Be16(1), Be16(254)}));
    EXPECT_TRUE(PortRange::all().contains(Be16(0)) && PortRange::all().contains(Be16(65535)));
}

TEST(AddressAndPort, ReadsBothFamilies) {
    EXPECT_EQ(parse_address_and_port("198.18.0.10:443")->port, 443);
    EXPECT_EQ(parse_address_and_port("[2001:db8::10]:443")->address, *IpAddress::parse("2001:db8::10"));
    for (const char* text :
         {"198.18.0.10", "198.18.0.10:", "198.18.0.10:65536", "2001:db8::10:443", "[198.18.0.10]:443",
          "[2001:db8::10]443", ":443", "[]:1", "198.18.0.10:+1", "198.18.0.10:080"}) {
        EXPECT_FALSE(parse_address_and_port(text)) << text;
    }
    EXPECT_EQ(address_and_port(*IpAddress::parse("2001:db8::10"), 443), "[2001:db8::10]:443");
}

TEST(Prefix, ContainsOnlyItsOwn) {
    const auto prefix = Prefix::parse("198.18.0.0/15");
    ASSERT_TRUE(prefix);
    EXPECT_TRUE(prefix->contains(*IpAddress::parse("198.19.255.255")));
    EXPECT_FALSE(prefix->contains(*IpAddress::parse("198.20.0.0")));
    EXPECT_FALSE(prefix->contains(*IpAddress::parse("2001:db8::1")));
    EXPECT_TRUE(Prefix::parse("::/0")->contains(*IpAddress::parse("2001:db8::1")));
    EXPECT_TRUE(Prefix::parse("2001:db8::/33")->contains(*IpAddress::parse("2001:db8:7fff::1")));
    EXPECT_FALSE(Prefix::parse("2001:db8::/33")->contains(*IpAddress::parse("2001:db8:8000::1")));
    EXPECT_FALSE(Prefix::parse("198.18.0.0/33"));
    EXPECT_FALSE(Prefix::parse("::/129"));
}

TEST(MacAddress, RoundTrips) {
    EXPECT_EQ(MacAddress::parse("02:00:00:00:02:0b")->text(), "02:00:00:00:02:0b");
    for (const char* text : {"", "02:00:00:00:02", "02-00-00-00-02-0b", "02:00:00:00:02:0g", "02:00:00:00:02:0b:"}) {
        EXPECT_FALSE(MacAddress::parse(text)) << text;
    }
}

TEST(Checksum, MatchesTheExampleOfRfc1071) {
    const std::array<std::uint8_t, 8> bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    const std::uint16_t raw = internet_checksum(bytes.data(), bytes.size());
    EXPECT_EQ(Be16::from_raw(raw).host(), static_cast<std::uint16_t>(~0xddf2));
}

// Oracle: the plain definition, one 16-bit word at a time.
std::uint16_t plain_checksum(const std::vector<std::uint8_t>& bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) sum += i % 2 ? bytes[i] : std::uint32_t{bytes[i]} << 8;
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

TEST(Checksum, EqualsThePlainDefinitionForAnyLength) {
    Random random(1);
    for (std::size_t length = 0; length < 200; ++length) {
        std::vector<std::uint8_t> bytes(length);
        for (auto& b : bytes) b = static_cast<std::uint8_t>(random());
        EXPECT_EQ(Be16::from_raw(internet_checksum(bytes.data(), length)).host(), plain_checksum(bytes)) << length;
    }
}

TEST(Checksum, IncrementalUpdateEqualsFullComputation) {
    Random random(2);
    for (int run = 0; run < 100'000; ++run) {
        std::array<std::uint64_t, 6> words{};
        for (auto& w : words) w = random.below(8) ? random() : (random.below(2) ? ~0ULL : 0);
        words[5] |= 1;  // a real header is never all zero
        const std::uint16_t before = internet_checksum(words.data(), sizeof words);
        IpAddress::Bytes old_bytes{};
        IpAddress::Bytes new_bytes{};
        std::memcpy(old_bytes.data(), words.data(), 16);
        for (auto& b : new_bytes) b = static_cast<std::uint8_t>(random());
        std::memcpy(words.data(), new_bytes.data(), 16);
        std::uint16_t old_port{};
        std::memcpy(&old_port, &words[2], 2);
        const auto new_port = static_cast<std::uint16_t>(random());
        std::memcpy(&words[2], &new_port, 2);
        ChecksumDelta delta;
        delta.replace(IpAddress::v6(old_bytes), IpAddress::v6(new_bytes));
        delta.replace(old_port, new_port);
        ASSERT_EQ(delta.apply(before), internet_checksum(words.data(), sizeof words));
    }
}

constexpr HashSeed seed{{0x0123456789abcdefULL, 0xfedcba9876543210ULL, 0x0f1e2d3c4b5a6978ULL, 0x8796a5b4c3d2e1f0ULL}};

const FiveTuple v4_tuple{*IpAddress::parse("203.0.113.7"), *IpAddress::parse("198.18.0.10"), Be16(40000), Be16(443),
                         Protocol::tcp};
const FiveTuple v6_tuple{*IpAddress::parse("2001:db8::7"), *IpAddress::parse("2001:db8:1::10"), Be16(40000), Be16(53),
                         Protocol::udp};

TEST(PacketHash, IsANonLinearFunctionOfSeedAndKey) {
    FiveTuple neighbour = v4_tuple;
    neighbour.source_port = Be16(40001);
    HashSeed other = seed;
    other.words[3] ^= 1;
    EXPECT_NE(hash_tuple(seed, v4_tuple), hash_tuple(seed, neighbour));
    EXPECT_NE(hash_tuple(seed, v4_tuple), hash_tuple(other, v4_tuple));
    // A linear hash (CRC) would give the same difference under every seed.
    EXPECT_NE(hash_tuple(seed, v4_tuple) ^ hash_tuple(seed, neighbour),
              hash_tuple(other, v4_tuple) ^ hash_tuple(other, neighbour));
}

TEST(PacketHash, SpreadsEvenlyOverBuckets) {
    std::array<int, 64> counts{};
    for (std::uint32_t i = 0; i < 64'000; ++i) {
        const IpAddress peer = IpAddress::v4(Be32(0xcb007100U + i % 256));
        counts[scale_hash(hash_peer(seed, peer, Be16(static_cast<std::uint16_t>(1024 + i / 256))), counts.size())]++;
    }
    for (const int count : counts) {
        EXPECT_GT(count, 850);
        EXPECT_LT(count, 1150);
    }
}

// Computed by an independent implementation (arbitrary-precision integers).
TEST(PacketHash, TestVectors) {
    EXPECT_EQ(hash_tuple(seed, v4_tuple), 0xf66a606cc0134084ULL);
    EXPECT_EQ(hash_tuple(seed, v6_tuple), 0x72a39cbac52f59e0ULL);
    EXPECT_EQ(hash_peer(seed, v4_tuple.source, v4_tuple.source_port), 0x9563816a35b31188ULL);
    EXPECT_EQ(hash_peer(seed, v6_tuple.source, v6_tuple.source_port), 0xe91d0e6aa8b058c6ULL);
}

}  // namespace
}  // namespace shunt
