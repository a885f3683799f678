// This node's standing in its group, as docs/api.md has it.
#pragma once

#include <nlohmann/json.hpp>

#include "controlplane/ha/ha.h"

namespace shunt::controlplane {

nlohmann::json to_json(const Ha& ha, Now now);

}  // namespace shunt::controlplane
