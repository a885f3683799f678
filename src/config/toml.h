// The desired state as TOML: what operators write, `config show` prints, and the control plane keeps.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/config/positions.h"

namespace shunt::config {

constexpr std::size_t max_toml_bytes = 32 << 20;  // of the largest states with room to spare

// Each value is checked by itself; what must hold between them is validate's business. `file` is for messages. Errors
// carry file, line, column, key, pointer and remedy. Strings of several lines are not read. `positions` is filled in if
// given, for validate.
Result<DesiredState> parse_toml(std::string_view text, const std::string& file, Positions* positions = nullptr);

// What differs from the defaults, and what an operator looks for first; parse_toml(to_toml(state)) == state.
std::string to_toml(const DesiredState& state);

}  // namespace shunt::config
