// Configuration files and track files: the one place in src, beside the shared regions, that opens files.
#pragma once

#include <string>
#include <string_view>

#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/config/positions.h"

namespace shunt::config {

// The text of a file of at most max_toml_bytes; errors say what stands in the way.
Result<std::string> read_text(const std::string& path);

// Puts `text` in the place of what is in the file, which stays the same file and is never seen empty; made if it is not
// there. For a few bytes, which are written at once.
Status rewrite_text(const std::string& path, std::string_view text);

// parse_toml of a file.
Result<DesiredState> load_file(const std::string& path, Positions* positions = nullptr);

}  // namespace shunt::config
