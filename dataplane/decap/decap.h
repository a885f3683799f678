// shunt-decap's program on an interface of a backend: putting it there, saying what it did, taking it away. It belongs
// to the interface and stays when the process ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/xdp/attachment.h"
#include "dataplane/xdp/interface.h"
#include "src/base/result.h"
#include "src/net/address.h"
#include "src/net/forwarding_mode.h"

namespace shunt::dataplane::decap {

// Some modes leave nothing to be undone, and the kernel undoes one itself.
constexpr bool can_undo(ForwardingMode mode) noexcept {
    const auto& traits = traits_of(mode);
    return traits.needs_dscp || (traits.encapsulates && !traits.needs_inner_frame);
}

// Packets of this DSCP are for this VIP, in the VIP's family.
struct MarkedVip {
    std::uint8_t dscp{};
    IpAddress vip{};
};

struct Settings {
    ForwardingMode mode{};
    std::uint16_t port{};  // UDP, of a mode that has one
    std::vector<Prefix> sources{};
    std::vector<MarkedVip> vips{};
};

struct Placed {
    xdp::Mode mode{};
    std::string native_refused{};  // why it is not native
    bool replaced{};               // an older one of ours
};

// In the driver if it can, else in the stack. A program that is not shunt-decap's is refused by name.
Result<Placed> place(const xdp::Interface& interface, const Settings& settings);

// False: there was none.
Result<bool> remove(const xdp::Interface& interface);

struct Report {
    xdp::Mode mode{};
    std::uint64_t undone{};
    std::uint64_t congested{};  // dropped, as RFC 6040 has it
};
Result<std::optional<Report>> report(const xdp::Interface& interface);

}  // namespace shunt::dataplane::decap
