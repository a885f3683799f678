// The one keyed hash of packets. Non-linear in key and seed, so that whoever does not know the seed cannot aim at a
// slot or a bucket (CRC would let him: its collisions are the same under every seed). Two folded 64-bit
// multiplications for IPv4, three for IPv6. Test vectors: tests/unit/net_test.cpp.
#pragma once

#include <array>
#include <cstdint>

#include "src/net/address.h"

namespace shunt {

// 32 secret bytes as four words. The site's seed keys the choice of a slot and is the same on every node of a site; a
// random seed of the state region keys the flow table.
struct HashSeed {
    std::array<std::uint64_t, 4> words{};
    friend constexpr bool operator==(const HashSeed&, const HashSeed&) noexcept = default;
};

// High half xor low half of the 128-bit product.
constexpr std::uint64_t folded_multiply(std::uint64_t a, std::uint64_t b) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// What a flow looks like from the client: source and destination as they stand in the client's packets.
struct FiveTuple {
    IpAddress source;
    IpAddress destination;
    Be16 source_port;
    Be16 destination_port;
    Protocol protocol{};
    friend constexpr bool operator==(const FiveTuple&, const FiveTuple&) noexcept = default;
};

// Chooses the slot of a look-up table.
constexpr std::uint64_t hash_tuple(const HashSeed& seed, const FiveTuple& t) noexcept {
    const auto& k = seed.words;
    std::uint64_t h = folded_multiply(t.source.low_word() ^ k[0], t.destination.low_word() ^ k[1]);
    if (t.source.family() == Family::ipv6) {
        h = folded_multiply(t.source.high_word() ^ h ^ k[2], t.destination.high_word() ^ k[0]);
    }
    const std::uint64_t ports = std::uint64_t{t.source_port.raw} << 32 | std::uint64_t{t.destination_port.raw} << 16 |
                                static_cast<std::uint64_t>(t.protocol);
    return folded_multiply(h ^ k[2], ports ^ k[3]);
}

// Chooses the two buckets of the flow table: by the peer alone, so that both directions of a flow meet there and the
// prefetch can start before the service is known.
constexpr std::uint64_t hash_peer(const HashSeed& seed, const IpAddress& peer, Be16 port) noexcept {
    const auto& k = seed.words;
    const std::uint64_t h = folded_multiply(peer.low_word() ^ k[0], peer.high_word() ^ k[1]);
    return folded_multiply(h ^ k[2], port.raw ^ k[3]);
}

// Maps a hash to [0, size) by its high bits.
constexpr std::uint64_t scale_hash(std::uint64_t hash, std::uint64_t size) noexcept {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(hash) * size) >> 64);
}

}  // namespace shunt
