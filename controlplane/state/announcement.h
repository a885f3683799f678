// Which addresses of VIPs this node announces, and why not the others (docs/ecmp.md). Pure.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "controlplane/state/quorum.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane {

enum class Withheld : std::uint8_t {
    no,          // it is announced
    no_quorum,   // no service at this address has enough backends up
    drained,     // the operator wants no traffic here
    silent,      // the data plane does not move
    unfit,       // it says that it cannot serve
    not_served,  // it is about to: the data plane does not use the tables with this address yet
};
std::string_view to_string(Withheld why) noexcept;  // "no quorum"

struct Announced {
    IpAddress address{};
    Withheld withheld{};
    bool operator==(const Announced&) const = default;
};

// What a node can do for all of its VIPs.
struct Fitness {
    bool drained{};
    bool beats{};   // the data plane moves, as far as we know
    bool unfit{};   // and says that it cannot serve
    bool serves{};  // and uses the tables as they are now; without that nothing is announced that was not before
};

// Sorted by address. One that several services share is announced while any of them has its quorum: one service's
// trouble must not take another off the net.
std::vector<Announced> announcements(const config::DesiredState& state, const Quorums& quorums, Fitness fitness,
                                     const std::vector<Announced>& before);

}  // namespace shunt::controlplane
