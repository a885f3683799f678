// Packets for tests: built field by field, with checksums computed in full by the plain definition, and read back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/net/address.h"
#include "src/net/headers.h"

namespace shunt::test {

using Bytes = std::vector<std::byte>;

struct Packet {
    MacAddress mac_source{{0x02, 0, 0, 0, 0, 0x01}};
    MacAddress mac_destination{{0x02, 0, 0, 0, 0, 0x02}};
    IpAddress source;
    IpAddress destination;
    std::uint16_t source_port{};
    std::uint16_t destination_port{};
    Protocol protocol{Protocol::tcp};
    std::uint8_t tcp_flags{tcp_ack};
    std::uint8_t hop_limit{64};
    std::uint16_t fragment{};  // IPv4 flags and offset, host order
    std::string payload{"payload"};
    std::size_t ipv4_options{};  // bytes, a multiple of 4
    bool udp_checksum{true};

    Bytes build() const;
};

// A packet of TCP or UDP from "ADDR:PORT" to "ADDR:PORT".
Packet packet(const std::string& source, const std::string& destination, Protocol protocol = Protocol::tcp);

// What stands in the bytes; asserts that every length and checksum is right by full computation (`checksums_right`).
struct Seen {
    MacAddress mac_source;
    MacAddress mac_destination;
    IpAddress source;
    IpAddress destination;
    std::uint16_t source_port{};
    std::uint16_t destination_port{};
    Protocol protocol{};
    std::uint8_t hop_limit{};
    std::uint8_t tcp_flags{};
    std::string payload;
    bool checksums_right{};

    std::string from() const { return address_and_port(source, source_port); }
    std::string to() const { return address_and_port(destination, destination_port); }
};
Seen read(std::span<const std::byte> bytes);

}  // namespace shunt::test
