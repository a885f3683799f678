#include "controlplane/network/best_routes.h"

#include <algorithm>
#include <tuple>

namespace shunt::controlplane {

std::vector<Route> best_routes(std::vector<CandidateRoute> candidates) {
    const auto before = [](const CandidateRoute& a, const CandidateRoute& b) {
        return std::tie(a.route.prefix, a.metric) < std::tie(b.route.prefix, b.metric);
    };
    std::sort(candidates.begin(), candidates.end(), before);
    std::vector<Route> best;
    best.reserve(candidates.size());
    std::uint32_t metric = 0;
    for (CandidateRoute& candidate : candidates) {
        if (best.empty() || best.back().prefix != candidate.route.prefix) {
            metric = candidate.metric;
            best.push_back(std::move(candidate.route));
        } else if (candidate.metric == metric) {
            auto& hops = best.back().next_hops;
            hops.insert(hops.end(), candidate.route.next_hops.begin(), candidate.route.next_hops.end());
        }
    }
    for (Route& route : best) {
        std::sort(route.next_hops.begin(), route.next_hops.end());
        route.next_hops.erase(std::unique(route.next_hops.begin(), route.next_hops.end()), route.next_hops.end());
    }
    return best;
}

}  // namespace shunt::controlplane
