#include "controlplane/cli/table.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <iostream>

#include "src/api/error.h"

namespace shunt::cli {

void Table::print(const Session& session) const {
    if (session.output == Output::name) {
        for (const std::string& name : names_) session.out << name << "\n";
        return;
    }
    std::vector<std::size_t> widths;
    for (const auto& name : header_) widths.push_back(session.no_header ? 0 : name.size());
    for (const auto& row : rows_) {
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
    }
    const auto print_row = [&](const std::vector<std::string>& row) {
        for (std::size_t i = 0; i < row.size(); ++i) {
            const bool last = i + 1 == row.size();
            session.out << row[i] << (last ? "\n" : std::string(widths[i] - row[i].size() + 2, ' '));
        }
    };
    if (!session.no_header) print_row(header_);
    for (const auto& row : rows_) print_row(row);
}

bool confirmed(const Session& session, const std::string& question) {
    if (session.yes || session.dry_run || isatty(STDIN_FILENO) == 0) return true;
    session.err << question << " [y/N] ";
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "yes";
}

int print_json(const Session& session, const nlohmann::json& document) {
    session.out << document.dump(session.pretty ? 2 : -1) << "\n";
    return exit_ok;
}

std::string cell(const nlohmann::json& value) {
    if (value.is_null()) return "-";
    if (value.is_string()) return value.get<std::string>();
    if (value.is_array()) {
        std::string joined;
        for (const auto& item : value) joined += (joined.empty() ? "" : ",") + cell(item);
        return joined.empty() ? "-" : joined;
    }
    return value.dump();
}

std::string backend_name(const nlohmann::json& status) {
    return status.value("port", 0) == 0 ? cell(status, "address") : cell(status, "backend");
}

std::string clock_time(const nlohmann::json& unix_milliseconds) {
    const std::time_t seconds = unix_milliseconds.get<std::int64_t>() / 1000;
    std::tm local{};
    localtime_r(&seconds, &local);
    char text[32];
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
    return text;
}

std::string age(const nlohmann::json& milliseconds) {
    if (!milliseconds.is_number()) return "-";
    const auto seconds = milliseconds.get<std::int64_t>() / 1000;
    char text[32];
    if (seconds < 60) {
        std::snprintf(text, sizeof text, "%llds", static_cast<long long>(seconds));
    } else if (seconds < 3600) {
        std::snprintf(text, sizeof text, "%lldm%02llds", static_cast<long long>(seconds / 60),
                      static_cast<long long>(seconds % 60));
    } else if (seconds < 86'400) {
        std::snprintf(text, sizeof text, "%lldh%02lldm", static_cast<long long>(seconds / 3600),
                      static_cast<long long>(seconds / 60 % 60));
    } else {
        std::snprintf(text, sizeof text, "%lldd%lldh", static_cast<long long>(seconds / 86'400),
                      static_cast<long long>(seconds / 3600 % 24));
    }
    return text;
}

int fail(const Session& session, const Error& error, int code) {
    if (session.json()) print_json(session, api::error_document(error));
    session.err << error.text() << "\n";
    return code;
}

}  // namespace shunt::cli
