// The saved state: what is wanted, as a file that is also a valid configuration file. The first line holds a checksum
// of the rest; what lies above the desired state (overrides, revision, origin) stands in comments of the form "#:
// JSON".
#pragma once

#include <string>
#include <string_view>

#include "controlplane/state/wanted.h"

namespace shunt::controlplane {

std::string write_saved(const Wanted& wanted, Now now);
// Refuses whatever this program did not write as it stands. `file` is for messages.
Result<Wanted> read_saved(std::string_view text, const std::string& file, Now now);

}  // namespace shunt::controlplane
