// What this node announces: quorums, addresses, and why one is withheld.
#include <algorithm>

#include "controlplane/server/metrics.h"

namespace shunt::controlplane {

void announce_metrics(const Documents& documents, Families& all) {
    const Core& core = documents.core;
    auto quorum = Series::gauge(all, "shunt_service_quorum", "1: enough backends are up for the VIPs of this family.");
    const auto& services = core.effective_state().services;
    for (std::size_t i = 0; i < services.size(); ++i) {
        const auto& [ipv4, ipv6] = core.quorum(i);
        if (ipv4) quorum.add(ipv4->held, {{"service", services[i].name}, {"family", "ipv4"}});
        if (ipv6) quorum.add(ipv6->held, {{"service", services[i].name}, {"family", "ipv6"}});
    }
    Series::gauge(all, "shunt_node_drained", "1: an operator wants no traffic here.").add(is_drained(core.wanted()));
    auto addresses = Series::gauge(all, "shunt_announce_addresses", "Addresses of VIPs by what is done with them.");
    for (const Withheld state : {Withheld::no, Withheld::no_quorum, Withheld::drained, Withheld::silent,
                                 Withheld::unfit, Withheld::not_served}) {
        const auto count = std::ranges::count(core.announced(), state, &Announced::withheld);
        addresses.add(static_cast<double>(count), {{"state", std::string(to_string(state))}});
    }
}

}  // namespace shunt::controlplane
