// The wire format of flow sync: what is written is read, and nothing else is.
#include <gtest/gtest.h>

#include "controlplane/sync/datagram.h"
#include "controlplane/sync/replay_window.h"
#include "src/base/random.h"
#include "tests/support/sync_key.h"

namespace shunt::test {
namespace {

using namespace controlplane::sync;

constexpr std::uint64_t group = 77;

FlowRecord record(std::uint32_t n, bool v4) {
    const auto address = [&](std::uint8_t last) {
        if (v4) return IpAddress::v4(198, 18, static_cast<std::uint8_t>(n), last);
        IpAddress::Bytes bytes{0x20, 0x01, 0x0d, 0xb8};
        bytes[14] = static_cast<std::uint8_t>(n);
        bytes[15] = last;
        return IpAddress::v6(bytes);
    };
    return {.client = address(1),
            .vip = address(2),
            .backend = address(3),
            .client_port = Be16(static_cast<std::uint16_t>(40000 + n)),
            .vip_port = Be16(443),
            .backend_port = Be16(static_cast<std::uint16_t>(n % 2 ? 8080 : 0)),
            .protocol = n % 3 ? Protocol::tcp : Protocol::udp,
            .state = static_cast<shm::FlowState>(n % 4),
            .idle = n * 1000};
}
std::vector<FlowRecord> records() {
    std::vector<FlowRecord> all;
    for (std::uint32_t n = 0; n < 20; ++n) all.push_back(record(n, n % 2 == 0));
    return all;
}
std::vector<Datagram> one_of_each() {
    return {{false, 1, 2, 3, Hello{1, 2, {3, 4}, 5, 6, 7, true, "lb1", "0.1.0"}},
            {true, 1, 0, 4, Flows{5, records()}},
            {false, 1, 2, 5, Ask{6, 7}},
            {false, 1, 2, 6, Chunk{1, 2, 3, 4, records()}},
            {false, 1, 2, 7, Flows{0, {}}}};
}

TEST(SyncDatagram, WhatIsWrittenIsRead) {
    for (const Datagram& datagram : one_of_each()) {
        const auto opened = open(sync_key(), group, seal(sync_key(), group, datagram));
        ASSERT_TRUE(std::holds_alternative<Datagram>(opened));
        EXPECT_EQ(std::get<Datagram>(opened), datagram);
    }
}

// Other implementations, and other versions of this one, must agree with these bytes.
TEST(SyncDatagram, TheBytesAreThese) {
    const auto bytes = seal(sync_key(), group, {false, 0x11, 0x22, 0x33, Flows{0x44, {record(1, true)}}});
    std::string hex;
    for (const std::byte byte : bytes) {
        constexpr std::string_view digits = "0123456789abcdef";
        hex += digits[static_cast<std::size_t>(byte) >> 4];
        hex += digits[static_cast<std::size_t>(byte) & 15];
    }
    EXPECT_EQ(hex.substr(0, 2 * header_bytes),
              "53485359"
              "0001"
              "01"
              "00"
              "000000000000004d"
              "0000000000000011"
              "0000000000000022"
              "0000000000000033");
    EXPECT_EQ(hex.substr(2 * header_bytes, 2 * (10 + 24)),
              "0000000000000044"
              "0001"
              "11"
              "06"
              "9c41"
              "01bb"
              "1f90"
              "000003e8"
              "c6120101"
              "c6120102"
              "c6120103");
    EXPECT_EQ(bytes.size(), header_bytes + 10 + 24 + mac_bytes);
}

// RFC 4231, test case 2.
TEST(SyncDatagram, TheSignatureIsHmacSha256) {
    const std::string secret = "Jefe", text = "what do ya want for nothing?";
    const auto mac = Key(std::as_bytes(std::span(secret))).sign(std::as_bytes(std::span(text)));
    constexpr std::array<unsigned, 16> expected{0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e,
                                                0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7};
    for (std::size_t i = 0; i < mac.size(); ++i) EXPECT_EQ(static_cast<unsigned>(mac[i]), expected[i]);
}

TEST(SyncDatagram, EveryRefusalHasItsReason) {
    const auto good = seal(sync_key(), group, one_of_each()[0]);
    const auto reason = [](const auto& opened) { return std::get<Refusal>(opened); };
    const auto flipped = [&good](std::size_t at) {
        auto bytes = good;
        bytes[at] ^= std::byte{1};
        return bytes;
    };
    EXPECT_EQ(reason(open(sync_key(), group, {})), Refusal::truncated);
    EXPECT_EQ(reason(open(sync_key(), group, std::span(good).first(50))), Refusal::truncated);
    EXPECT_EQ(reason(open(sync_key(), group, flipped(0))), Refusal::foreign);
    EXPECT_EQ(reason(open(sync_key(), group, flipped(5))), Refusal::version);
    EXPECT_EQ(reason(open(sync_key(), group, flipped(15))), Refusal::group);
    EXPECT_EQ(reason(open(sync_key(), group, flipped(20))), Refusal::forged);
    EXPECT_EQ(reason(open(sync_key(), group, flipped(good.size() - 1))), Refusal::forged);
    EXPECT_EQ(reason(open(sync_key('x'), group, good)), Refusal::forged);
    EXPECT_EQ(reason(open(sync_key(), group, std::span(good).first(good.size() - 1))), Refusal::forged);
}

// Whoever has the key may still send nonsense: signed anew after every change.
TEST(SyncDatagram, SignedNonsenseIsRefusedOrHarmless) {
    Random random(7);
    for (const Datagram& datagram : one_of_each()) {
        const auto good = seal(sync_key(), group, datagram);
        for (int i = 0; i < 4000; ++i) {
            std::vector<std::byte> bytes(good.begin(), good.end() - mac_bytes);
            if (random.below(3) == 0) bytes.resize(header_bytes + random.below(bytes.size() - header_bytes + 1));
            for (std::uint64_t n = random.below(4); n > 0; --n) {
                const std::size_t from = 16;  // what makes it one of this group's
                bytes[6 + (random.below(2) ? 0 : from - 6 + random.below(bytes.size() - from))] =
                    static_cast<std::byte>(random.below(256));
            }
            const auto mac = sync_key().sign(bytes);
            bytes.insert(bytes.end(), mac.begin(), mac.end());
            const auto opened = open(sync_key(), group, bytes);
            if (const auto* read = std::get_if<Datagram>(&opened)) {
                EXPECT_EQ(seal(sync_key(), group, *read).size(), bytes.size());
            } else {
                EXPECT_EQ(std::get<Refusal>(opened), Refusal::truncated);
            }
        }
    }
}

TEST(SyncWindow, TakesEachNumberOnceInAnyOrder) {
    ReplayWindow window;
    EXPECT_FALSE(window.take(0));
    for (const std::uint64_t n : {1, 3, 2, 10, 5}) EXPECT_TRUE(window.take(n)) << n;
    for (const std::uint64_t n : {1, 3, 2, 10, 5}) EXPECT_FALSE(window.take(n)) << n;
    EXPECT_EQ(window.missing(), 5U);
    EXPECT_TRUE(window.take(10 + ReplayWindow::size));
    EXPECT_FALSE(window.take(10));
    EXPECT_TRUE(window.take(11));
    EXPECT_TRUE(window.take(1'000'000));
    EXPECT_FALSE(window.take(11));
    EXPECT_TRUE(window.take(1'000'000 - ReplayWindow::size + 1));
    EXPECT_FALSE(window.take(1'000'000 - ReplayWindow::size));
    EXPECT_FALSE(window.take(1'000'000));
}

TEST(SyncWindow, AgreesWithASet) {
    Random random(3);
    ReplayWindow window;
    std::vector<bool> taken(20'000);
    std::uint64_t highest = 0;
    for (std::uint64_t i = 0; i < 100'000; ++i) {
        const std::uint64_t n = 1 + std::min<std::uint64_t>(i / 6 + random.below(i % 7 == 0 ? 6000 : 50), 19'998);
        const bool in_reach = n + ReplayWindow::size > highest;
        EXPECT_EQ(window.take(n), in_reach && !taken[n]);
        taken[n] = taken[n] || in_reach;
        highest = std::max(highest, n);
    }
}

}  // namespace
}  // namespace shunt::test
