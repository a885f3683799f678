// Flow sync, as docs/api.md has it.
#pragma once

#include <nlohmann/json.hpp>

#include "controlplane/sync/standing.h"

namespace shunt::controlplane {

nlohmann::json to_json(const sync::Standing& standing);  // null: not configured

}  // namespace shunt::controlplane
