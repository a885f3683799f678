#include "tests/support/packets.h"

#include <cstring>
#include <span>
#include <stdexcept>

namespace shunt::test {
namespace {

// The plain definition of RFC 1071, independent of src/net/checksum.h: big-endian words, end-around carry.
std::uint16_t plain_checksum(std::span<const std::byte> bytes, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const auto byte = std::to_integer<std::uint32_t>(bytes[i]);
        sum += i % 2 ? byte : byte << 8;
    }
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum);
}

std::uint32_t pseudo_sum(const IpAddress& source, const IpAddress& destination, Protocol protocol, std::size_t length) {
    std::uint32_t sum = static_cast<std::uint32_t>(protocol) + static_cast<std::uint32_t>(length);
    for (const IpAddress& address : {source, destination}) {
        const auto bytes = address.bytes();
        for (std::size_t i = address.is_v4() ? 12 : 0; i < 16; i += 2)
            sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    }
    return sum;
}

template <class T>
void append(Bytes& bytes, const T& value) {
    const auto* first = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), first, first + sizeof value);
}

template <class T>
T at(std::span<const std::byte> bytes, std::size_t offset) {
    if (offset + sizeof(T) > bytes.size()) throw std::out_of_range("the packet is too short");
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

Bytes transport(const Packet& p) {
    Bytes bytes;
    if (p.protocol == Protocol::tcp) {
        TcpHeader tcp{};
        tcp.source_port = Be16(p.source_port);
        tcp.destination_port = Be16(p.destination_port);
        tcp.sequence = Be32(12345);
        tcp.data_offset = 5 << 4;
        tcp.flags = p.tcp_flags;
        tcp.window = Be16(1000);
        append(bytes, tcp);
    } else {
        UdpHeader udp{};
        udp.source_port = Be16(p.source_port);
        udp.destination_port = Be16(p.destination_port);
        udp.length = Be16(static_cast<std::uint16_t>(sizeof udp + p.payload.size()));
        append(bytes, udp);
    }
    for (const char c : p.payload) bytes.push_back(static_cast<std::byte>(c));
    std::uint16_t sum = plain_checksum(bytes, pseudo_sum(p.source, p.destination, p.protocol, bytes.size()));
    if (p.protocol == Protocol::udp && sum == 0) sum = 0xffff;
    if (p.protocol == Protocol::udp && !p.udp_checksum) sum = 0;
    const Be16 stored(sum);
    std::memcpy(bytes.data() + (p.protocol == Protocol::tcp ? 16 : 6), &stored, 2);
    return bytes;
}

Bytes ipv4(const Packet& p, const Bytes& payload) {
    Ipv4Header ip{};
    ip.version_and_length = static_cast<std::uint8_t>(0x45 + p.ipv4_options / 4);
    ip.total_length = Be16(static_cast<std::uint16_t>(sizeof ip + p.ipv4_options + payload.size()));
    ip.identification = Be16(0x4242);
    ip.flags_and_offset = Be16(p.fragment);
    ip.hop_limit = p.hop_limit;
    ip.protocol = static_cast<std::uint8_t>(p.protocol);
    ip.source = p.source.as_v4();
    ip.destination = p.destination.as_v4();
    Bytes header;
    append(header, ip);
    header.resize(sizeof ip + p.ipv4_options, std::byte{1});  // no-operation options
    const Be16 sum(plain_checksum(header));
    std::memcpy(header.data() + offsetof(Ipv4Header, checksum), &sum, 2);
    return header;
}

Bytes ipv6(const Packet& p, const Bytes& payload) {
    Ipv6Header ip{};
    ip.version_class_label = Be32(0x60000000U);
    ip.payload_length = Be16(static_cast<std::uint16_t>(payload.size()));
    ip.next_header = static_cast<std::uint8_t>(p.protocol);
    ip.hop_limit = p.hop_limit;
    ip.source = p.source.bytes();
    ip.destination = p.destination.bytes();
    Bytes header;
    append(header, ip);
    return header;
}

}  // namespace

Bytes Packet::build() const {
    const Bytes payload_bytes = transport(*this);
    const Bytes network = source.is_v4() ? ipv4(*this, payload_bytes) : ipv6(*this, payload_bytes);
    Bytes bytes;
    append(bytes,
           EthernetHeader{mac_destination.bytes, mac_source.bytes, source.is_v4() ? ethertype_ipv4 : ethertype_ipv6});
    bytes.insert(bytes.end(), network.begin(), network.end());
    bytes.insert(bytes.end(), payload_bytes.begin(), payload_bytes.end());
    return bytes;
}

Packet packet(const std::string& source, const std::string& destination, Protocol protocol) {
    const auto from = parse_address_and_port(source);
    const auto to = parse_address_and_port(destination);
    if (!from || !to) throw std::invalid_argument(source + " or " + destination + " is no ADDR:PORT");
    Packet p;
    p.source = from->address;
    p.source_port = from->port;
    p.destination = to->address;
    p.destination_port = to->port;
    p.protocol = protocol;
    return p;
}

Seen read(std::span<const std::byte> bytes) {
    Seen seen;
    const auto ethernet = at<EthernetHeader>(bytes, 0);
    seen.mac_source.bytes = ethernet.source;
    seen.mac_destination.bytes = ethernet.destination;
    std::size_t offset = sizeof ethernet;
    std::size_t length = 0;
    bool right = true;
    if (ethernet.type == ethertype_ipv4) {
        const auto ip = at<Ipv4Header>(bytes, offset);
        const std::size_t header = (ip.version_and_length & 15U) * 4U;
        right = plain_checksum(bytes.subspan(offset, header)) == 0;
        seen.source = IpAddress::v4(ip.source);
        seen.destination = IpAddress::v4(ip.destination);
        seen.hop_limit = ip.hop_limit;
        seen.protocol = static_cast<Protocol>(ip.protocol);
        offset += header;
        length = ip.total_length.host() - header;
    } else {
        const auto ip = at<Ipv6Header>(bytes, offset);
        seen.source = IpAddress::load_v6(ip.source.data());
        seen.destination = IpAddress::load_v6(ip.destination.data());
        seen.hop_limit = ip.hop_limit;
        seen.protocol = static_cast<Protocol>(ip.next_header);
        offset += sizeof ip;
        length = ip.payload_length.host();
    }
    const auto rest = bytes.subspan(offset, length);
    seen.source_port = at<Be16>(rest, 0).host();
    seen.destination_port = at<Be16>(rest, 2).host();
    const bool tcp = seen.protocol == Protocol::tcp;
    if (tcp) seen.tcp_flags = at<TcpHeader>(rest, 0).flags;
    for (const std::byte b : rest.subspan(tcp ? sizeof(TcpHeader) : sizeof(UdpHeader)))
        seen.payload.push_back(static_cast<char>(b));
    const bool none = !tcp && at<UdpHeader>(rest, 0).checksum == 0;
    seen.checksums_right =
        right && (none || plain_checksum(rest, pseudo_sum(seen.source, seen.destination, seen.protocol, length)) == 0);
    return seen;
}

}  // namespace shunt::test
