// The files of regions in their directory.
#pragma once

#include <string>

namespace shunt::shm {

// Removes the files whose path begins like this and whose lock nobody has, and `own` in any case: of a process that had
// our number.
void remove_unheld(const std::string& prefix, const std::string& own);

}  // namespace shunt::shm
