// Requests to the running data plane, by the ring in the tables region, and its answers in the state region
// (shm/layout.h).
#pragma once

#include <cstdint>
#include <optional>

#include "src/base/result.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

// How a request ended.
struct RequestEnd {
    bool carried_out{};     // false: the data plane that was asked is gone, and may have done a part of it
    std::uint64_t flows{};  // that were killed
};

// `serving`: the state of the data plane that runs; null: none does. Returns the number of the request. An error:
// nobody can take it now.
Result<std::uint64_t> ask_to_kill(shm::TablesHeader& tables, const shm::StateHeader* serving,
                                  const shm::FlowFilter& filter);
// Nothing: it is not done yet.
std::optional<RequestEnd> end_of(std::uint64_t request, const shm::StateHeader* serving) noexcept;

}  // namespace shunt::controlplane
