// `shunt config` and `shunt override`: the desired state as a whole, and the layer above it.
#include <ostream>
#include <span>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"
#include "src/config/file.h"
#include "src/config/machine.h"
#include "src/config/validate.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

// The file as it is: the control plane reads it and names the place of every error.
Result<json> read_document(const std::string& path) {
    const auto text = config::read_text(path);
    if (!text) return text.error();
    return json{{"toml", *text}, {"file", path}};
}

// No daemon is needed: the same rules the control plane goes by.
int check_file(const Arguments& arguments, const Session& session) {
    config::Positions positions;
    auto state = config::load_file(arguments.get("FILE"), &positions);
    if (!state) return fail(session, state.error());
    config::fix_table_sizes(*state);
    const auto findings = config::examine_here(*state, positions);
    if (!findings.errors.empty()) {
        const int code = fail(session, findings.errors.front());
        for (const Error& error : std::span(findings.errors).subspan(1)) session.err << error.text() << "\n";
        return code;
    }
    json warnings = json::array();
    for (const Error& warning : findings.warnings) {
        warnings.push_back(warning.text());
        session.err << "warning: " << warning.text() << "\n";
    }
    if (session.json()) return print_json(session, {{"valid", true}, {"warnings", warnings}});
    session.out << arguments.get("FILE") << ": valid, " << state->services.size() << " services\n";
    return exit_ok;
}

int apply_file(const Arguments& arguments, const Session& session) {
    const auto document = read_document(arguments.get("FILE"));
    if (!document) return fail(session, document.error());
    return Client(session).write("POST", "/v1/config:apply", *document);
}

// Like `apply --dry-run`: 4 when something would change, 0 when nothing, 1 when the file is not valid.
int diff_file(const Arguments& arguments, const Session& session) {
    const auto document = read_document(arguments.get("FILE"));
    if (!document) return fail(session, document.error());
    const auto reply = Client(session).call("POST", "/v1/config:diff", *document);
    if (!reply) return fail(session, reply.error(), exit_unreachable);
    if (!reply->ok()) return Client(session).refuse(*reply);
    return show_change(session, reply->document);
}

int show_config(const Arguments&, const Session& session) {
    return Client(session).read("/v1/config", [&](const json& document) {
        if (session.json()) return print_json(session, document);
        session.out << document["toml"].get<std::string>();
        return exit_ok;
    });
}

int list_overrides(const Arguments&, const Session& session) {
    return Client(session).read("/v1/overrides", [&](const json& document) {
        if (session.json()) return print_json(session, document);
        Table table({"ID", "STATE", "WEIGHT", "OWNER", "AGE", "ENDS IN", "REASON"});
        for (const json& o : document["overrides"]) {
            table.add({cell(o, "id"), cell(o, "state"), cell(o, "weight"), cell(o, "owner"), age(o["age_ms"]),
                       age(o["expires_in_ms"]), cell(o, "reason")});
        }
        table.print(session);
        return exit_ok;
    });
}

int clear_override(const Arguments& arguments, const Session& session) {
    const bool all = arguments.has("--all");
    if (all == arguments.has("ID")) {
        return fail(session,
                    {.message = "no override is named", .remedy = "give its ID (shunt override list), or --all"},
                    exit_usage);
    }
    return Client(session).write("DELETE", "/v1/overrides/" + (all ? "all" : encode(arguments.get("ID"))));
}

}  // namespace

std::vector<Verb> config_verbs() {
    const Parameter file{"FILE", Parameter::Kind::required, "a configuration in TOML"};
    return {
        {"config check", "is the file valid? No daemon is needed", {file}, check_file},
        {"config diff", "what applying the file would change; exit 4 if anything", {file}, diff_file},
        {"config apply", "make the file the desired state; refused whole if it is not valid", {file}, apply_file},
        {"config show", "the desired state as a configuration file", {}, show_config},
        {"override list", "drains, maintenance and weights set by hand", {}, list_overrides},
        {"override clear",
         "take an override back",
         {{"ID", Parameter::Kind::optional, "as listed"}, {"--all", Parameter::Kind::flag, "all of them"}},
         clear_override},
    };
}

}  // namespace shunt::cli
