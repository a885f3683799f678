// `shunt status`: is it all right, and if not, why, on one screen. Exit 1 when something is wrong.
#include <ostream>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

// OK, WARN or BAD, padded to the same width, coloured on a terminal.
std::string mark(const Session& session, const std::string& verdict) {
    std::string word = verdict == "ok" ? "OK  " : verdict == "warn" ? "WARN" : "BAD ";
    if (!session.color) return word;
    const char* color = verdict == "ok" ? "\033[32m" : verdict == "warn" ? "\033[33m" : "\033[31m";
    return color + word + "\033[0m";
}

std::string counted(const json& count, const std::string& what) {
    return cell(count) + " " + what + (count == 1 ? "" : "s");
}

void print_processes(const Session& session, const json& status) {
    const json& dataplane = status["dataplane"];
    const bool alive = dataplane.value("alive", false);
    session.out << "  data plane     " << mark(session, alive ? "ok" : "bad") << "  ";
    if (alive) {
        session.out << counted(status["workers"]["total"], "worker") << ", up " << age(dataplane["up_ms"]) << "\n";
    } else {
        session.out << "not running; start shunt-dataplane\n";
    }
    session.out << "  control plane  " << mark(session, "ok") << "  up " << age(status["controlplane"]["up_ms"])
                << "\n";
}

void print_services(const Session& session, const json& services) {
    for (const json& service : services) {
        std::size_t in = 0;
        for (const json& backend : service["backends"]) in += backend.value("in_table", false);
        session.out << "  service        " << mark(session, service.value("verdict", "bad")) << "  "
                    << cell(service, "name") << ": " << in << " of " << service["backends"].size()
                    << " backends take new flows";
        if (service["reason"].is_string()) session.out << " (" << cell(service, "reason") << ")";
        session.out << "\n";
    }
}

void print_announced(const Session& session, const json& announce) {
    if (announce.is_null()) return;
    std::size_t count = 0;
    for (const json& address : announce["addresses"]) count += address.value("announced", false);
    const bool drained = announce.value("drained", false);
    session.out << "  announced      "
                << mark(session, count == announce["addresses"].size() ? "ok"
                                 : drained                             ? "warn"
                                                                       : "bad")
                << "  " << count << " of " << announce["addresses"].size() << " addresses on "
                << cell(announce, "device");
    for (const json& address : announce["addresses"]) {
        if (!address.value("announced", false)) {
            session.out << "; " << cell(address, "address") << ": " << cell(address, "reason");
        }
    }
    session.out << "\n";
}

void print_status(const Session& session, const json& status) {
    const json& workers = status["workers"];
    const json& ha = status["ha"];
    const bool has_role = ha.is_object() && ha["role"] != "none";
    session.out << "shunt " << cell(status, "version") << "  node " << cell(status, "node")
                << (has_role ? "  role " + cell(ha, "role") : "") << "  generation " << cell(status, "generation")
                << " on " << cell(workers, "passed") << "/" << cell(workers, "total") << " workers";
    if (!status["overrides"].empty()) session.out << "  " << counted(status["overrides"].size(), "override");
    session.out << "\n";
    print_processes(session, status);
    print_services(session, status["services"]);
    print_announced(session, status["announce"]);
    const json& traffic = status["traffic"];
    session.out << "  traffic              " << cell(traffic, "received") << " packets in, "
                << cell(traffic, "forwarded") << " forwarded, " << cell(traffic, "punted") << " punted, "
                << cell(traffic, "dropped") << " dropped\n";
    for (const json& reason : status["reasons"]) session.out << "reason: " << cell(reason) << "\n";
    for (const json& warning : status["warnings"]) session.out << "warning: " << cell(warning) << "\n";
}

int show_status(const Arguments&, const Session& session) {
    return Client(session).read("/v1/status", [&](const json& status) {
        if (session.json()) {
            print_json(session, status);
        } else {
            print_status(session, status);
        }
        return status.value("verdict", "bad") == "ok" ? exit_ok : exit_refused;
    });
}

int show_events(const Arguments& arguments, const Session& session) {
    const std::string since = arguments.get("--since-id", "0");
    return Client(session).read("/v1/events?since=" + encode(since), [&](const json& document) {
        if (session.json()) return print_json(session, document);
        Table table({"ID", "TIME", "KIND", "LEVEL", "TEXT"});
        for (const json& e : document["events"])
            table.add({cell(e, "id"), clock_time(e["time_ms"]), cell(e, "kind"), cell(e, "level"), cell(e, "text")});
        table.print(session);
        return exit_ok;
    });
}

int show_version(const Arguments&, const Session& session) {
    if (session.json()) return print_json(session, {{"version", SHUNT_VERSION}});
    session.out << "shunt " << SHUNT_VERSION << "\n";
    return exit_ok;
}

}  // namespace

std::vector<Verb> status_verbs() {
    return {
        {"status", "is it all right, and if not, why; exit 1 when something is wrong", {}, show_status},
        {"events",
         "health, configuration and audit events since the control plane started",
         {{"--since-id", Parameter::Kind::option, "only events after this one"}},
         show_events},
        {"version", "the version of this tool", {}, show_version},
    };
}

}  // namespace shunt::cli
