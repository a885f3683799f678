#include "controlplane/state/announcement.h"

#include <algorithm>
#include <map>

namespace shunt::controlplane {
namespace {

bool is_announced(const std::vector<Announced>& sorted, const IpAddress& address) {
    const auto found = std::ranges::lower_bound(sorted, address, {}, &Announced::address);
    return found != sorted.end() && found->address == address && found->withheld == Withheld::no;
}

Withheld judge(Fitness fitness, bool quorum, bool before) {
    if (fitness.drained) return Withheld::drained;
    if (!quorum) return Withheld::no_quorum;
    if (!fitness.beats) return Withheld::silent;
    if (fitness.unfit) return Withheld::unfit;
    return before || fitness.serves ? Withheld::no : Withheld::not_served;
}

}  // namespace

std::string_view to_string(Withheld why) noexcept {
    switch (why) {
        case Withheld::no:
            return "announced";
        case Withheld::no_quorum:
            return "no quorum";
        case Withheld::drained:
            return "the node is drained";
        case Withheld::silent:
            return "the data plane does not move";
        case Withheld::unfit:
            return "the data plane says that it cannot serve";
        case Withheld::not_served:
            return "the data plane does not use its tables yet";
    }
    return "?";
}

std::vector<Announced> announcements(const config::DesiredState& state, const Quorums& quorums, Fitness fitness,
                                     const std::vector<Announced>& before) {
    std::map<IpAddress, bool> with_quorum;
    for (std::size_t s = 0; s < state.services.size(); ++s) {
        for (const Vip& vip : state.services[s].vips) {
            const auto& quorum = quorums.of(s)[index_of(vip.address.family())];
            with_quorum[vip.address] |= quorum && quorum->held;
        }
    }
    std::vector<Announced> all;
    for (const auto& [address, quorum] : with_quorum) {
        all.push_back({address, judge(fitness, quorum, is_announced(before, address))});
    }
    return all;
}

}  // namespace shunt::controlplane
