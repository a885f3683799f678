#include "src/net/vip.h"

#include <charconv>

namespace shunt {
namespace {

std::optional<std::uint16_t> parse_port(std::string_view text) noexcept {
    std::uint16_t port{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return port;
}

std::optional<PortRange> parse_ports(std::string_view text) noexcept {
    if (text == "*") return PortRange::all();
    const std::size_t dash = text.find('-');
    const auto first = parse_port(text.substr(0, dash));
    if (dash == std::string_view::npos) {
        if (first == std::uint16_t{0}) return PortRange::all();
        return first ? std::optional(PortRange(Be16(*first))) : std::nullopt;
    }
    const auto last = parse_port(text.substr(dash + 1));
    if (!first || !last || *first == 0 || *last < *first) return std::nullopt;
    return PortRange(Be16(*first), Be16(*last));
}

// An IPv6 address stands in brackets.
std::optional<IpAddress> parse_host(std::string_view text) noexcept {
    const bool bracketed = text.size() >= 2 && text.front() == '[' && text.back() == ']';
    const auto address = IpAddress::parse(bracketed ? text.substr(1, text.size() - 2) : text);
    return address && address->is_v4() != bracketed ? address : std::nullopt;
}

}  // namespace

std::string PortRange::text() const {
    if (is_all()) return "*";
    return is_one() ? std::to_string(first.host()) : std::to_string(first.host()) + "-" + std::to_string(last.host());
}

std::optional<Vip> Vip::parse(std::string_view text) noexcept {
    const std::size_t slash = text.rfind('/');
    const std::size_t colon = text.substr(0, slash).rfind(':');
    if (slash == std::string_view::npos || colon == std::string_view::npos) return std::nullopt;
    const auto address = parse_host(text.substr(0, colon));
    const auto ports = parse_ports(text.substr(colon + 1, slash - colon - 1));
    const auto protocol = parse_protocol(text.substr(slash + 1));
    const bool has_ports = protocol == Protocol::tcp || protocol == Protocol::udp;
    if (!address || !ports || !has_ports) return std::nullopt;
    return Vip{*address, *ports, *protocol};
}

std::string Vip::text() const {
    const std::string host = address.is_v4() ? address.text() : "[" + address.text() + "]";
    return host + ":" + ports.text() + "/" + std::string(to_string(protocol));
}

}  // namespace shunt
