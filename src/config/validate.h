// What must hold between the values of a desired state, and what had better.
#pragma once

#include <vector>

#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/config/positions.h"

namespace shunt::config {

struct Findings {
    std::vector<Error> errors{};    // the state is refused, whole
    std::vector<Error> warnings{};  // shown, nothing more
};

// Errors carry key and pointer (into the whole document), and place where `positions` knows it.
Findings examine(const DesiredState& state, const Positions& positions = {});

// The first error, if there is one.
Status validate(const DesiredState& state, const Positions& positions = {});
std::vector<Error> warnings(const DesiredState& state, const Positions& positions = {});

// Table sizes are chosen when a service is created, by its number of backends, and then stay until the operator changes
// them: where `state` says nothing, what `previous` says of the service of this name, else balance's default.
void fix_table_sizes(DesiredState& state, const DesiredState* previous = nullptr);

}  // namespace shunt::config
