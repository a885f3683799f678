// Packet headers as they lie on the wire. Fields only; no logic. All are read and written in place through
// pointers into packet bytes, so every header has alignment 1.
#pragma once

#include <array>
#include <cstdint>

#include "src/net/byte_order.h"

namespace shunt {

#pragma pack(push, 1)

struct EthernetHeader {  // IEEE 802.3 section 3.2
    std::array<std::uint8_t, 6> destination;
    std::array<std::uint8_t, 6> source;
    Be16 type;
};

struct Ipv4Header {  // RFC 791 section 3.1
    std::uint8_t version_and_length;
    std::uint8_t dscp_and_ecn;
    Be16 total_length;
    Be16 identification;
    Be16 flags_and_offset;
    std::uint8_t hop_limit;
    std::uint8_t protocol;
    std::uint16_t checksum;  // raw: checksums are computed in memory order (RFC 1071 section 2(B))
    Be32 source;
    Be32 destination;
};

struct Ipv6Header {  // RFC 8200 section 3
    Be32 version_class_label;
    Be16 payload_length;
    std::uint8_t next_header;
    std::uint8_t hop_limit;
    std::array<std::uint8_t, 16> source;
    std::array<std::uint8_t, 16> destination;
};

struct TcpHeader {  // RFC 9293 section 3.1
    Be16 source_port;
    Be16 destination_port;
    Be32 sequence;
    Be32 acknowledgement;
    std::uint8_t data_offset;
    std::uint8_t flags;
    Be16 window;
    std::uint16_t checksum;  // raw
    Be16 urgent;
};

struct UdpHeader {  // RFC 768
    Be16 source_port;
    Be16 destination_port;
    Be16 length;
    std::uint16_t checksum;  // raw; zero means none (IPv4 only)
};

#pragma pack(pop)

static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);
static_assert(sizeof(Ipv4Header) == 20 && sizeof(Ipv6Header) == 40);
static_assert(sizeof(TcpHeader) == 20 && sizeof(UdpHeader) == 8);

constexpr Be16 ethertype_ipv4{0x0800};
constexpr Be16 ethertype_ipv6{0x86dd};

constexpr std::uint8_t tcp_fin = 0x01;
constexpr std::uint8_t tcp_syn = 0x02;
constexpr std::uint8_t tcp_rst = 0x04;
constexpr std::uint8_t tcp_ack = 0x10;

constexpr std::uint16_t ipv4_more_fragments = 0x2000;   // in flags_and_offset, host order
constexpr std::uint16_t ipv4_fragment_offset = 0x1fff;  // the same, in units of 8 bytes

}  // namespace shunt
