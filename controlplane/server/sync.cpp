#include "controlplane/server/sync.h"

#include <array>

namespace shunt::controlplane {
namespace {

using Json = nlohmann::json;

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

Json unused_json(const sync::Unused& unused) {
    constexpr std::array<const char*, sync::refusal_reasons> reasons{"truncated", "foreign", "other_version",
                                                                     "other_group", "forged"};
    Json json{{"replayed", unused.replayed},
              {"misaddressed", unused.misaddressed},
              {"unproven", unused.unproven},
              {"unusable", unused.unusable}};
    for (std::size_t i = 0; i < reasons.size(); ++i) json[reasons[i]] = unused.refused[i];
    return json;
}

Json peer_json(const sync::PeerReport& peer) {
    return {{"address", peer.address.text()},
            {"name", text_or_null(peer.name)},
            {"software", text_or_null(peer.software)},
            {"state", to_string(peer.state)},
            {"tables_same", peer.tables_same},
            {"in_sync", peer.in_sync},
            {"pulled", peer.pulled},
            {"heard_ms", peer.heard ? Json(peer.heard->in_milliseconds()) : Json(nullptr)},
            {"lag_ms", peer.lag.in_milliseconds()},
            {"records",
             {{"sent", peer.records_sent},
              {"confirmed", peer.records_confirmed},
              {"received", peer.records_received},
              {"lost", peer.records_lost},
              {"unresolved", peer.records_unresolved}}},
            {"datagrams_unused", unused_json(peer.unused)}};
}

}  // namespace

Json to_json(const sync::Standing& standing) {
    if (!standing.settings) return nullptr;
    const sync::Report report = standing.report.value_or(sync::Report{});
    Json peers = Json::array();
    for (const auto& peer : report.peers) peers.push_back(peer_json(peer));
    const bool all = standing.settings->flows == config::SyncFlows::all;
    return {{"group", standing.settings->group},
            {"listen", address_and_port(standing.settings->listen.address, standing.settings->listen.port)},
            {"problem", text_or_null(standing.problem)},
            {"in_sync", report.in_sync},
            {"flows", all ? "all" : "pinned"},
            {"flows_to_tell", report.flows_to_tell},
            {"coverage", report.coverage},
            {"lag_ms", report.lag.in_milliseconds()},
            {"flows_of_peers", report.flows_of_peers},
            {"flows_evicted", report.flows_evicted},
            {"datagrams_of_strangers", report.strangers},
            {"peers", std::move(peers)}};
}

}  // namespace shunt::controlplane
