// Plain columns: aligned with two spaces between them, the same whether or not stdout is a terminal.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "controlplane/cli/verb.h"

namespace shunt::cli {

class Table {
  public:
    explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
    // `name` is what -o name prints: what other verbs take.
    void add(std::vector<std::string> row, std::string name = {}) {
        names_.push_back(name.empty() ? row.front() : std::move(name));
        rows_.push_back(std::move(row));
    }
    void print(const Session& session) const;

  private:
    std::vector<std::string> header_;
    std::vector<std::vector<std::string>> rows_;
    std::vector<std::string> names_;
};

// The one way documents are printed with --json.
int print_json(const Session& session, const nlohmann::json& document);

// Asks before something is removed, if there is somebody to ask; --yes answers.
bool confirmed(const Session& session, const std::string& question);

// A JSON value as people read it: null is "-", text without quotes.
std::string cell(const nlohmann::json& value);
inline std::string cell(const nlohmann::json& object, const char* key) {
    return object.contains(key) ? cell(object[key]) : "-";
}
// How a backend is named after the slash: by its address alone where the port is the VIP's.
std::string backend_name(const nlohmann::json& status);
// 2026-11-21 07:26:19, in the time zone of whoever reads it.
std::string clock_time(const nlohmann::json& unix_milliseconds);
// 41000 -> "41s", 7200000 -> "2h00m".
std::string age(const nlohmann::json& milliseconds);

}  // namespace shunt::cli
