// What this node and its peers tell each other of flows.
#include <array>

#include "controlplane/server/metrics.h"

namespace shunt::controlplane {
namespace {

constexpr std::array states{sync::PeerState::silent,
                            sync::PeerState::wrong_key,
                            sync::PeerState::other_version,
                            sync::PeerState::other_group,
                            sync::PeerState::unproven,
                            sync::PeerState::other_seed,
                            sync::PeerState::other_configuration,
                            sync::PeerState::usable};

double seconds(Duration duration) { return static_cast<double>(duration.nanoseconds) * 1e-9; }

std::uint64_t sum_of(const sync::Unused& unused) {
    std::uint64_t sum = unused.replayed + unused.misaddressed + unused.unproven + unused.unusable;
    for (const std::uint64_t refused : unused.refused) sum += refused;
    return sum;
}

void peer_metrics(const sync::Report& report, Families& all) {
    auto state = Series::gauge(all, "shunt_sync_peer_state", "1 for what this node thinks of the peer.");
    auto tables = Series::gauge(all, "shunt_sync_peer_tables_same", "1: its look-up tables are those of this node.");
    auto lag = Series::gauge(all, "shunt_sync_peer_lag_seconds", "How long a flow there waits at most to be told.");
    auto sent = Series::counter(all, "shunt_sync_records_sent_total", "Flows told to it since it started.");
    auto received = Series::counter(all, "shunt_sync_records_received_total", "Flows it told.");
    auto lost = Series::counter(all, "shunt_sync_records_lost_total", "Flows it told that did not arrive.");
    auto unresolved = Series::counter(all, "shunt_sync_records_unresolved_total", "Of those that did: not known here.");
    auto unused = Series::counter(all, "shunt_sync_datagrams_unused_total", "Forged, replayed, or of no use.");
    for (const auto& peer : report.peers) {
        const Labels labels{{"peer", peer.address.text()}};
        for (const sync::PeerState one : states) {
            state.add(one == peer.state, {labels[0], {"state", std::string(to_string(one))}});
        }
        tables.add(peer.tables_same, labels);
        lag.add(seconds(peer.lag), labels);
        sent.add(peer.records_sent, labels);
        received.add(peer.records_received, labels);
        lost.add(peer.records_lost, labels);
        unresolved.add(peer.records_unresolved, labels);
        unused.add(sum_of(peer.unused), labels);
    }
}

}  // namespace

void sync_metrics(const Documents& documents, Families& all) {
    const sync::Standing& standing = documents.facts.sync;
    if (!standing.settings) return;
    const sync::Report report = standing.report.value_or(sync::Report{});
    Series::gauge(all, "shunt_sync_in_sync", "1: this node knows what its peers know.").add(report.in_sync);
    Series::gauge(all, "shunt_sync_lag_seconds", "How long a flow waits at most to be told.").add(seconds(report.lag));
    Series::gauge(all, "shunt_sync_flows_to_tell", "Flows a peer could not derive.").add(report.flows_to_tell);
    Series::gauge(all, "shunt_sync_coverage_ratio", "Those of them told before the last pass.").add(report.coverage);
    Series::gauge(all, "shunt_sync_flows_of_peers", "Flows that peers told and that hold.").add(report.flows_of_peers);
    peer_metrics(report, all);
}

}  // namespace shunt::controlplane
