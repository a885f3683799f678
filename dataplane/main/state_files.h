// The files of state regions in a directory: `state.<n>`, and `state`, a second name of the one in force.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/shm/region.h"
#include "src/shm/state.h"

namespace shunt::dataplane {

std::string path_of_state(const std::string& directory, std::uint64_t number);
// Of all regions there are; in no order.
std::vector<std::uint64_t> state_numbers(const std::string& directory);
// The n of the one in force; 0 if it has no other name, or there is none.
std::uint64_t number_in_force(const std::string& directory);
// Gives state.<n> the name `state`. At every instant there is one.
Status put_in_force(const std::string& directory, std::uint64_t number);
void remove_state(const std::string& directory, std::uint64_t number);

struct InForce {
    std::optional<shm::Region> region{};
    std::optional<shm::StateFlaw> flaw{};  // why it cannot be read
};
// What has the name `state`: nothing if there is no file, or an empty one. Makes the directory if it is not there. An
// error: it is of a newer layout than this program understands, or cannot be opened.
Result<InForce> find_in_force(const std::string& directory);

// Is there room for a new region? Asked before the file grows: a full tmpfs or an empty machine is worse than a
// refusal. `memory`: bytes that may be taken; `huge`: the same, where the directory is on huge pages.
Status require_room(const std::string& directory, std::uint64_t bytes, std::uint64_t memory, std::uint64_t huge);

}  // namespace shunt::dataplane
