// What there is to say of flow sync at a moment.
#pragma once

#include <optional>
#include <string>

#include "controlplane/sync/node.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane::sync {

struct Standing {
    std::optional<config::Sync> settings{};  // nothing: not configured
    std::string problem{};                   // why it does not work; empty: it does
    std::optional<Report> report{};          // nothing: it does not
};

}  // namespace shunt::controlplane::sync
