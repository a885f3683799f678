// The program around the cases: options, progress on stderr, and one JSON document on stdout.
#pragma once

#include <vector>

#include "tests/bench/measure.h"

namespace shunt::bench {

// The exit code: 0 measured, 2 usage, 3 something could not be measured.
int run_cases(int argc, char** argv, std::vector<Case> cases);

}  // namespace shunt::bench
