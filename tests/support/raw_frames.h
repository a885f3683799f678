// Frames made by hand, byte by byte, for tests that care about headers and not about what is in the packets: lengths
// are right, checksums are zero.
#pragma once

#include <cstdint>
#include <vector>

#include "src/net/address.h"

namespace shunt::test {

using Bytes = std::vector<std::uint8_t>;

inline Bytes operator+(Bytes front, const Bytes& back) {
    front.insert(front.end(), back.begin(), back.end());
    return front;
}

inline Bytes be16(std::size_t value) {
    return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

inline Bytes address_bytes(const IpAddress& address) {
    const auto bytes = address.bytes();
    return {bytes.begin() + (address.is_v4() ? 12 : 0), bytes.end()};
}

inline Bytes ethernet(const MacAddress& destination, std::uint16_t type, const Bytes& payload) {
    const Bytes source = {0x02, 0, 0, 0, 0, 0x99};
    return Bytes(destination.bytes.begin(), destination.bytes.end()) + source + be16(type) + payload;
}

// `fragment` is the whole 16-bit field: flags and offset. The options' length is a multiple of four.
inline Bytes ipv4(const IpAddress& from, const IpAddress& to, std::uint8_t protocol, const Bytes& payload,
                  std::uint16_t fragment = 0, const Bytes& options = {}) {
    const auto version_and_length = static_cast<std::uint8_t>(0x45 + options.size() / 4);
    return Bytes{version_and_length, 0} + be16(20 + options.size() + payload.size()) + be16(1) + be16(fragment) +
           Bytes{64, protocol, 0, 0} + address_bytes(from) + address_bytes(to) + options + payload;
}

inline Bytes ipv6(const IpAddress& from, const IpAddress& to, std::uint8_t next, const Bytes& payload) {
    return Bytes{0x60, 0, 0, 0} + be16(payload.size()) + Bytes{next, 64} + address_bytes(from) + address_bytes(to) +
           payload;
}

// Hop-by-hop, destination options or routing: 8 × (1 + units) bytes. The filling is no header's number.
inline Bytes extension(std::uint8_t next, std::uint8_t units, const Bytes& payload) {
    return Bytes{next, units} + Bytes(std::size_t{6} + std::size_t{8} * units, 0xee) + payload;
}

// `offset` in bytes, a multiple of eight.
inline Bytes fragment_header(std::uint8_t next, std::uint16_t offset, bool more, const Bytes& payload) {
    return Bytes{next, 0} + be16(offset | (more ? 1U : 0U)) + Bytes{0, 0, 0, 7} + payload;
}

// The first 20 bytes of TCP, or 8 of UDP and a little payload: what matters here are the ports.
inline Bytes transport(std::uint16_t from_port, std::uint16_t to_port) {
    return be16(from_port) + be16(to_port) + Bytes(16);
}

inline Bytes icmp(std::uint8_t type, const Bytes& quoted) { return Bytes{type, 0, 0, 0, 0, 0, 0, 0} + quoted; }

}  // namespace shunt::test
