#include "tests/support/packets.h"

#include <algorithm>
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

namespace {

constexpr std::size_t ip_at = sizeof(EthernetHeader);

bool is_v4(std::span<const std::byte> frame) { return at<EthernetHeader>(frame, 0).type == ethertype_ipv4; }

template <class T>
void store(Bytes& bytes, std::size_t offset, const T& value) {
    if (offset + sizeof value > bytes.size()) throw std::out_of_range("the packet is too short");
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

void set_ipv4_checksum(Bytes& frame) {
    store(frame, ip_at + offsetof(Ipv4Header, checksum), std::uint16_t{0});
    const std::size_t header = (std::to_integer<std::size_t>(frame[ip_at]) & 15) * 4;
    store(frame, ip_at + offsetof(Ipv4Header, checksum), Be16(plain_checksum(std::span(frame).subspan(ip_at, header))));
}

// Where the payload of the IP header begins.
std::size_t payload_at(std::span<const std::byte> frame) {
    return ip_at + (is_v4(frame) ? (std::to_integer<std::size_t>(frame[ip_at]) & 15) * 4 : sizeof(Ipv6Header));
}

Bytes fragment_v4(const Bytes& frame, std::size_t begin, std::size_t data, bool more, std::uint32_t id) {
    const std::size_t header = payload_at(frame);
    Bytes piece(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(header));
    const auto first = frame.begin() + static_cast<std::ptrdiff_t>(header + begin);
    piece.insert(piece.end(), first, first + static_cast<std::ptrdiff_t>(data));
    store(piece, ip_at + offsetof(Ipv4Header, total_length), Be16(static_cast<std::uint16_t>(piece.size() - ip_at)));
    store(piece, ip_at + offsetof(Ipv4Header, identification), Be16(static_cast<std::uint16_t>(id)));
    const auto word = static_cast<std::uint16_t>(begin / 8 | (more ? ipv4_more_fragments : 0));
    store(piece, ip_at + offsetof(Ipv4Header, flags_and_offset), Be16(word));
    set_ipv4_checksum(piece);
    return piece;
}

Bytes fragment_v6(const Bytes& frame, std::size_t begin, std::size_t data, bool more, std::uint32_t id) {
    const auto ip = at<Ipv6Header>(frame, ip_at);
    Bytes piece(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(payload_at(frame)));
    const auto word = static_cast<std::uint16_t>(begin | (more ? 1U : 0U));
    append(piece, Ipv6FragmentHeader{ip.next_header, 0, Be16(word), Be32(id)});
    const auto first = frame.begin() + static_cast<std::ptrdiff_t>(payload_at(frame) + begin);
    piece.insert(piece.end(), first, first + static_cast<std::ptrdiff_t>(data));
    store(piece, ip_at + offsetof(Ipv6Header, next_header), std::byte{protocol_fragment});
    store(piece, ip_at + offsetof(Ipv6Header, payload_length), Be16(static_cast<std::uint16_t>(data + 8)));
    return piece;
}

struct FragmentView {
    std::size_t offset;
    std::span<const std::byte> data;
};

FragmentView view_of(const Bytes& frame) {
    const std::span<const std::byte> all(frame);
    if (is_v4(frame)) {
        const auto ip = at<Ipv4Header>(frame, ip_at);
        const std::size_t end = ip_at + ip.total_length.host();
        return {(ip.flags_and_offset.host() & ipv4_fragment_offset) * 8U,
                all.subspan(payload_at(frame), end - payload_at(frame))};
    }
    const auto fragment = at<Ipv6FragmentHeader>(frame, payload_at(frame));
    return {fragment.offset_and_more.host() & 0xfff8U, all.subspan(payload_at(frame) + 8)};
}

std::string quoted_end(const Bytes& quote, bool source) {
    const bool v4 = std::to_integer<int>(quote.at(0)) >> 4 == 4;
    const std::size_t ports = v4 ? (std::to_integer<std::size_t>(quote[0]) & 15) * 4 : sizeof(Ipv6Header);
    IpAddress address;
    if (v4) {
        const auto ip = at<Ipv4Header>(quote, 0);
        address = IpAddress::v4(source ? ip.source : ip.destination);
    } else {
        const auto ip = at<Ipv6Header>(quote, 0);
        address = IpAddress::load_v6((source ? ip.source : ip.destination).data());
    }
    return address_and_port(address, at<Be16>(quote, ports + (source ? 0 : 2)).host());
}

}  // namespace

std::vector<Bytes> fragments_of(const Bytes& frame, std::size_t data, std::uint32_t id) {
    const std::size_t all = frame.size() - payload_at(frame);
    std::vector<Bytes> pieces;
    for (std::size_t begin = 0; begin < all; begin += data) {
        const std::size_t here = std::min(data, all - begin);
        const bool more = begin + here < all;
        pieces.push_back(is_v4(frame) ? fragment_v4(frame, begin, here, more, id)
                                      : fragment_v6(frame, begin, here, more, id));
    }
    return pieces;
}

Bytes reassembled(std::vector<Bytes> fragments) {
    std::ranges::sort(fragments, {}, [](const Bytes& piece) { return view_of(piece).offset; });
    const Bytes& first = fragments.at(0);
    Bytes frame(first.begin(), first.begin() + static_cast<std::ptrdiff_t>(payload_at(first)));
    const std::size_t header = frame.size();
    for (const Bytes& piece : fragments) {
        const FragmentView view = view_of(piece);
        if (view.offset != frame.size() - header) throw std::runtime_error("a fragment is missing");
        frame.insert(frame.end(), view.data.begin(), view.data.end());
    }
    const auto length = static_cast<std::uint16_t>(frame.size() - header);
    if (is_v4(first)) {
        store(frame, ip_at + offsetof(Ipv4Header, total_length),
              Be16(static_cast<std::uint16_t>(frame.size() - ip_at)));
        store(frame, ip_at + offsetof(Ipv4Header, flags_and_offset), Be16{});
        set_ipv4_checksum(frame);
    } else {
        store(frame, ip_at + offsetof(Ipv6Header, next_header), at<Ipv6FragmentHeader>(first, header).next_header);
        store(frame, ip_at + offsetof(Ipv6Header, payload_length), Be16(length));
    }
    return frame;
}

Bytes IcmpError::build() const {
    const bool v4 = source.is_v4();
    Bytes message;
    append(message, IcmpHeader{type, code, 0, Be32(rest)});
    message.insert(message.end(), quote.begin(), quote.end());
    const std::uint8_t protocol = v4 ? protocol_icmp : protocol_icmpv6;
    const std::uint32_t pseudo =
        v4 ? 0 : pseudo_sum(source, destination, static_cast<Protocol>(protocol), message.size());
    store(message, offsetof(IcmpHeader, checksum), Be16(plain_checksum(message, pseudo)));
    Packet carrier;
    carrier.mac_destination = mac_destination;
    carrier.source = source;
    carrier.destination = destination;
    carrier.protocol = static_cast<Protocol>(protocol);
    const Bytes network = v4 ? ipv4(carrier, message) : ipv6(carrier, message);
    Bytes frame;
    append(frame, EthernetHeader{carrier.mac_destination.bytes, carrier.mac_source.bytes,
                                 v4 ? ethertype_ipv4 : ethertype_ipv6});
    frame.insert(frame.end(), network.begin(), network.end());
    frame.insert(frame.end(), message.begin(), message.end());
    return frame;
}

IcmpError IcmpError::read(std::span<const std::byte> frame) {
    IcmpError error;
    const bool v4 = is_v4(frame);
    std::size_t end = frame.size();
    if (v4) {
        const auto ip = at<Ipv4Header>(frame, ip_at);
        error.source = IpAddress::v4(ip.source);
        error.destination = IpAddress::v4(ip.destination);
        end = ip_at + ip.total_length.host();
    } else {
        const auto ip = at<Ipv6Header>(frame, ip_at);
        error.source = IpAddress::load_v6(ip.source.data());
        error.destination = IpAddress::load_v6(ip.destination.data());
        end = ip_at + sizeof ip + ip.payload_length.host();
    }
    error.mac_destination.bytes = at<EthernetHeader>(frame, 0).destination;
    const auto message = frame.subspan(payload_at(frame), end - payload_at(frame));
    const auto icmp = at<IcmpHeader>(message, 0);
    error.type = icmp.type;
    error.code = icmp.code;
    error.rest = icmp.rest.host();
    error.quote.assign(message.begin() + sizeof icmp, message.end());
    const std::uint32_t pseudo =
        v4 ? 0 : pseudo_sum(error.source, error.destination, static_cast<Protocol>(protocol_icmpv6), message.size());
    const bool header_right =
        !v4 ||
        plain_checksum(std::span(error.quote).first((std::to_integer<std::size_t>(error.quote[0]) & 15) * 4)) == 0;
    error.checksum_right = header_right && plain_checksum(message, pseudo) == 0;
    return error;
}

Bytes quote_of(const Bytes& frame, std::size_t bytes) {
    Bytes quote(frame.begin() + ip_at, frame.end());
    quote.resize(std::min(quote.size(), bytes));
    return quote;
}

std::string quoted_from(const Bytes& quote) { return quoted_end(quote, true); }
std::string quoted_to(const Bytes& quote) { return quoted_end(quote, false); }

}  // namespace shunt::test
