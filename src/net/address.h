// Addresses as values. One type serves both families: 16 bytes in network order, IPv4 in its mapped form
// ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), which never occurs on the wire as IPv6 and is refused as input.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "src/net/byte_order.h"

namespace shunt {

enum class Family : std::uint8_t { ipv4 = 4, ipv6 = 6 };

enum class Protocol : std::uint8_t { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58 };

std::string_view to_string(Protocol protocol) noexcept;  // "tcp", "udp", …
std::optional<Protocol> parse_protocol(std::string_view text) noexcept;

class IpAddress {
  public:
    using Bytes = std::array<std::uint8_t, 16>;

    constexpr IpAddress() = default;  // :: (unspecified)

    static constexpr IpAddress v4(Be32 address) noexcept {
        return {0, mapped_prefix | std::uint64_t{address.raw} << 32};
    }
    static constexpr IpAddress v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) noexcept {
        return v4(Be32(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d));
    }
    static constexpr IpAddress v6(const Bytes& bytes) noexcept { return std::bit_cast<IpAddress>(bytes); }
    // 4 or 16 bytes in network order, as found in a packet or a netlink message.
    static IpAddress load_v4(const void* bytes) noexcept {
        Be32 address;
        std::memcpy(&address, bytes, sizeof address);
        return v4(address);
    }
    static IpAddress load_v6(const void* bytes) noexcept {
        IpAddress address;
        std::memcpy(&address, bytes, sizeof address);
        return address;
    }
    // Dotted IPv4, or IPv6 in any form of RFC 4291 section 2.2 but the mapped one. No brackets, no zone, no port.
    static std::optional<IpAddress> parse(std::string_view text) noexcept;

    constexpr Family family() const noexcept {
        return high_ == 0 && static_cast<std::uint32_t>(low_) == mapped_prefix ? Family::ipv4 : Family::ipv6;
    }
    constexpr bool is_v4() const noexcept { return family() == Family::ipv4; }
    constexpr bool is_unspecified() const noexcept { return high_ == 0 && (low_ == 0 || low_ == mapped_prefix); }
    constexpr Be32 as_v4() const noexcept { return Be32::from_raw(static_cast<std::uint32_t>(low_ >> 32)); }
    constexpr Bytes bytes() const noexcept { return std::bit_cast<Bytes>(*this); }
    // The two halves as they lie in memory; for hashing and comparing only.
    constexpr std::uint64_t high_word() const noexcept { return high_; }
    constexpr std::uint64_t low_word() const noexcept { return low_; }

    std::string text() const;  // dotted, or RFC 5952

    friend constexpr bool operator==(const IpAddress&, const IpAddress&) noexcept = default;
    // Numeric order, IPv4 among the IPv6 addresses where its mapped form stands.
    friend constexpr auto operator<=>(const IpAddress& a, const IpAddress& b) noexcept {
        return a.bytes() <=> b.bytes();
    }

  private:
    static constexpr std::uint64_t mapped_prefix = 0xffff0000U;  // bytes 8..11 of ::ffff:0:0 as a little-endian word

    constexpr IpAddress(std::uint64_t high, std::uint64_t low) noexcept : high_(high), low_(low) {}

    std::uint64_t high_{};  // bytes 0..7 as they lie in memory
    std::uint64_t low_{};   // bytes 8..15
};
static_assert(sizeof(IpAddress) == 16);

// A transport endpoint: what a listener, a backend or a flow's end is called.
struct Endpoint {
    IpAddress address;
    Be16 port;
    Protocol protocol{Protocol::tcp};

    std::string text() const;  // "198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"
    friend constexpr bool operator==(const Endpoint&, const Endpoint&) noexcept = default;
    friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) noexcept = default;
};

// "198.18.2.11:443" or "[2001:db8::1]:443" (RFC 5952 section 6).
std::string address_and_port(const IpAddress& address, std::uint16_t port);

// Reads "ADDR:PORT" or "[ADDR]:PORT"; the port is required. Nothing if the text is anything else.
struct AddressAndPort {
    IpAddress address;
    std::uint16_t port{};
    friend constexpr bool operator==(const AddressAndPort&, const AddressAndPort&) noexcept = default;
};
std::optional<AddressAndPort> parse_address_and_port(std::string_view text) noexcept;

// A prefix in CIDR form. For IPv4 `length` counts from 0 to 32.
struct Prefix {
    IpAddress address;
    std::uint8_t length{};

    static std::optional<Prefix> parse(std::string_view text) noexcept;
    // The one of this length that holds the address: no bits beyond the length.
    static Prefix around(const IpAddress& address, std::uint8_t length) noexcept;
    bool contains(const IpAddress& address) const noexcept;
    std::string text() const;
    friend constexpr bool operator==(const Prefix&, const Prefix&) noexcept = default;
    friend constexpr auto operator<=>(const Prefix&, const Prefix&) noexcept = default;
};

struct MacAddress {
    std::array<std::uint8_t, 6> bytes{};

    // As it lies in memory, in the low 48 bits of a word; 0 is no address of anybody's.
    constexpr std::uint64_t word() const noexcept {
        const auto byte = [this](std::size_t i) { return std::uint32_t{bytes[i]} << 8 * (i % 4); };
        const std::uint32_t low = byte(0) | byte(1) | byte(2) | byte(3);  // one load
        const std::uint32_t high = byte(4) | byte(5);                     // another
        return std::uint64_t{high} << 32 | low;
    }
    static constexpr MacAddress of_word(std::uint64_t word) noexcept {
        MacAddress mac;
        for (std::size_t i = 0; i < mac.bytes.size(); ++i) mac.bytes[i] = static_cast<std::uint8_t>(word >> 8 * i);
        return mac;
    }

    static std::optional<MacAddress> parse(std::string_view text) noexcept;  // "02:00:00:00:02:0b"
    std::string text() const;
    friend constexpr bool operator==(const MacAddress&, const MacAddress&) noexcept = default;
    friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) noexcept = default;
};

}  // namespace shunt
