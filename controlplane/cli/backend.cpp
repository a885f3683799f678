// `shunt backend`: the machines behind a service. A backend is named SERVICE/ADDR[:PORT].
#include <charconv>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

struct BackendName {
    std::string service;
    std::string backend;

    std::string target() const { return "/v1/services/" + encode(service) + "/backends/" + encode(backend); }
};

// Brackets are for ports; without one they do no harm.
std::string without_brackets(const std::string& address) {
    const bool bracketed = address.size() > 2 && address.front() == '[' && address.back() == ']';
    return bracketed ? address.substr(1, address.size() - 2) : address;
}

Result<BackendName> read_name(const std::string& text) {
    // The last slash: a service may be named by its VIP, "198.18.0.10:443/tcp".
    const auto slash = text.rfind('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == text.size()) {
        return Error{.message = "\"" + text + "\" does not name a backend",
                     .remedy = "write SERVICE/ADDR or SERVICE/ADDR:PORT"};
    }
    return BackendName{text.substr(0, slash), without_brackets(text.substr(slash + 1))};
}

Result<std::uint32_t> read_weight(const std::string& text) {
    std::uint32_t weight{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
    if (error != std::errc{} || end != text.data() + text.size() || weight > 1000) {
        return Error{
            .message = "weight " + text + " is out of range", .remedy = "weights go from 0 to 1000", .key = "weight"};
    }
    return weight;
}

// "90s", "15m", "2h", "1d".
Result<std::int64_t> read_milliseconds(const std::string& text) {
    std::int64_t number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const std::string unit(end, text.data() + text.size());
    const std::int64_t scale = unit == "s"    ? 1000
                               : unit == "m"  ? 60'000
                               : unit == "h"  ? 3'600'000
                               : unit == "d"  ? 86'400'000
                               : unit == "ms" ? 1
                                              : 0;
    if (error != std::errc{} || scale == 0 || number <= 0 || number > 1'000'000) {
        return Error{.message = "\"" + text + "\" is no length of time",
                     .remedy = "write a number from 1 and its unit, such as 90s, 15m, 2h or 1d"};
    }
    return number * scale;
}

std::vector<std::string> row_of(const std::string& service, const json& entry) {
    const json& status = entry["status"];
    return {service,
            backend_name(status),
            cell(status, "weight"),
            cell(status, "state"),
            cell(status, "verdict"),
            age(status["for_ms"]),
            status.value("in_table", false) ? "yes" : "no",
            cell(status, "packets"),
            cell(status[status["reason"].is_null() ? "override_reason" : "reason"])};
}

int list_backends(const Arguments& arguments, const Session& session) {
    const std::string only = arguments.get("SERVICE");
    const std::string target = only.empty() ? "/v1/status" : "/v1/services/" + encode(only);
    return Client(session).read(target, [&](const json& document) {
        const json services = only.empty() ? document["services"] : json::array({document["status"]});
        json backends = json::array();
        for (const json& service : services) {
            for (json backend : service["backends"]) {
                backend["service"] = service["name"];
                backends.push_back(backend);
            }
        }
        if (session.json()) return print_json(session, {{"backends", backends}});
        Table table({"SERVICE", "BACKEND", "WEIGHT", "STATE", "VERDICT", "FOR", "NEW FLOWS", "PACKETS", "REASON"});
        for (const json& b : backends) {
            table.add(row_of(cell(b, "service"), {{"status", b}}), cell(b, "service") + "/" + backend_name(b));
        }
        table.print(session);
        return exit_ok;
    });
}

// Reads the name, then goes on with it.
template <class F>
int with_name(const Arguments& arguments, const Session& session, F&& f) {
    const auto name = read_name(arguments.get("SERVICE/ADDR"));
    if (!name) return fail(session, name.error(), exit_usage);
    return f(*name);
}

int show_backend(const Arguments& arguments, const Session& session) {
    return with_name(arguments, session, [&](const BackendName& name) {
        return Client(session).read(name.target(), [&](const json& document) {
            if (session.json()) return print_json(session, document);
            Table table({"SERVICE", "BACKEND", "WEIGHT", "STATE", "VERDICT", "FOR", "NEW FLOWS", "PACKETS", "REASON"});
            table.add(row_of(name.service, document));
            table.print(session);
            return exit_ok;
        });
    });
}

// The weight given, or nothing; a wrong one is an error.
Result<json> body_with_weight(const Arguments& arguments) {
    json body = json::object();
    if (!arguments.has("--weight")) return body;
    const auto weight = read_weight(arguments.get("--weight"));
    if (!weight) return weight.error();
    body["weight"] = *weight;
    return body;
}

int add_backend(const Arguments& arguments, const Session& session) {
    const BackendName name{arguments.get("SERVICE"), without_brackets(arguments.get("ADDR[:PORT]"))};
    const auto body = body_with_weight(arguments);
    if (!body) return fail(session, body.error(), exit_usage);
    return Client(session).create(name.target(), *body);
}

int set_backend(const Arguments& arguments, const Session& session) {
    return with_name(arguments, session, [&](const BackendName& name) {
        const auto body = body_with_weight(arguments);
        if (!body) return fail(session, body.error(), exit_usage);
        if (body->empty()) return fail(session, {.message = "nothing to set", .remedy = "give --weight N"}, exit_usage);
        return Client(session).write("PATCH", name.target(), *body);
    });
}

int delete_backend(const Arguments& arguments, const Session& session) {
    return with_name(arguments, session, [&](const BackendName& name) {
        if (!confirmed(session, "remove " + name.backend + " from " + name.service + "?")) return exit_refused;
        return Client(session).write("DELETE", name.target());
    });
}

// drain, maint and ready are overrides: visible, with a reason, for a time.
Verb override_verb(const std::string& state, const std::string& summary) {
    const auto run = [state](const Arguments& arguments, const Session& session) {
        return with_name(arguments, session, [&](const BackendName& name) {
            json body = json::object();
            if (arguments.has("--reason")) body["reason"] = arguments.get("--reason");
            if (arguments.has("--for")) {
                const auto length = read_milliseconds(arguments.get("--for"));
                if (!length) return fail(session, length.error(), exit_usage);
                body["for_ms"] = *length;
            }
            return Client(session).write("POST", name.target() + ":" + state, body);
        });
    };
    return {"backend " + state,
            summary,
            {{"SERVICE/ADDR", Parameter::Kind::required, "SERVICE/ADDR or SERVICE/ADDR:PORT"},
             {"--for", Parameter::Kind::option, "how long, such as 2h; else until it is taken back"},
             {"--reason", Parameter::Kind::option, "shown beside it"}},
            run};
}

}  // namespace

std::vector<Verb> backend_verbs() {
    const Parameter name{"SERVICE/ADDR", Parameter::Kind::required, "SERVICE/ADDR or SERVICE/ADDR:PORT"};
    const Parameter weight{"--weight", Parameter::Kind::option, "0 to 1000; 0 drains"};
    return {
        {"backend list",
         "backends and their health",
         {{"SERVICE", Parameter::Kind::optional, "only of this one"}},
         list_backends},
        {"backend show", "one backend", {name}, show_backend},
        {"backend add",
         "add a backend to a service",
         {{"SERVICE", Parameter::Kind::required, "name of the service"},
          {"ADDR[:PORT]", Parameter::Kind::required,
           "without a port it follows the VIP's; IPv6 with a port in brackets"},
          weight},
         add_backend},
        {"backend set", "change a backend", {name, weight}, set_backend},
        {"backend delete",
         "remove a backend; its flows choose again (drain it first to keep them)",
         {name},
         delete_backend},
        override_verb("drain", "take no new flows, keep those there are"),
        override_verb("maint", "take the backend out now: its flows choose again"),
        override_verb("ready", "back into service"),
    };
}

}  // namespace shunt::cli
