// What a starting control plane wants: the saved state if there is a sound one, else the configuration file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "controlplane/state/events.h"
#include "controlplane/state/store.h"
#include "controlplane/state/wanted.h"
#include "src/base/result.h"

namespace shunt::controlplane {

struct ConfigFile {
    config::DesiredState desired{};  // validated, table sizes fixed
    std::uint64_t hash{};            // of the text
};
Result<ConfigFile> read_config_file(const std::string& path);

struct Boot {
    Wanted wanted{};
    bool from_saved_state{};
};
// A saved state that cannot be used is set aside, with an event that says so; then the file is used.
Result<Boot> boot(Store& store, const std::string& config_file, Events& events, Now now);

}  // namespace shunt::controlplane
