// Desired states for tests: any that could be read from a file.
#pragma once

#include "src/base/random.h"
#include "src/config/desired_state.h"

namespace shunt::config::test {

// Values are drawn one by one, names and addresses of things in one list are distinct; the whole need not be valid.
DesiredState random_state(Random& random);

}  // namespace shunt::config::test
