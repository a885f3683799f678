// Mode direct: only the link addresses change, and the hop limit. The backend has the VIP on an interface that answers
// no ARP or ND for it, and replies to the client itself.
#pragma once

#include "dataplane/modes/forwarding_mode.h"

namespace shunt::dataplane {

struct Direct {
    static constexpr ForwardingMode id = ForwardingMode::direct;
    static constexpr std::uint32_t headroom = 0;
    static constexpr bool names_backend = false;

    static std::uint32_t overhead(const Target&) noexcept { return 0; }
    static void to_backend(Lane&, const Target&) noexcept {}
};
static_assert(Mode<Direct>);

}  // namespace shunt::dataplane
