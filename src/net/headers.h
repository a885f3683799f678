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

struct VlanTag {   // IEEE 802.1Q section 9.6, from the control information on; stands behind its own type
    Be16 control;  // priority (3 bits), drop eligible (1), identifier (12)
    Be16 type;     // of what follows
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

// RFC 8200 section 4. `length` counts 8-byte units beyond the first 8 bytes; 4-byte units beyond the first 8 bytes in
// an authentication header (RFC 4302 section 2.2).
struct Ipv6Extension {
    std::uint8_t next_header;
    std::uint8_t length;
    std::array<std::uint8_t, 6> data;
};

struct Ipv6FragmentHeader {  // RFC 8200 section 4.5
    std::uint8_t next_header;
    std::uint8_t reserved;
    Be16 offset_and_more;  // offset in 8 bytes (13 bits), reserved (2), more (1)
    Be32 identification;
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

struct IcmpHeader {  // RFC 792, RFC 4443 section 2.1
    std::uint8_t type;
    std::uint8_t code;
    std::uint16_t checksum;  // raw
    Be32 rest;               // too big: the MTU (IPv4: its low 16 bits, RFC 1191 section 4)
};

struct GreHeader {  // RFC 2784, RFC 2890
    Be16 flags;
    Be16 protocol;
};

struct GueHeader {  // variant 0 without extensions; draft-ietf-intarea-gue section 3.2
    std::uint8_t variant_and_length;
    std::uint8_t protocol;
    Be16 flags;
};

struct VxlanHeader {  // RFC 7348 section 5
    Be32 flags;
    Be32 network;  // identifier in the high 24 bits
};

#pragma pack(pop)

static_assert(sizeof(VlanTag) == 4 && sizeof(Ipv6Extension) == 8 && sizeof(Ipv6FragmentHeader) == 8);
static_assert(sizeof(IcmpHeader) == 8 && sizeof(GreHeader) == 4 && sizeof(GueHeader) == 4 && sizeof(VxlanHeader) == 8);
static_assert(sizeof(EthernetHeader) == 14 && alignof(EthernetHeader) == 1);
static_assert(sizeof(Ipv4Header) == 20 && sizeof(Ipv6Header) == 40);
static_assert(sizeof(TcpHeader) == 20 && sizeof(UdpHeader) == 8);

constexpr Be16 ethertype_ipv4{0x0800};
constexpr Be16 ethertype_ipv6{0x86dd};

constexpr Be16 ethertype_vlan{0x8100};     // 802.1Q
constexpr Be16 ethertype_service{0x88a8};  // 802.1ad, the outer tag of two

constexpr bool is_tag(Be16 type) noexcept { return type == ethertype_vlan || type == ethertype_service; }

// Protocol numbers (IANA) besides those of Protocol.
constexpr std::uint8_t protocol_icmp = 1;
constexpr std::uint8_t protocol_ipv4 = 4;  // IPv4 in IP
constexpr std::uint8_t protocol_ipv6 = 41;
constexpr std::uint8_t protocol_routing = 43;
constexpr std::uint8_t protocol_fragment = 44;
constexpr std::uint8_t protocol_gre = 47;
constexpr std::uint8_t protocol_authentication = 51;
constexpr std::uint8_t protocol_icmpv6 = 58;

constexpr std::uint8_t tcp_fin = 0x01;
constexpr std::uint8_t tcp_syn = 0x02;
constexpr std::uint8_t tcp_rst = 0x04;
constexpr std::uint8_t tcp_ack = 0x10;

constexpr std::uint16_t ipv4_dont_fragment = 0x4000;  // in flags_and_offset, host order
constexpr std::uint16_t ipv4_more_fragments = 0x2000;
constexpr std::uint16_t ipv4_fragment_offset = 0x1fff;  // the same, in units of 8 bytes

}  // namespace shunt
