// What a verb of the `shunt` tool is: words, parameters, and a function. One verb per function, a family of verbs per
// file; the one list of them is in verbs.cpp. Only main.cpp knows the option parser.
#pragma once

#include <chrono>
#include <functional>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace shunt::cli {

// Exit codes (INTERFACE: Commands).
constexpr int exit_ok = 0;
constexpr int exit_refused = 1;
constexpr int exit_usage = 2;
constexpr int exit_unreachable = 3;
constexpr int exit_changes = 4;
constexpr int exit_timed_out = 5;

enum class Output : std::uint8_t { table, wide, json, name };

// What holds for every verb.
struct Session {
    Output output{Output::table};
    bool pretty{};
    bool no_header{};
    bool dry_run{};
    bool yes{};
    bool color{};
    std::string socket{"/run/shunt/api.sock"};
    std::chrono::milliseconds timeout{5000};
    std::ostream& out;
    std::ostream& err;

    bool json() const noexcept { return output == Output::json; }
};

struct Parameter {
    enum class Kind : std::uint8_t { required, optional, many, words, option, flag };  // words: many, or none

    std::string name;  // "SERVICE", or "--weight"
    Kind kind{};
    std::string help;
};

// What the user gave: values by parameter name.
class Arguments {
  public:
    void add(const std::string& name, std::string value) { values_[name].push_back(std::move(value)); }

    bool has(const std::string& name) const { return values_.contains(name); }
    std::string get(const std::string& name, std::string otherwise = {}) const {
        const auto found = values_.find(name);
        return found == values_.end() ? otherwise : found->second.front();
    }
    std::vector<std::string> all(const std::string& name) const {
        const auto found = values_.find(name);
        return found == values_.end() ? std::vector<std::string>{} : found->second;
    }

  private:
    std::map<std::string, std::vector<std::string>> values_;
};

struct Verb {
    std::string words;  // "backend drain"
    std::string summary;
    std::vector<Parameter> parameters;
    std::function<int(const Arguments&, const Session&)> run;
};

const std::vector<Verb>& all_verbs();

// One family each.
std::vector<Verb> status_verbs();
std::vector<Verb> service_verbs();
std::vector<Verb> backend_verbs();
std::vector<Verb> worker_verbs();
std::vector<Verb> config_verbs();
std::vector<Verb> explain_verbs();
std::vector<Verb> replay_verbs();
std::vector<Verb> table_verbs();
std::vector<Verb> flow_verbs();
std::vector<Verb> ha_verbs();
std::vector<Verb> drain_verbs();

// Prints an error as CONTRACTS.md says: a document on stdout with --json, the sentence on stderr always.
int fail(const Session& session, const Error& error, int code = exit_refused);

}  // namespace shunt::cli
