// What this node announces and why, as documents (docs/api.md).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "controlplane/state/core.h"

namespace shunt::controlplane {

using Json = nlohmann::json;

// {"device", "drained", "addresses": […]}, or null where nothing is to be announced.
Json announce_json(const Core& core);
// {"up", "hysteresis", "ipv4": {"up", "held"} or null, "ipv6"} of the service at this position.
Json quorum_json(const Core& core, std::size_t service);
// Why the quorum of a service is a matter for the operator: a sentence; empty if it is there, or nobody asks for it.
std::string quorum_complaint(const Core& core, std::size_t service);

}  // namespace shunt::controlplane
