// Talks to the control plane: HTTP/1.1 with JSON on a unix socket (docs/api.md).
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "controlplane/cli/verb.h"

namespace shunt::cli {

struct Reply {
    unsigned status{};
    nlohmann::json document;

    bool ok() const noexcept { return status >= 200 && status < 300; }
};

// Nobody answers: not running, no permission, or too slow.
struct Unreachable {
    Error error;
};

class Client {
  public:
    explicit Client(const Session& session) : session_(session) {}

    // `target` with its query, percent-encoded. An error means that there was no answer.
    Result<Reply> call(const std::string& method, const std::string& target,
                       const std::optional<nlohmann::json>& body = std::nullopt, bool only_new = false) const;

    // GET that must succeed: prints what went wrong and leaves the exit code, or hands the document on.
    template <class F>
    int read(const std::string& target, F&& show) const {
        const auto reply = call("GET", target);
        if (!reply) return fail(session_, reply.error(), exit_unreachable);
        if (!reply->ok()) return refuse(*reply);
        return show(reply->document);
    }
    // A write: adds dry_run and wait, prints the change, returns the exit code.
    int write(const std::string& method, const std::string& target,
              const std::optional<nlohmann::json>& body = std::nullopt, bool only_new = false) const;
    // The same, refused if there is one already.
    int create(const std::string& target, const nlohmann::json& body) const { return write("PUT", target, body, true); }

    int refuse(const Reply& reply) const;

  private:
    const Session& session_;
};

// Percent-encodes one segment of a path or a query value (RFC 3986 section 2.1).
std::string encode(std::string_view text);

// Prints a change (docs/api.md) and says how it ended.
int show_change(const Session& session, const nlohmann::json& change);

}  // namespace shunt::cli
