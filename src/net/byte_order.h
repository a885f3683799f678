// Big-endian integers as types of their own: a value in network order cannot be added to, or compared with, one in
// host order by accident.
#pragma once

#include <bit>
#include <compare>
#include <concepts>
#include <cstdint>
#include <type_traits>

namespace shunt {

static_assert(std::endian::native == std::endian::little, "Shunt runs on little-endian machines");

constexpr std::uint16_t byte_swap(std::uint16_t v) noexcept { return __builtin_bswap16(v); }
constexpr std::uint32_t byte_swap(std::uint32_t v) noexcept { return __builtin_bswap32(v); }
constexpr std::uint64_t byte_swap(std::uint64_t v) noexcept { return __builtin_bswap64(v); }

// Packed, so that it may lie at any address in a packet.
template <std::unsigned_integral T>
struct [[gnu::packed]] BigEndian {
    T raw{};  // as it lies in the packet

    constexpr BigEndian() = default;
    constexpr explicit BigEndian(T host) noexcept : raw(byte_swap(host)) {}
    static constexpr BigEndian from_raw(T raw_value) noexcept {
        BigEndian result;
        result.raw = raw_value;
        return result;
    }
    constexpr T host() const noexcept { return byte_swap(raw); }

    friend constexpr bool operator==(BigEndian, BigEndian) noexcept = default;
    friend constexpr auto operator<=>(BigEndian a, BigEndian b) noexcept { return a.host() <=> b.host(); }
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;

static_assert(sizeof(Be16) == 2 && sizeof(Be32) == 4 && alignof(Be32) == 1);
static_assert(std::is_trivially_copyable_v<Be16> && std::is_standard_layout_v<Be16>);

}  // namespace shunt
