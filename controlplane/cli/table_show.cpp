// `shunt table show`: the look-up table of a service, from the live tables, or computed from a configuration file on
// this machine, without any daemon. Equal documents mean equal tables: nodes can be compared by hash.
#include <algorithm>
#include <ostream>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"
#include "src/balance/schedule.h"
#include "src/config/file.h"
#include "src/config/validate.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

// Who takes new flows for VIPs of a family while every check succeeds.
std::vector<WeightedKey> members(const config::Service& service, Family vip) {
    std::vector<WeightedKey> result;
    for (const config::Backend& backend : service.backends) {
        const bool takes_flows = backend.state == config::BackendState::ready && backend.weight > 0;
        if (takes_flows && can_serve(service.mode, vip, backend.address.family()))
            result.push_back({backend.key(), backend.weight});
    }
    std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    return result;
}

bool has_vip_of(const config::Service& service, Family family) {
    return std::any_of(service.vips.begin(), service.vips.end(),
                       [&](const Vip& vip) { return vip.address.family() == family; });
}

json document_of(const config::Service& service, Family family) {
    const auto backends = members(service, family);
    const auto slots = slot_table(service.scheduler, backends, *service.table_size);
    json document{{"service", service.name},
                  {"family", static_cast<int>(family)},
                  {"scheduler", to_string(service.scheduler)},
                  {"only_table", traits_of(service.scheduler).only_table()},
                  {"table_size", *service.table_size},
                  {"generation", nullptr},
                  {"source", "file"},
                  {"backends", json::array()},
                  {"slots", json::array()},
                  {"hash", table_hash_text(table_hash(backends, slots))}};
    std::vector<std::uint32_t> counts(backends.size());
    for (const std::uint16_t slot : slots) {
        if (slot != maglev_none) ++counts[slot];
        document["slots"].push_back(slot == maglev_none ? -1 : int{slot});
    }
    for (std::size_t i = 0; i < backends.size(); ++i) {
        document["backends"].push_back(
            {{"key", backends[i].key}, {"weight", backends[i].weight}, {"slots", counts[i]}});
    }
    return document;
}

// "4", "6", or nothing given: IPv4 if the service has such a VIP.
Result<Family> family_of(const config::Service& service, const std::string& text) {
    const Family otherwise = has_vip_of(service, Family::ipv4) ? Family::ipv4 : Family::ipv6;
    const Family family = text == "4" ? Family::ipv4 : text == "6" ? Family::ipv6 : otherwise;
    if (has_vip_of(service, family)) return family;
    return Error{.message = "service " + service.name + " has no VIP of IPv" + text, .remedy = "leave --family out"};
}

Result<json> from_file(const std::string& path, const std::string& name, const std::string& family) {
    config::Positions positions;
    auto state = config::load_file(path, &positions);
    if (!state) return state.error();
    config::fix_table_sizes(*state);
    if (const auto valid = config::validate(*state, positions); !valid) return valid.error();
    for (const config::Service& service : state->services) {
        if (service.name != name) continue;
        const auto wanted = family_of(service, family);
        if (!wanted) return wanted.error();
        return document_of(service, *wanted);
    }
    return Error{.message = "there is no service \"" + name + "\"", .remedy = "check the name", .file = path};
}

int print(const Session& session, const json& document) {
    if (session.json()) return print_json(session, document);
    session.out << "service " << cell(document, "service") << ", IPv" << cell(document, "family") << ", "
                << cell(document, "table_size") << " slots, hash " << cell(document, "hash") << ", scheduler "
                << cell(document, "scheduler") << "\n";
    if (!document["only_table"].get<bool>()) {
        session.out << "flows that open are given by the scheduler; by this table goes only what belongs to no flow\n";
    }
    const double size = document["table_size"].get<double>();
    Table table({"BACKEND", "WEIGHT", "SLOTS", "SHARE"});
    for (const json& backend : document["backends"]) {
        char share[16];
        std::snprintf(share, sizeof share, "%.2f%%", 100.0 * backend["slots"].get<double>() / size);
        table.add({cell(backend, "key"), cell(backend, "weight"), cell(backend, "slots"), share});
    }
    table.print(session);
    return exit_ok;
}

int show_table(const Arguments& arguments, const Session& session) {
    const std::string service = arguments.get("SERVICE");
    const std::string family = arguments.get("--family");
    if (!family.empty() && family != "4" && family != "6") {
        return fail(session, {.message = "family " + family + " is not known", .remedy = "use 4 or 6"}, exit_usage);
    }
    if (arguments.has("--config")) {
        const auto document = from_file(arguments.get("--config"), service, family);
        return document ? print(session, *document) : fail(session, document.error());
    }
    const std::string query = family.empty() ? "" : "?family=" + family;
    return Client(session).read("/v1/services/" + encode(service) + "/table" + query,
                                [&](const json& document) { return print(session, document); });
}

}  // namespace

std::vector<Verb> table_verbs() {
    return {{"table show",
             "the look-up table of a service",
             {{"SERVICE", Parameter::Kind::required, "name of the service"},
              {"--config", Parameter::Kind::option, "compute it from this file; no daemon is needed"},
              {"--family", Parameter::Kind::option, "4 or 6"}},
             show_table}};
}

}  // namespace shunt::cli
