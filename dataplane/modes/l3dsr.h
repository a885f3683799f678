// Mode l3dsr: the destination becomes the backend, and the DSCP (RFC 2474) carries the number of the service, by which
// the backend knows the VIP to put back. Ports stay; the backend replies to the client itself.
#pragma once

#include "dataplane/modes/forwarding_mode.h"
#include "dataplane/modes/rewrite.h"

namespace shunt::dataplane {

struct L3Dsr {
    static constexpr ForwardingMode id = ForwardingMode::l3dsr;
    static constexpr std::uint32_t headroom = 0;
    static constexpr bool names_backend = true;

    static std::uint32_t overhead(const Target&) noexcept { return 0; }

    static void to_backend(Lane& lane, const Target& target) noexcept {
        ChecksumDelta delta;
        set_address(lane, End::destination, target.backend.address, delta);
        with_family(lane, [&](auto family, auto& header) {
            using F = decltype(family);
            const std::uint8_t ecn = F::traffic_class(header) & 3;
            F::set_traffic_class(header, static_cast<std::uint8_t>(target.listener.mode_settings.dscp << 2 | ecn));
        });
        if (covers_addresses(lane)) update_transport(lane, delta);
    }
};
static_assert(Mode<L3Dsr>);

}  // namespace shunt::dataplane
