// The desired state as JSON: the API's form. Keys and values are those of TOML; absent is null, and null is absent.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "src/base/result.h"
#include "src/config/desired_state.h"

namespace shunt::config {

// Text to JSON; duplicate keys, more than 32 levels and invalid UTF-8 are refused.
Result<nlohmann::json> parse_json(std::string_view text);

// Unknown keys are refused. Errors carry key and pointer, the latter into the value given here.
Result<DesiredState> from_json(const nlohmann::json& document);
Result<Service> service_from_json(const nlohmann::json& service);
Result<Backend> backend_from_json(const nlohmann::json& backend);

// Every key is there.
nlohmann::json to_json(const DesiredState& state);
nlohmann::json to_json(const Service& service);
nlohmann::json to_json(const Backend& backend);

}  // namespace shunt::config
