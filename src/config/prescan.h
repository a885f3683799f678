// A look over a TOML text before toml++ reads it, for what version 3.3.0 of that does not survive:
//   * a key of many dotted parts nests as deep as it is long, and tables are taken apart recursively: two megabytes of
//     "a.a.a." overflow the stack;
//   * characters beyond ASCII outside quotes, and after a backslash at the end of a line in a multi-line string, reach
//     code that is marked as unreachable (its issue 190).
// TOML has no use for the first; multi-line strings are refused altogether, so that every line can be read by itself.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "src/base/result.h"

namespace shunt::config {

std::optional<Error> prescan(std::string_view text, const std::string& file);

}  // namespace shunt::config
