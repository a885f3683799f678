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

// Takes away what a control plane leaves in force when it stops: the guard. Refused while one runs.
Status detach(const DaemonOptions& options);

// Runs until SIGTERM or SIGINT. An error: it could not start, and nothing that runs was disturbed.
Status run_daemon(const DaemonOptions& options);

}  // namespace shunt::controlplane
