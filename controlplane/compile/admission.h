// Which backends of a service take new flows, and what becomes of the flows of the others (DESIGN sections 4 and 5).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "controlplane/compile/image.h"
#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

// What is remembered of a backend from the last generation.
enum class Past : std::uint8_t {
    unknown,  // it was not there
    in,       // there, and not waiting for a first success
    awaited,  // came new into a checked service: out until its first success
};

struct Admission {
    shm::Verdict verdict{};
    bool awaited{};
    shm::BackendStatus status{};
};

// One per backend of the service. If nothing of a service was ever checked, all are in until their first verdict; a
// backend that comes new into a checked service is out until its first success. A service without a check has no
// verdicts. `verdicts` may be shorter than the list of backends.
std::vector<Admission> admit(const config::Service& service, std::span<const shm::Verdict> verdicts,
                             std::span<const Past> past);

// The table for the VIPs of one family.
struct FamilyTable {
    std::vector<std::uint32_t> backends{};   // positions in the service of those that take flows, in key order
    std::vector<config::Backend> members{};  // the same, as values
    Scheduler scheduler{};
    std::uint32_t table_size{};
    SharedVector<std::uint16_t> slots{};    // positions in `backends`; null if it is empty
    SharedVector<std::uint16_t> numbers{};  // what the scheduler's choice goes by besides; null if that is nothing
    std::uint64_t hash{};                   // CONTRACTS: `table show`; 0 if there is no table
};

// `before` is given back where it has the same scheduler, size and members.
Result<FamilyTable> make_table(const config::Service& service, Family vip, std::span<const Admission> admissions,
                               const FamilyTable& before);

}  // namespace shunt::controlplane
