// From all that stands in a routing table to what a look-up would use. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "controlplane/network/snapshot.h"

namespace shunt::controlplane {

struct CandidateRoute {
    Route route{};
    std::uint32_t metric{};
};

// Of several routes to one prefix only those with the lowest metric; if there are several of these (IPv6 keeps routes
// learned from two routers apart), one with the next hops of all. In the order of a snapshot.
std::vector<Route> best_routes(std::vector<CandidateRoute> candidates);

}  // namespace shunt::controlplane
