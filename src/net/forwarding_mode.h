// The closed list of forwarding modes and their names. The numbers are part of the shared layout and of saved state:
// they are never reused. What a mode does to a packet is in dataplane/modes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace shunt {

enum class ForwardingMode : std::uint8_t { none = 0, nat = 1 };

struct ForwardingModeName {
    ForwardingMode mode;
    std::string_view name;
};
inline constexpr std::array forwarding_mode_names{ForwardingModeName{ForwardingMode::nat, "nat"}};

constexpr std::string_view to_string(ForwardingMode mode) noexcept {
    for (const auto& entry : forwarding_mode_names) {
        if (entry.mode == mode) return entry.name;
    }
    return "none";
}
constexpr std::optional<ForwardingMode> parse_forwarding_mode(std::string_view name) noexcept {
    for (const auto& entry : forwarding_mode_names) {
        if (entry.name == name) return entry.mode;
    }
    return std::nullopt;
}

}  // namespace shunt
