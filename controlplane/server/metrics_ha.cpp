// This node's standing in its group: whether it can serve, and what keepalived hears and says.
#include <array>

#include "controlplane/ha/ha.h"
#include "controlplane/server/metrics.h"

namespace shunt::controlplane {
namespace {

constexpr std::array<const char*, shm::node_faults> fault_names{
    "none", "starting", "no_tables", "worker_still", "nothing_received", "link_down", "stopping"};

void track_files(const Ha& ha, Families& all) {
    auto says = Series::gauge(all, "shunt_ha_track_file", "What the file says to keepalived; 1 is a fault.");
    auto failed = Series::gauge(all, "shunt_ha_track_file_failed", "1: it cannot be written.");
    if (!ha.configured()) return;
    const auto add = [&](const char* daemon, const config::TrackFile& file, bool is_broken) {
        if (const auto track = file.read()) says.add(*track == config::Track::fault, {{"daemon", daemon}});
        failed.add(is_broken, {{"daemon", daemon}});
    };
    add("dataplane", ha.dataplane_file(), ha.signs().track_file_failed);
    add("controlplane", ha.own_file(), !ha.problem().empty());
}

}  // namespace

void ha_metrics(const Documents& documents, Families& all) {
    if (documents.facts.ha == nullptr) return;
    const Ha& ha = *documents.facts.ha;
    Series::gauge(all, "shunt_ha_ready", "1: this node can serve, and /readyz says so.")
        .add(ha.reasons_against().empty());
    Series::gauge(all, "shunt_ha_heartbeat_stale", "1: no data plane, or its main thread stands still.")
        .add(ha.stale());
    Series::gauge(all, "shunt_ha_held_back", "1: it had better not become master.").add(!ha.held_back().empty());
    auto roles = Series::gauge(all, "shunt_ha_role", "1 for the role that keepalived has given this node.");
    for (const Role role : {Role::none, Role::master, Role::backup, Role::fault}) {
        roles.add(role == ha.role().role, {{"role", std::string(to_string(role))}});
    }
    track_files(ha, all);
    if (!documents.state) return;
    auto present = Series::gauge(all, "shunt_ha_fault", "1 for what keeps the data plane from serving now.");
    auto begun = Series::counter(all, "shunt_ha_faults_total", "How often it began.");
    for (std::size_t i = 1; i < fault_names.size(); ++i) {
        const bool is_now = ha.signs().held && static_cast<std::size_t>(ha.signs().health.fault) == i;
        present.add(is_now, {{"fault", fault_names[i]}});
        begun.add(documents.state->header().faults[i].read(), {{"fault", fault_names[i]}});
    }
}

}  // namespace shunt::controlplane
