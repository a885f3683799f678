// Mode gue: generic UDP encapsulation, variant 0 without extensions (draft-ietf-intarea-gue section 3), as the kernel's
// FOU module takes it.
#pragma once

#include "dataplane/modes/outer.h"

namespace shunt::dataplane {

struct Gue {
    static constexpr ForwardingMode id = ForwardingMode::gue;
    static constexpr std::uint32_t headroom = UdpTunnel::headroom + sizeof(GueHeader);
    static constexpr bool names_backend = true;

    static std::uint32_t overhead(const Target& target) noexcept {
        return UdpTunnel::overhead(target) + static_cast<std::uint32_t>(sizeof(GueHeader));
    }
    static void to_backend(Lane& lane, const Target& target) noexcept {
        const std::uint8_t protocol = inner_protocol(lane);
        const std::uint32_t offset = UdpTunnel::wrap(lane, target, sizeof(GueHeader));
        lane.header_at<GueHeader>(offset) = {.variant_and_length = 0, .protocol = protocol, .flags = Be16{}};
        UdpTunnel::seal(lane, target);
    }
};
static_assert(Mode<Gue>);

}  // namespace shunt::dataplane
