// The deciding process: everything the core needs from outside, on one thread and one io_context.
#pragma once

#include <string>

#include "src/base/result.h"

namespace shunt::controlplane {

struct DaemonOptions {
    std::string config_file{"/etc/shunt/shunt.toml"};
    std::string run_directory{"/run/shunt"};
    std::string state_directory{"/var/lib/shunt"};
};

// Runs until SIGTERM or SIGINT. An error: it could not start, and nothing that runs was disturbed.
Status run_daemon(const DaemonOptions& options);

}  // namespace shunt::controlplane
