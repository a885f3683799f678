#include "controlplane/state/quorum.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace shunt::controlplane {
namespace {

bool has_vip(const config::Service& service, Family family) {
    return std::any_of(service.vips.begin(), service.vips.end(),
                       [&](const Vip& vip) { return vip.address.family() == family; });
}

std::size_t count_up(const config::DesiredState& state, const Verdicts& verdicts, std::size_t service, Family family) {
    const auto& [mode, backends] = std::tie(state.services[service].mode, state.services[service].backends);
    std::size_t up = 0;
    for (std::size_t i = 0; i < backends.size(); ++i) {
        const bool well = !verdicts.check(service, i) || verdicts.of(service, i) == Verdict::up;
        up += well && backends[i].state != config::BackendState::maint &&
              can_serve(mode, family, backends[i].address.family());
    }
    return up;
}

bool is_held(const config::Quorum& wanted, std::size_t up, const std::optional<QuorumCount>& before) {
    const bool lost = before && !before->held;
    return up >= std::size_t{wanted.up} + (lost ? wanted.hysteresis : 0);
}

}  // namespace

std::vector<QuorumChange> Quorums::count(const config::DesiredState& state, const Verdicts& verdicts) {
    std::vector<QuorumChange> changes;
    std::vector<QuorumByFamily> counted;
    std::unordered_map<std::string, std::size_t> position;
    for (std::size_t s = 0; s < state.services.size(); ++s) {
        const config::Service& service = state.services[s];
        const auto known = position_.find(service.name);
        QuorumByFamily quorums;
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            if (!has_vip(service, family)) continue;
            const auto before = known == position_.end() ? std::nullopt : by_service_[known->second][index_of(family)];
            const std::size_t up = count_up(state, verdicts, s, family);
            const QuorumCount now{up, is_held(service.quorum, up, before)};
            quorums[index_of(family)] = now;
            if (before && before->held != now.held) changes.push_back({s, family, now});
        }
        counted.push_back(quorums);
        position.emplace(service.name, s);
    }
    by_service_ = std::move(counted);
    position_ = std::move(position);
    return changes;
}

}  // namespace shunt::controlplane
