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

// The frame cut into fragments with at most `data` bytes each (a multiple of 8), in order.
std::vector<Bytes> fragments_of(const Bytes& frame, std::size_t data, std::uint32_t id = 0x4242);
// The frame of which these are the fragments, in any order. Throws if bytes are missing.
Bytes reassembled(std::vector<Bytes> fragments);

// An ICMP error: what it says, and the packet it quotes, from the IP header on.
struct IcmpError {
    IpAddress source;
    IpAddress destination;
    std::uint8_t type{};
    std::uint8_t code{};
    std::uint32_t rest{};
    Bytes quote;
    MacAddress mac_destination{{0x02, 0, 0, 0, 0, 0x02}};
    bool checksum_right{};  // when read: also of a quoted IPv4 header

    Bytes build() const;
    static IcmpError read(std::span<const std::byte> frame);
};
// The IP packet in a frame, at most `bytes` of it.
Bytes quote_of(const Bytes& frame, std::size_t bytes = 65'535);
// The ends of a quoted packet: "ADDR:PORT".
std::string quoted_from(const Bytes& quote);
std::string quoted_to(const Bytes& quote);

}  // namespace shunt::test
