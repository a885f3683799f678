// What the data plane counts, as the documents of CONTRACTS.md and docs/api.md. Read from the state region while it is
// being written: every figure is right, but they are not all of the same instant.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>

#include "src/base/time.h"
#include "src/shm/state.h"

namespace shunt::api {

using Json = nlohmann::json;
using NameOfService = std::function<std::string(ServiceIndex)>;  // empty: there is no such service (any more)

// Sums over all workers.
struct Traffic {
    std::uint64_t received{}, forwarded{}, punted{}, dropped{}, originated{};
};
Traffic traffic(const shm::StateReader& state);
Json to_json(const Traffic& traffic);

Json workers(const shm::StateReader& state, Instant now);                                     // {"workers": […]}
Json drops(const shm::StateReader& state, const NameOfService& name_of_service, bool zeros);  // {"drops": […]}
Json ports(const shm::StateReader& state);                                                    // {"ports": […]}

// Of a backend handle: sums over all workers.
struct BackendTraffic {
    std::uint64_t packets{}, bytes{}, return_packets{}, return_bytes{};
};
BackendTraffic backend_traffic(const shm::StateReader& state, std::uint32_t handle_index);

}  // namespace shunt::api
