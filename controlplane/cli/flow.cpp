// `shunt flow`: what the workers remember. Which flows are meant is said by a filter (docs/reference.md).
#include <charconv>
#include <ostream>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

constexpr const char* filter_help =
    "words that must all hold: service=web backend=198.18.2.11[:8080] client=203.0.113.0/24 client-port=40000 "
    "vip=198.18.0.10[:443][/tcp] state=syn|established|fin|udp 'idle>30s' 'idle<5s' protocol=tcp|udp worker=1 "
    "family=4|6; or all";

// What the shell took apart is one filter.
std::string filter_of(const Arguments& arguments) {
    std::string filter;
    for (const std::string& word : arguments.all("FILTER")) filter += (filter.empty() ? "" : " ") + word;
    return filter;
}

std::string idle_text(const json& flow) {
    const auto milliseconds = flow["idle_ms"].get<std::int64_t>();
    return milliseconds < 60'000
               ? std::to_string(milliseconds / 1000) + "." + std::to_string(milliseconds / 100 % 10) + "s"
               : age(flow["idle_ms"]);
}

std::string client_text(const json& flow) {
    const std::string address = cell(flow, "client");
    const bool v6 = address.find(':') != std::string::npos;
    return (v6 ? "[" + address + "]" : address) + ":" + cell(flow, "client_port");
}

int list_flows(const Arguments& arguments, const Session& session) {
    const std::string limit = arguments.get("--limit");
    const std::string target =
        "/v1/flows?filter=" + encode(filter_of(arguments)) + (limit.empty() ? "" : "&limit=" + encode(limit));
    return Client(session).read(target, [&](const json& document) {
        if (session.json()) return print_json(session, document);
        Table table({"CLIENT", "VIP", "SERVICE", "BACKEND", "STATE", "IDLE", "WORKERS"});
        for (const json& f : document["flows"]) {
            table.add({client_text(f), cell(f, "vip"), cell(f, "service"), cell(f, "backend"), cell(f, "state"),
                       idle_text(f), cell(f, "workers")});
        }
        table.print(session);
        const auto more = document.value("total", std::uint64_t{}) - document.value("listed", std::uint64_t{});
        if (more != 0) session.err << "and " << more << " more; --limit N lists up to 10000, a filter chooses\n";
        return exit_ok;
    });
}

int count_flows(const Arguments& arguments, const Session& session) {
    const std::string by = arguments.get("--by");
    if (!by.empty() && by != "service" && by != "backend" && by != "state" && by != "worker") {
        return fail(session,
                    {.message = "--by " + by + " is not known", .remedy = "use service, backend, state or worker"},
                    exit_usage);
    }
    const std::string target =
        "/v1/flows:count?filter=" + encode(filter_of(arguments)) + (by.empty() ? "" : "&by=" + by);
    return Client(session).read(target, [&](const json& document) {
        if (session.json()) return print_json(session, document);
        if (by.empty()) {
            session.out << cell(document, "total") << "\n";
            return exit_ok;
        }
        std::string heading = by;
        for (char& letter : heading) letter = static_cast<char>(letter - 'a' + 'A');
        Table table({heading, "FLOWS"});
        for (const json& count : document["counts"]) table.add({cell(count, by.c_str()), cell(count, "flows")});
        table.print(session);
        return exit_ok;
    });
}

int kill_flows(const Arguments& arguments, const Session& session) {
    const std::string filter = filter_of(arguments);
    if (!confirmed(session, "kill the flows of " + filter + "?")) return exit_refused;
    return Client(session).write("POST", "/v1/flows:kill", json{{"filter", filter}});
}

}  // namespace

std::vector<Verb> flow_verbs() {
    return {
        {"flow list",
         "flows the workers remember, each once, whichever workers have it",
         {{"FILTER", Parameter::Kind::words, filter_help},
          {"--limit", Parameter::Kind::option, "how many at most, up to 10000 (1000)"}},
         list_flows},
        {"flow count",
         "how many there are",
         {{"FILTER", Parameter::Kind::words, filter_help},
          {"--by", Parameter::Kind::option, "of each service, backend, state or worker"}},
         count_flows},
        {"flow kill",
         "forget flows: the next packet of one is treated as if it were unknown",
         {{"FILTER", Parameter::Kind::many, filter_help}},
         kill_flows},
    };
}

}  // namespace shunt::cli
