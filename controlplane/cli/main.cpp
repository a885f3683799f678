// The `shunt` tool: turns the command line into a verb and its arguments. The only file that knows the option parser.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <sstream>
#include <thread>

#include "controlplane/cli/verb.h"

namespace shunt::cli {
namespace {

struct Globals {
    bool json{}, pretty{}, no_header{}, dry_run{}, yes{};
    double watch_seconds{0};
    std::string output{"table"}, color{"auto"}, socket{"/run/shunt/api.sock"};
    double timeout_seconds{5};
};

// Values as the parser fills them in, one per parameter of a verb.
struct Bound {
    const Verb* verb{};
    CLI::App* command{};
    std::map<std::string, std::vector<std::string>> values;
    std::map<std::string, bool> flags;
};

void add_globals(CLI::App& app, Globals& g) {
    app.add_flag("-j,--json", g.json, "one JSON document on stdout");
    app.add_flag("-p,--pretty", g.pretty, "indent JSON");
    app.add_option("-o,--output", g.output, "table, wide, json or name")
        ->check(CLI::IsMember({"table", "wide", "json", "name"}));
    app.add_flag("--no-header", g.no_header, "tables without their first line");
    app.add_option("-w,--watch", g.watch_seconds, "again every so many seconds")->expected(0, 1)->default_str("1");
    app.add_option("-s,--socket", g.socket, "the control plane's socket")->capture_default_str();
    app.add_flag("--dry-run", g.dry_run, "show what would change, touch nothing; exit 4 if anything would");
    app.add_flag("-y,--yes", g.yes, "do not ask");
    app.add_option("--color", g.color, "auto or never")->check(CLI::IsMember({"auto", "never"}));
    app.add_option("--timeout", g.timeout_seconds, "seconds to wait for an answer")->check(CLI::Range(0.1, 3600.0));
}

Session make_session(const Globals& g) {
    Session session{.out = std::cout, .err = std::cerr};
    session.output = g.json || g.output == "json" ? Output::json
                     : g.output == "wide"         ? Output::wide
                     : g.output == "name"         ? Output::name
                                                  : Output::table;
    session.pretty = g.pretty;
    session.no_header = g.no_header;
    session.dry_run = g.dry_run;
    session.yes = g.yes;
    session.color = g.color == "auto" && std::getenv("NO_COLOR") == nullptr && isatty(STDOUT_FILENO) == 1;
    session.socket = g.socket;
    session.timeout = std::chrono::milliseconds(static_cast<long>(g.timeout_seconds * 1000));
    return session;
}

// Without allow_extra_args(false) CLI11 lets one name swallow every word that follows it.
void bind(CLI::App& command, Bound& bound, const Parameter& parameter) {
    auto& values = bound.values[parameter.name];
    switch (parameter.kind) {
        case Parameter::Kind::flag:
            command.add_flag(parameter.name, bound.flags[parameter.name], parameter.help);
            break;
        case Parameter::Kind::option:
            command.add_option(parameter.name, values, parameter.help)
                ->expected(1)
                ->allow_extra_args(false)
                ->take_all();
            break;
        case Parameter::Kind::required:
            command.add_option(parameter.name, values, parameter.help)
                ->expected(1)
                ->allow_extra_args(false)
                ->required();
            break;
        case Parameter::Kind::optional:
            command.add_option(parameter.name, values, parameter.help)->expected(0, 1);
            break;
        case Parameter::Kind::many:
            command.add_option(parameter.name, values, parameter.help)->required();
            break;
        case Parameter::Kind::words:
            command.add_option(parameter.name, values, parameter.help);
            break;
    }
}

// "backend drain" becomes the subcommand "drain" of "backend".
CLI::App* find_command(CLI::App& app, const std::string& words, const std::string& summary) {
    CLI::App* at = &app;
    std::istringstream stream(words);
    for (std::string word; stream >> word;) {
        const auto known = at->get_subcommands([&word](const CLI::App* child) { return child->get_name() == word; });
        at = known.empty() ? at->add_subcommand(word)->require_subcommand(0, 1)->fallthrough() : known.front();
    }
    at->description(summary);
    return at;
}

// What `shunt --help` says of a family is the list of its verbs.
void describe_families(CLI::App& app) {
    for (CLI::App* family : app.get_subcommands([](const CLI::App*) { return true; })) {
        if (!family->get_description().empty()) continue;
        std::string verbs;
        for (const CLI::App* verb : family->get_subcommands([](const CLI::App*) { return true; })) {
            verbs += (verbs.empty() ? "" : " | ") + verb->get_name();
        }
        family->description(verbs);
    }
}

Arguments collect(const Bound& bound) {
    Arguments arguments;
    for (const auto& [name, values] : bound.values) {
        for (const std::string& value : values) arguments.add(name, value);
    }
    for (const auto& [name, given] : bound.flags) {
        if (given) arguments.add(name, "");
    }
    return arguments;
}

// Once, or with --watch until nobody answers.
int run_verb(const Bound& bound, const Session& session, double watch_seconds) {
    const Arguments arguments = collect(bound);
    if (watch_seconds <= 0) return bound.verb->run(arguments, session);
    for (;;) {
        if (isatty(STDOUT_FILENO) == 1) std::cout << "\033[H\033[2J";
        const int code = bound.verb->run(arguments, session);
        std::cout.flush();
        if (code == exit_unreachable || code == exit_usage || !std::cout) return code;
        std::this_thread::sleep_for(std::chrono::duration<double>(watch_seconds));
    }
}

int run(int argc, char** argv) {
    CLI::App app{"shunt: operate the load balancer"};
    app.require_subcommand(1);
    app.fallthrough();
    Globals globals;
    add_globals(app, globals);
    std::vector<std::unique_ptr<Bound>> all;
    for (const Verb& verb : all_verbs()) {
        auto bound = std::make_unique<Bound>();
        bound->verb = &verb;
        bound->command = find_command(app, verb.words, verb.summary);
        for (const Parameter& parameter : verb.parameters) bind(*bound->command, *bound, parameter);
        all.push_back(std::move(bound));
    }
    describe_families(app);
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        const Session session = make_session(globals);
        const auto unknown = app.remaining(true);  // first what is at fault: "a subcommand is required" follows from it
        const std::string message = unknown.empty() ? error.what() : "\"" + unknown.front() + "\" is not known here";
        return fail(session, {.message = message, .remedy = "see shunt --help"}, exit_usage);
    }
    const Session session = make_session(globals);
    for (const auto& bound : all) {
        if (bound->command->parsed() && bound->command->get_subcommands().empty()) {
            return run_verb(*bound, session, globals.watch_seconds);
        }
    }
    return fail(session, {.message = "which of its verbs?", .remedy = "see shunt --help"}, exit_usage);
}

}  // namespace
}  // namespace shunt::cli

int main(int argc, char** argv) { return shunt::cli::run(argc, argv); }
