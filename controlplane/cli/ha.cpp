// `shunt ha`: this node's standing in its group.
#include <algorithm>
#include <ostream>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

std::string says(const json& daemon) {
    if (!daemon["track_file"].is_string()) return "no track file";
    const std::string file = cell(daemon, "track_file");
    if (daemon["track_file_says"].is_null()) return file + " cannot be read";
    return file + " says " + cell(daemon, "track_file_says");
}

void print_ha(const Session& session, const json& ha) {
    const json& dataplane = ha["dataplane"];
    const bool ever = !ha["role_for_ms"].is_null();
    session.out << "role           " << cell(ha, "role");
    if (ever) session.out << ", for " << age(ha["role_for_ms"]) << ", says " << cell(ha, "role_said_by");
    session.out << "\nready          " << (ha.value("ready", false) ? "yes" : "no") << "\n";
    for (const json& reason : ha["reasons"]) session.out << "  because      " << cell(reason) << "\n";
    session.out << "data plane     " << (dataplane.value("alive", false) ? cell(dataplane, "state") : "not running");
    if (!dataplane["for_ms"].is_null()) session.out << ", for " << age(dataplane["for_ms"]);
    session.out << "; " << says(dataplane) << "\n"
                << "control plane  " << says(ha["controlplane"]) << "\n";
}

std::string coverage_of(const json& sync) {
    return std::to_string(static_cast<int>(sync.value("coverage", 1.0) * 100)) + "%";
}

void print_sync(const Session& session, const json& sync) {
    if (sync.is_null()) return;
    session.out << "flow sync      group " << cell(sync, "group") << ", "
                << (sync.value("in_sync", false) ? "in sync" : "not in sync") << "; tells "
                << cell(sync, "flows_to_tell") << " flows within " << age(sync["lag_ms"]) << ", " << coverage_of(sync)
                << " told; knows " << cell(sync, "flows_of_peers") << " of the peers\n";
    if (!sync["problem"].is_null()) session.out << "  because      " << cell(sync, "problem") << "\n";
    Table table({"PEER", "NAME", "STATE", "TABLES", "HEARD", "LAG", "SENT", "RECEIVED", "LOST", "UNRESOLVED"});
    for (const json& peer : sync["peers"]) {
        const json& records = peer["records"];
        table.add({cell(peer, "address"), cell(peer, "name"), cell(peer, "state"),
                   peer.value("tables_same", false) ? "same" : "other",
                   peer["heard_ms"].is_null() ? "never" : age(peer["heard_ms"]) + " ago", age(peer["lag_ms"]),
                   cell(records, "sent"), cell(records, "received"), cell(records, "lost"),
                   cell(records, "unresolved")});
    }
    table.print(session);
}

int show_ha(const Arguments&, const Session& session) {
    return Client(session).read("/v1/ha", [&](const json& ha) {
        if (session.json()) return print_json(session, ha);
        print_ha(session, ha);
        print_sync(session, ha.value("sync", json()));
        return exit_ok;
    });
}

int take_role(const Arguments& arguments, const Session& session) {
    return Client(session).write("POST", "/v1/ha/role", json{{"role", arguments.get("ROLE")}});
}

}  // namespace

std::vector<Verb> ha_verbs() {
    return {
        {"ha show", "this node's role, what keepalived is told, and flow sync with the peers", {}, show_ha},
        {"ha role",
         "says which role keepalived has given this node; its notify script calls this",
         {{"ROLE", Parameter::Kind::required, "master, backup, fault, or none if keepalived ends"}},
         take_role},
    };
}

}  // namespace shunt::cli
