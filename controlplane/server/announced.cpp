#include "controlplane/server/announced.h"

#include <algorithm>

namespace shunt::controlplane {

Json announce_json(const Core& core) {
    const std::string& device = core.effective_state().announce_device;
    if (device.empty()) return nullptr;
    Json addresses = Json::array();
    for (const Announced& one : core.announced()) {
        const bool announced = one.withheld == Withheld::no;
        addresses.push_back({{"address", one.address.text()},
                             {"announced", announced},
                             {"reason", announced ? Json(nullptr) : Json(to_string(one.withheld))}});
    }
    return {{"device", device}, {"drained", is_drained(core.wanted())}, {"addresses", std::move(addresses)}};
}

Json quorum_json(const Core& core, std::size_t service) {
    const config::Quorum& wanted = core.effective_state().services[service].quorum;
    const auto family = [&](Family of) -> Json {
        const auto& count = core.quorum(service)[index_of(of)];
        if (!count) return nullptr;
        return {{"up", count->up}, {"held", count->held}};
    };
    return {{"up", wanted.up},
            {"hysteresis", wanted.hysteresis},
            {"ipv4", family(Family::ipv4)},
            {"ipv6", family(Family::ipv6)}};
}

std::string quorum_complaint(const Core& core, std::size_t service) {
    const config::Service& it = core.effective_state().services[service];
    if (core.effective_state().announce_device.empty()) return {};
    for (const Family family : {Family::ipv4, Family::ipv6}) {
        const auto& count = core.quorum(service)[index_of(family)];
        if (!count || count->held) continue;
        const std::size_t more = it.quorum.hysteresis;
        return std::string("no quorum over ") + (family == Family::ipv4 ? "IPv4: " : "IPv6: ") +
               std::to_string(count->up) + " backends are up, wanted are " + std::to_string(it.quorum.up) +
               (more != 0 ? ", and " + std::to_string(more) + " more for it to be back" : "");
    }
    return {};
}

}  // namespace shunt::controlplane
