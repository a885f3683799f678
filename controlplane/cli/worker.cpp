// `shunt worker`, `shunt port` and `shunt drops`: what the data plane counts.
#include <filesystem>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"
#include "src/config/values.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

int list_workers(const Arguments&, const Session& session) {
    return Client(session).read("/v1/workers", [&](const json& document) {
        if (session.json()) return print_json(session, document);
        Table table(
            {"WORKER", "CORE", "GENERATION", "HEARTBEAT", "RECEIVED", "FORWARDED", "PUNTED", "DROPPED", "ORIGINATED"});
        for (const json& w : document["workers"]) {
            table.add({cell(w, "id"), cell(w, "core"), cell(w, "generation"), cell(w, "heartbeat_age_ms") + "ms",
                       cell(w, "received"), cell(w, "forwarded"), cell(w, "punted"), cell(w, "dropped"),
                       cell(w, "originated")});
        }
        table.print(session);
        return exit_ok;
    });
}

int list_ports(const Arguments&, const Session& session) {
    return Client(session).read("/v1/ports", [&](const json& document) {
        if (session.json()) return print_json(session, document);
        Table table({"PORT", "DEVICE", "MAC", "MTU", "LINK", "RECEIVED", "TRANSMITTED", "DRIVER", "STEERED"});
        for (const json& p : document["ports"]) {
            table.add({cell(p, "name"), cell(p, "device"), cell(p, "mac"), cell(p, "mtu"),
                       p.value("link_up", false) ? "up" : "down", cell(p, "received"), cell(p, "transmitted"),
                       cell(p, "driver_received"), cell(p, "steered")});
        }
        table.print(session);
        return exit_ok;
    });
}

int wedge_worker(const Arguments& arguments, const Session& session) {
    const std::string time = arguments.get("--for", "500ms");
    const auto duration = config::parse_duration(time);
    if (!duration) {
        return fail(session, {.message = "--for " + time + " is no length of time", .remedy = "write it like 500ms"},
                    exit_usage);
    }
    return Client(session).write("POST", "/v1/workers/" + encode(arguments.get("WORKER")) + ":wedge",
                                 json{{"for_ms", duration->in_milliseconds()}});
}

int upgrade(const Arguments& arguments, const Session& session) {
    json body = json::object();
    if (const std::string program = arguments.get("--program"); !program.empty()) {
        std::error_code ignored;
        body["program"] = std::filesystem::absolute(program, ignored).string();
    }
    return Client(session).write("POST", "/v1/dataplane:upgrade", body);
}

// Adds up what differs only in what the reader did not ask for.
json summed_by(const json& drops, const std::string& by) {
    json sums = json::array();
    for (const json& drop : drops) {
        const auto same = std::find_if(sums.begin(), sums.end(), [&](const json& sum) { return sum[by] == drop[by]; });
        if (same != sums.end()) {
            (*same)["total"] = (*same)["total"].get<std::uint64_t>() + drop["total"].get<std::uint64_t>();
            continue;
        }
        json first = drop;
        for (const char* key : {"reason", "service", "worker", "meaning"}) {
            if (by != key && !(by == "reason" && std::string_view(key) == "meaning")) first[key] = nullptr;
        }
        sums.push_back(first);
    }
    return sums;
}

int list_drops(const Arguments& arguments, const Session& session) {
    const std::string by = arguments.get("--by");
    if (!by.empty() && by != "reason" && by != "service" && by != "worker") {
        return fail(session, {.message = "--by " + by + " is not known", .remedy = "use reason, service or worker"},
                    exit_usage);
    }
    const std::string target = arguments.has("--all") ? "/v1/drops?all=1" : "/v1/drops";
    return Client(session).read(target, [&](json document) {
        if (!by.empty()) document["drops"] = summed_by(document["drops"], by);
        if (session.json()) return print_json(session, document);
        Table table({"REASON", "SERVICE", "WORKER", "TOTAL", "MEANING"});
        for (const json& d : document["drops"]) {
            table.add({cell(d, "reason"), cell(d, "service"), cell(d, "worker"), cell(d, "total"), cell(d, "meaning")});
        }
        table.print(session);
        return exit_ok;
    });
}

}  // namespace

std::vector<Verb> worker_verbs() {
    return {
        {"worker list", "what each worker received, forwarded, punted and dropped", {}, list_workers},
        {"upgrade",
         "replace the data plane by a new process while it forwards; a new one that is not ready in --timeout is given "
         "up",
         {{"--program", Parameter::Kind::option, "what to start (the program that runs, or what took its place)"}},
         upgrade},
        {"worker wedge",
         "for tests: has a worker stand still; only if shunt-dataplane runs with SHUNT_TEST_HOOKS=1",
         {{"WORKER", Parameter::Kind::required, "its number, from 0"},
          {"--for", Parameter::Kind::option, "how long, up to 1m; 500ms unless given"}},
         wedge_worker},
        {"port list", "ports, their devices and counts", {}, list_ports},
        {"drops",
         "why packets were dropped",
         {{"--by", Parameter::Kind::option, "sum by reason, service or worker"},
          {"--all", Parameter::Kind::flag, "reasons that never occurred, too"}},
         list_drops},
    };
}

}  // namespace shunt::cli
