// The closed list of forwarding modes: names, and what each asks of a configuration. The numbers are part of the shared
// layout and of saved state: they are never reused. What a mode does to a packet is in dataplane/modes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "src/net/address.h"

namespace shunt {

enum class ForwardingMode : std::uint8_t { none = 0, nat, direct, l3dsr, ipip, gre, gue, vxlan };

constexpr ForwardingMode default_forwarding_mode = ForwardingMode::nat;

struct ForwardingModeTraits {
    ForwardingMode mode{};
    std::string_view name{};
    bool translates{};         // address and port become the backend's, and replies come back through Shunt
    bool encapsulates{};       // any family in any outer family; needs a source address of the outer one
    bool needs_dscp{};         // the service's number, by which the backend knows the VIP
    bool needs_inner_frame{};  // a network identifier (VNI) and the link address inside
    bool takes_key{};
    std::uint16_t tunnel_port{};    // UDP port unless the service gives another; 0: the mode has none
    std::uint8_t tunnel_headers{};  // bytes between the outer IP header and the packet, without a key
};

inline constexpr std::array forwarding_modes{
    ForwardingModeTraits{.mode = ForwardingMode::nat, .name = "nat", .translates = true},
    ForwardingModeTraits{.mode = ForwardingMode::direct, .name = "direct"},
    ForwardingModeTraits{.mode = ForwardingMode::l3dsr, .name = "l3dsr", .needs_dscp = true},
    ForwardingModeTraits{.mode = ForwardingMode::ipip, .name = "ipip", .encapsulates = true},
    ForwardingModeTraits{
        .mode = ForwardingMode::gre, .name = "gre", .encapsulates = true, .takes_key = true, .tunnel_headers = 4},
    ForwardingModeTraits{
        .mode = ForwardingMode::gue, .name = "gue", .encapsulates = true, .tunnel_port = 6080, .tunnel_headers = 12},
    ForwardingModeTraits{.mode = ForwardingMode::vxlan,
                         .name = "vxlan",
                         .encapsulates = true,
                         .needs_inner_frame = true,
                         .tunnel_port = 4789,
                         .tunnel_headers = 30},
};

inline constexpr ForwardingModeTraits no_forwarding_mode{};

// A number that is none of ours gives traits without a name.
constexpr const ForwardingModeTraits& traits_of(ForwardingMode mode) noexcept {
    for (const auto& traits : forwarding_modes) {
        if (traits.mode == mode) return traits;
    }
    return no_forwarding_mode;
}
constexpr std::string_view to_string(ForwardingMode mode) noexcept {
    return mode == ForwardingMode::none ? "none" : traits_of(mode).name;
}
constexpr std::optional<ForwardingMode> parse_forwarding_mode(std::string_view name) noexcept {
    for (const auto& traits : forwarding_modes) {
        if (traits.name == name) return traits.mode;
    }
    return std::nullopt;
}

// Can a backend of one family serve a VIP of the other?
constexpr bool can_serve(ForwardingMode mode, Family vip, Family backend) noexcept {
    return vip == backend || traits_of(mode).encapsulates;
}

// Bytes a packet grows by on its way to a backend of this family.
constexpr std::uint32_t overhead_of(ForwardingMode mode, Family backend, bool has_key) noexcept {
    const ForwardingModeTraits& traits = traits_of(mode);
    if (!traits.encapsulates) return 0;
    return (backend == Family::ipv4 ? 20U : 40U) + traits.tunnel_headers + (has_key ? 4U : 0U);
}

}  // namespace shunt
