// Writes: what they would change, what they changed, and how that ends.
#include <ostream>

#include "controlplane/cli/client.h"

namespace shunt::cli {
namespace {

using nlohmann::json;

std::string text_of(const json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

void print_changes(const Session& session, const json& changes) {
    for (const json& change : changes) {
        const std::string kind = change.value("kind", "change");
        const std::string key = change.value("key", "");
        if (kind == "add") {
            session.out << "+ " << key << "  " << text_of(change["new"]) << "\n";
        } else if (kind == "remove") {
            session.out << "- " << key << "  " << text_of(change["old"]) << "\n";
        } else {
            session.out << "~ " << key << "  " << text_of(change["old"]) << " -> " << text_of(change["new"]) << "\n";
        }
    }
}

Error error_of(const json& problem) {
    const json& error = problem.contains("error") ? problem["error"] : json::object();
    const auto text = [&](const char* key) {
        return error.contains(key) && error[key].is_string() ? error[key].get<std::string>() : std::string();
    };
    const auto number = [&](const char* key) {
        return error.contains(key) && error[key].is_number_unsigned() ? error[key].get<std::uint32_t>() : 0U;
    };
    Error result{.message = text("message"),
                 .remedy = text("remedy"),
                 .file = text("file"),
                 .line = number("line"),
                 .column = number("column"),
                 .key = text("key")};
    if (result.message.empty()) result.message = problem.value("detail", problem.value("title", "refused"));
    return result;
}

}  // namespace

std::string encode(std::string_view text) {
    constexpr std::string_view unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string result;
    for (const char c : text) {
        if (unreserved.find(c) != std::string_view::npos) {
            result += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            result += {'%', digits[byte >> 4], digits[byte & 15]};
        }
    }
    return result;
}

int Client::refuse(const Reply& reply) const { return fail(session_, error_of(reply.document)); }

int show_change(const Session& session, const json& change) {
    const bool changed = change.value("changed", false);
    const bool dry_run = change.value("dry_run", false);
    if (session.json()) {
        session.out << change.dump(session.pretty ? 2 : -1) << "\n";
    } else {
        print_changes(session, change.value("changes", json::array()));
        if (!changed) session.out << "nothing to change\n";
        if (changed && !dry_run) session.out << change.value("text", "done") << "\n";
    }
    for (const json& warning : change.value("warnings", json::array())) {
        session.err << "warning: " << text_of(warning) << "\n";
    }
    if (dry_run) return changed ? exit_changes : exit_ok;
    if (change.value("timed_out", false)) {
        session.err << "not every worker uses the change yet; it stays\n";
        return exit_timed_out;
    }
    return exit_ok;
}

int Client::write(const std::string& method, const std::string& target, const std::optional<json>& body,
                  bool only_new) const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(session_.timeout).count();
    const std::string query = session_.dry_run ? "?dry_run=1" : "?wait=" + std::to_string(std::min<long>(seconds, 60));
    const auto reply = call(method, target + query, body, only_new);
    if (!reply) return fail(session_, reply.error(), exit_unreachable);
    if (!reply->ok()) return refuse(*reply);
    return show_change(session_, reply->document);
}

}  // namespace shunt::cli
