// What differs between two desired states, for people: `config diff` and every `--dry-run`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/config/desired_state.h"

namespace shunt::config {

enum class ChangeKind : std::uint8_t { add, remove, change };

// As people read it:  ~ service.web.check.path  "/health" -> "/healthz"
//                     + service.web.backend  198.18.2.15:443 weight 100
struct Change {
    ChangeKind kind{};
    std::string key{};
    std::string before{};  // empty when added
    std::string after{};   // empty when removed
    bool operator==(const Change&) const = default;
};

// Services, ports, backends and next hops are matched by name or address, not by position.
std::vector<Change> changed_keys(const DesiredState& before, const DesiredState& after);

}  // namespace shunt::config
