// All cases, in the order in which they run.
#pragma once

#include <vector>

#include "tests/bench/measure.h"

namespace shunt::bench {

void add_path_cases(std::vector<Case>& cases);   // packets through a worker
void add_rush_cases(std::vector<Case>& cases);   // new flows among established ones
void add_chase_cases(std::vector<Case>& cases);  // memory alone: the same lines, without a path
void add_table_cases(std::vector<Case>& cases);  // what the control plane computes, and what flows take

}  // namespace shunt::bench
