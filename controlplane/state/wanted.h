// What is wanted: the desired state, and the overrides that lie above it. Plain values, and pure functions on them.
//
// An override says for one backend of one service "drain", "maint", "ready" or another weight, with an owner, a reason
// and perhaps an end; or of the whole node "drain". The configuration may be replaced beneath it; it goes when it is
// removed, expires, or when its backend is gone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane {

// Now, on both clocks: the first is what everything runs by, the second only for what people read and what is saved.
struct Now {
    Instant instant{};
    std::int64_t unix_ms{};
};

enum class OverrideKind : std::uint8_t { state, weight, node };

struct Override {
    std::string service{};  // empty of the node
    std::string backend{};  // its key
    OverrideKind kind{OverrideKind::state};
    config::BackendState state{config::BackendState::ready};  // kinds state and node
    std::uint32_t weight{};                                   // kind weight
    std::string owner{};
    std::string reason{};
    std::int64_t made_unix_ms{};
    std::optional<Instant> expires{};

    std::string id() const;               // "web/198.18.2.11:443/state", "node": at most one of a kind per backend
    std::string value() const;            // "drain", "weight 50"
    std::string text(Instant now) const;  // the same, with reason and end
    bool operator==(const Override&) const = default;
};

// Where the desired state comes from.
enum class Origin : std::uint8_t { file, api };
std::string_view to_string(Origin origin) noexcept;

std::uint64_t text_hash(std::string_view text) noexcept;  // XXH64

struct Wanted {
    config::DesiredState desired{};
    std::vector<Override> overrides{};  // ordered by id
    std::uint64_t revision{1};          // grows with every change
    Origin origin{Origin::file};
    std::uint64_t file_hash{};  // of the configuration file's text when it was last taken
    bool operator==(const Wanted&) const = default;
};

std::string_view to_string(config::BackendState state) noexcept;
std::optional<config::BackendState> parse_backend_state(std::string_view text) noexcept;

const config::Service* find_service(const config::DesiredState& state, std::string_view name) noexcept;
// The name of the service that has this VIP, "198.18.0.10:443/tcp"; what is no VIP of any is returned as it is.
std::string name_of_service(const config::DesiredState& state, std::string_view name);
// By its key, "ADDR:PORT", where that is the VIP's also by the VIP's port, or by its address alone if only one backend
// has that. An error says which it could be.
Result<const config::Backend*> find_backend(const config::Service& service, std::string_view name);

// The operator wants no traffic here.
bool is_drained(const Wanted& wanted) noexcept;

// The desired state with the overrides applied: what is compiled.
config::DesiredState effective(const Wanted& wanted);

// ------------------------------------------------------------------------------------------------ requests

struct ApplyConfig {
    config::DesiredState desired{};
    Origin origin{Origin::api};
    std::optional<std::uint64_t> file_hash{};  // of the configuration file, when it is the origin
};
struct PutService {
    config::Service service{};
};
struct DeleteService {
    std::string service{};
};
struct PutBackend {
    std::string service{};
    config::Backend backend{};
};
struct DeleteBackend {
    std::string service{};
    std::string backend{};
};
struct SetOverride {
    Override wanted{};   // `backend` as the caller named it; `ready` where the configuration says so only removes
    bool keep_reason{};  // of the override whose place it takes
    bool keep_end{};
};
struct ClearOverride {
    std::string id{};  // "all" for all of them
};
struct ExpireOverrides {};

using Request = std::variant<ApplyConfig, PutService, DeleteService, PutBackend, DeleteBackend, SetOverride,
                             ClearOverride, ExpireOverrides>;

// The pure decision: what is wanted after this request, or a rejection with a sentence. Does not validate the result.
Result<Wanted> decide(const Wanted& wanted, const Request& request, Now now);

}  // namespace shunt::controlplane
