#include "src/net/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstdio>

namespace shunt {
namespace {

template <class T>
std::optional<T> parse_decimal(std::string_view text) noexcept {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool leading_zero = text.size() > 1 && text.front() == '0';
    if (error != std::errc{} || end != text.data() + text.size() || leading_zero) return std::nullopt;
    return value;
}

}  // namespace

std::string_view to_string(Protocol protocol) noexcept {
    switch (protocol) {
        case Protocol::icmp:
            return "icmp";
        case Protocol::tcp:
            return "tcp";
        case Protocol::udp:
            return "udp";
        case Protocol::icmpv6:
            return "icmpv6";
    }
    return "?";
}

std::optional<Protocol> parse_protocol(std::string_view text) noexcept {
    for (const Protocol p : {Protocol::icmp, Protocol::tcp, Protocol::udp, Protocol::icmpv6}) {
        if (text == to_string(p)) return p;
    }
    return std::nullopt;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) noexcept {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    if (text.size() >= buffer.size()) return std::nullopt;
    text.copy(buffer.data(), text.size());
    if (std::strlen(buffer.data()) != text.size()) return std::nullopt;  // an embedded NUL
    Bytes bytes{};
    if (inet_pton(AF_INET, buffer.data(), bytes.data()) == 1) return load_v4(bytes.data());
    if (inet_pton(AF_INET6, buffer.data(), bytes.data()) != 1) return std::nullopt;
    const IpAddress address = v6(bytes);
    if (address.is_v4()) return std::nullopt;
    return address;
}

std::string IpAddress::text() const {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    const Bytes raw = bytes();
    if (is_v4()) return inet_ntop(AF_INET, raw.data() + 12, buffer.data(), buffer.size());
    return inet_ntop(AF_INET6, raw.data(), buffer.data(), buffer.size());
}

std::string address_and_port(const IpAddress& address, std::uint16_t port) {
    const std::string number = std::to_string(port);
    return address.is_v4() ? address.text() + ":" + number : "[" + address.text() + "]:" + number;
}

std::string Endpoint::text() const {
    return address_and_port(address, port.host()) + "/" + std::string(to_string(protocol));
}

std::optional<AddressAndPort> parse_address_and_port(std::string_view text) noexcept {
    const bool bracketed = text.starts_with('[');
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || (bracketed && (colon == 0 || text[colon - 1] != ']'))) return std::nullopt;
    const std::string_view host = bracketed ? text.substr(1, colon - 2) : text.substr(0, colon);
    const auto address = IpAddress::parse(host);
    const auto port = parse_decimal<std::uint16_t>(text.substr(colon + 1));
    if (!address || !port || address->is_v4() == bracketed) return std::nullopt;
    return AddressAndPort{*address, *port};
}

std::optional<Prefix> Prefix::parse(std::string_view text) noexcept {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto address = IpAddress::parse(text.substr(0, slash));
    const auto length = parse_decimal<std::uint8_t>(text.substr(slash + 1));
    if (!address || !length || *length > (address->is_v4() ? 32 : 128)) return std::nullopt;
    return Prefix{*address, *length};
}

Prefix Prefix::around(const IpAddress& address, std::uint8_t length) noexcept {
    IpAddress::Bytes bytes = address.bytes();
    const unsigned kept = length + (address.is_v4() ? 96U : 0U);
    for (unsigned bit = kept; bit < 128; ++bit) bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80U >> bit % 8));
    return {IpAddress::v6(bytes), length};
}

bool Prefix::contains(const IpAddress& other) const noexcept {
    if (other.family() != address.family()) return false;
    const IpAddress::Bytes a = address.bytes();
    const IpAddress::Bytes b = other.bytes();
    const unsigned bits = address.is_v4() ? 96U + length : length;
    for (unsigned i = 0; i < bits; i += 8) {
        const unsigned left = bits - i;
        const auto mask = static_cast<std::uint8_t>(left >= 8 ? 0xff : 0xff << (8 - left));
        if ((a[i / 8] ^ b[i / 8]) & mask) return false;
    }
    return true;
}

std::string Prefix::text() const { return address.text() + "/" + std::to_string(length); }

std::optional<MacAddress> MacAddress::parse(std::string_view text) noexcept {
    MacAddress mac;
    if (text.size() != 17) return std::nullopt;
    for (std::size_t i = 0; i < 6; ++i) {
        const char* begin = text.data() + i * 3;
        const auto [end, error] = std::from_chars(begin, begin + 2, mac.bytes[i], 16);
        if (error != std::errc{} || end != begin + 2 || (i < 5 && *end != ':')) return std::nullopt;
    }
    return mac;
}

std::string MacAddress::text() const {
    std::array<char, 18> buffer{};
    std::snprintf(buffer.data(), buffer.size(), "%02x:%02x:%02x:%02x:%02x:%02x", bytes[0], bytes[1], bytes[2], bytes[3],
                  bytes[4], bytes[5]);
    return buffer.data();
}

}  // namespace shunt
