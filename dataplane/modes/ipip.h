// Mode ipip: IP in IP, any family in any other (RFC 2003, RFC 2473, RFC 4213).
#pragma once

#include "dataplane/modes/outer.h"

namespace shunt::dataplane {

struct IpIp {
    static constexpr ForwardingMode id = ForwardingMode::ipip;
    static constexpr std::uint32_t headroom = sizeof(Ipv6Header);
    static constexpr bool names_backend = true;

    static std::uint32_t overhead(const Target& target) noexcept { return outer_size(target); }
    static void to_backend(Lane& lane, const Target& target) noexcept { wrap(lane, target, inner_protocol(lane), 0); }
};
static_assert(Mode<IpIp>);

}  // namespace shunt::dataplane
