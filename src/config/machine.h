// Whether the machine has the memory that a state asks for. What can be known without a data plane: no flow table fits
// that is larger than all memory; one that is larger than what is free now may find it free when it starts.
#pragma once

#include <cstdint>
#include <string_view>

#include "src/config/desired_state.h"
#include "src/config/positions.h"
#include "src/config/validate.h"

namespace shunt::config {

// Bytes; 0: unknown.
struct Machine {
    std::uint64_t memory{};          // all there is, huge pages among it
    std::uint64_t available{};       // ordinary memory that could be had now
    std::uint64_t huge_available{};  // in huge pages of the default size
};

Machine parse_meminfo(std::string_view text);  // of /proc/meminfo
Machine this_machine();

// An error or a warning about dataplane.flows, or nothing.
Findings examine_memory(const DesiredState& state, const Machine& machine, const Positions& positions = {});

// Everything that `examine` finds, and that.
Findings examine_here(const DesiredState& state, const Positions& positions = {});

}  // namespace shunt::config
