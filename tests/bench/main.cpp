// What Shunt costs: cycles per packet of the path on an in-memory port, milliseconds of the control plane, bytes of a
// flow. scripts/bench runs it and makes a table of its document (docs/performance.md).
#include "tests/bench/cases.h"
#include "tests/bench/run_cases.h"

int main(int argc, char** argv) {
    using namespace shunt::bench;
    std::vector<Case> cases;
    add_path_cases(cases);
    add_rush_cases(cases);
    add_chase_cases(cases);
    add_table_cases(cases);
    return run_cases(argc, argv, std::move(cases));
}
