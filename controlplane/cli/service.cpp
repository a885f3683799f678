// `shunt service`: what is balanced. A service is named by its name, or by VIP:PORT/PROTO.
#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"
#include "src/balance/scheduler.h"
#include "src/net/forwarding_mode.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

std::string target_of(const std::string& name) { return "/v1/services/" + encode(name); }

// "check.interval=2s" puts "2s" at ["check"]["interval"]. A value that reads as JSON is taken as such ("80", "true",
// "[\"a\"]"), anything else is text.
Status put(json& service, const std::string& setting) {
    const auto equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
        return Error{.message = "\"" + setting + "\" sets nothing",
                     .remedy = "write KEY=VALUE, such as check.interval=2s"};
    }
    const std::string text = setting.substr(equals + 1);
    json value = json::parse(text, nullptr, false);
    if (value.is_discarded()) value = text;
    json* place = &service;
    std::string path = setting.substr(0, equals);
    for (auto dot = path.find('.'); dot != std::string::npos; dot = path.find('.')) {
        place = &(*place)[path.substr(0, dot)];
        path.erase(0, dot + 1);
        if (!place->is_null() && !place->is_object()) {
            return Error{.message = "\"" + setting + "\" goes below a value that is no table",
                         .remedy = "check the key"};
        }
    }
    (*place)[path] = value;
    return Done{};
}

Result<json> read_settings(const Arguments& arguments) {
    json service = json::object();
    for (const char* option : {"--mode", "--scheduler"}) {
        if (arguments.has(option)) service[option + 2] = arguments.get(option);
    }
    for (const std::string& setting : arguments.all("--set")) {
        if (const auto done = put(service, setting); !done) return done.error();
    }
    return service;
}

int list_services(const Arguments&, const Session& session) {
    return Client(session).read("/v1/services", [&](const json& document) {
        if (session.json()) return print_json(session, document);
        Table table({"SERVICE", "VIP", "MODE", "SCHEDULER", "BACKENDS", "IN", "STATE", "REASON"});
        for (const json& entry : document["services"]) {
            const json& s = entry["status"];
            std::size_t in = 0;
            for (const json& backend : s["backends"]) in += backend.value("in_table", false);
            table.add({cell(s, "name"), cell(s, "vip"), cell(s, "mode"), cell(s, "scheduler"),
                       std::to_string(s["backends"].size()), std::to_string(in), cell(s, "verdict"),
                       cell(s, "reason")});
        }
        table.print(session);
        return exit_ok;
    });
}

// Keys as --set takes them: "tunnel.port". Of a table only what is set.
void add_rows(Table& table, const std::string& key, const json& value) {
    if (!value.is_object()) return table.add({key, cell(value)});
    for (const auto& [name, below] : value.items()) {
        if (!below.is_null()) add_rows(table, key + "." + name, below);
    }
}

int show_service(const Arguments& arguments, const Session& session) {
    return Client(session).read(target_of(arguments.get("SERVICE")), [&](const json& document) {
        if (session.json()) return print_json(session, document);
        Table table({"KEY", "VALUE"});
        for (const auto& [key, value] : document["service"].items()) {
            if (key != "backend") add_rows(table, key, value);
        }
        for (const auto& [family, text] : {std::pair{"ipv4", "quorum over IPv4"}, {"ipv6", "quorum over IPv6"}}) {
            const json& count = document["status"]["quorum"][family];
            if (count.is_null()) continue;
            table.add({text, cell(count, "up") + " up, " + (count.value("held", false) ? "there" : "lost")});
        }
        for (const json& backend : document["status"]["backends"]) {
            table.add({"backend " + backend_name(backend), "weight " + cell(backend, "weight") + ", " +
                                                               cell(backend, "state") + ", " +
                                                               cell(backend, "verdict")});
        }
        table.print(session);
        return exit_ok;
    });
}

int add_service(const Arguments& arguments, const Session& session) {
    auto service = read_settings(arguments);
    if (!service) return fail(session, service.error(), exit_usage);
    (*service)["vip"] = arguments.all("VIP:PORT/PROTO");
    return Client(session).create(target_of(arguments.get("NAME")), *service);
}

int set_service(const Arguments& arguments, const Session& session) {
    const auto patch = read_settings(arguments);
    if (!patch) return fail(session, patch.error(), exit_usage);
    if (patch->empty())
        return fail(session, {.message = "nothing to set", .remedy = "give --set KEY=VALUE"}, exit_usage);
    return Client(session).write("PATCH", target_of(arguments.get("SERVICE")), *patch);
}

int delete_service(const Arguments& arguments, const Session& session) {
    if (!confirmed(session, "remove the service " + arguments.get("SERVICE") + "?")) return exit_refused;
    return Client(session).write("DELETE", target_of(arguments.get("SERVICE")));
}

}  // namespace

std::vector<Verb> service_verbs() {
    const auto names_in = [](const auto& list) {
        std::string names;
        for (const auto& traits : list) names += (names.empty() ? "" : ", ") + std::string(traits.name);
        return names;
    };
    const Parameter name{"SERVICE", Parameter::Kind::required, "name of the service, or one of its VIPs"};
    const std::vector<Parameter> settings{
        {"--mode", Parameter::Kind::option, "how packets reach the backends: " + names_in(forwarding_modes)},
        {"--scheduler", Parameter::Kind::option, "who gets a new flow: " + names_in(schedulers)},
        {"--set", Parameter::Kind::option,
         "KEY=VALUE for any key below [[service]], tunnel.port=6080 for one in a table below; null takes the key out; "
         "may be repeated"}};
    const auto with_settings = [&](std::vector<Parameter> parameters) {
        parameters.insert(parameters.end(), settings.begin(), settings.end());
        return parameters;
    };
    return {
        {"service list", "services and how they are", {}, list_services},
        {"service show", "one service, its settings and backends", {name}, show_service},
        {"service add", "create a service",
         with_settings({{"NAME", Parameter::Kind::required, "a name of your choice"},
                        {"VIP:PORT/PROTO", Parameter::Kind::many,
                         "such as 198.18.0.10:443/tcp, [2001:db8::10]:8000-8999/udp or 198.18.0.10:*/tcp"}}),
         add_service},
        {"service set", "change settings of a service", with_settings({name}), set_service},
        {"service delete", "remove a service and its backends", {name}, delete_service},
    };
}

}  // namespace shunt::cli
