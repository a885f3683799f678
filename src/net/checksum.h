// The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3). Sums are of 16-bit words in
// memory order; the one's complement sum does not care which order that is (RFC 1071 section 2(B)).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "src/net/address.h"

namespace shunt {

// Folds a wide one's complement sum to 16 bits, carries added back.
constexpr std::uint16_t fold_sum(std::uint64_t sum) noexcept {
    // A word plus itself with its halves exchanged: the upper half is the sum of both with the carry of the lower one.
    sum += std::rotl(sum, 32);
    auto half = static_cast<std::uint32_t>(sum >> 32);
    half += std::rotl(half, 16);
    return static_cast<std::uint16_t>(half >> 16);
}

// The unfolded sum of `length` bytes; an odd last byte is padded with zero.
inline std::uint64_t sum_bytes(const void* bytes, std::size_t length) noexcept {
    const auto* p = static_cast<const std::uint8_t*>(bytes);
    std::uint64_t sum = 0;
    for (; length >= 4; p += 4, length -= 4) {
        std::uint32_t word;
        std::memcpy(&word, p, 4);
        sum += word;
    }
    std::uint32_t rest = 0;
    if (length > 0) std::memcpy(&rest, p, length);  // an empty block may have no address at all
    return sum + rest;
}

// The checksum of a whole block, as it is stored: raw, in memory order.
inline std::uint16_t internet_checksum(const void* bytes, std::size_t length, std::uint64_t start = 0) noexcept {
    return static_cast<std::uint16_t>(~fold_sum(start + sum_bytes(bytes, length)));
}

// The unfolded sum of a header of known size, a multiple of 4, without a loop.
template <class Header>
[[gnu::always_inline]] inline std::uint64_t sum_header(const Header& header) noexcept {
    constexpr std::size_t words = sizeof(Header) / sizeof(std::uint32_t);
    static_assert(sizeof(Header) % sizeof(std::uint32_t) == 0);
    const auto word = [&header](std::size_t i) {
        std::uint32_t value;
        std::memcpy(&value, reinterpret_cast<const std::byte*>(&header) + i * sizeof value, sizeof value);
        return std::uint64_t{value};
    };
    const auto sum = [&]<std::size_t... I>(std::index_sequence<I...>) { return (word(I) + ...); };
    return sum(std::make_index_sequence<words>{});
}
// Does the checksum in a header that is not all zeros hold? Folding takes multiples of 0xffff away, and a sum of ones
// is what a right checksum gives.
template <class Header>
[[gnu::always_inline]] inline bool checksum_holds(const Header& header) noexcept {
    return sum_header(header) % 0xffff == 0;
}

// What replacing some words by others does to a checksum: collect with replace(), then apply. RFC 1624: HC' = ~(~HC +
// ~m + m'). Never yields 0xffff from a sum that was not zero, so a correct checksum stays bit for bit what a full
// computation gives.
class FoldedDelta;

class ChecksumDelta {
  public:
    constexpr void replace(std::uint16_t old_word, std::uint16_t new_word) noexcept {
        sum_ += static_cast<std::uint16_t>(~old_word);
        sum_ += new_word;
    }
    constexpr void replace(Be16 old_word, Be16 new_word) noexcept { replace(old_word.raw, new_word.raw); }
    constexpr void replace(Be32 old_word, Be32 new_word) noexcept {
        sum_ += ~old_word.raw;
        sum_ += new_word.raw;
    }
    constexpr void replace(const IpAddress& old_address, const IpAddress& new_address) noexcept {
        add_word(~old_address.high_word());
        add_word(~old_address.low_word());
        add_word(new_address.high_word());
        add_word(new_address.low_word());
    }
    // What changed elsewhere under the same checksum.
    constexpr void add(const ChecksumDelta& other) noexcept { sum_ += other.sum_; }
    constexpr std::uint16_t apply(std::uint16_t checksum) const noexcept {
        return static_cast<std::uint16_t>(~fold_sum(sum_ + static_cast<std::uint16_t>(~checksum)));
    }
    constexpr FoldedDelta folded() const noexcept;

  private:
    constexpr void add_word(std::uint64_t word) noexcept { sum_ += (word >> 32) + (word & 0xffffffffU); }

    std::uint64_t sum_{};
};

// The same, of a change that repeats: folded once, so that little is left to do for each packet.
class FoldedDelta {
  public:
    constexpr FoldedDelta() = default;
    constexpr explicit FoldedDelta(std::uint16_t sum) noexcept : sum_(sum) {}
    constexpr std::uint16_t apply(std::uint16_t checksum) const noexcept {
        // ~(~HC + delta), the carry added back: HC - delta, what was borrowed taken off.
        return static_cast<std::uint16_t>(checksum - sum_ - (checksum < sum_));
    }

  private:
    std::uint16_t sum_{};
};

constexpr FoldedDelta ChecksumDelta::folded() const noexcept { return FoldedDelta(fold_sum(sum_)); }

}  // namespace shunt
