// `shunt-dataplane --supervise`, for machines without systemd: keeps a data plane running, follows it through upgrades,
// and ends with it.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "src/base/time.h"

namespace shunt::dataplane {

class Supervisor {
  public:
    // `arguments` of the data plane; `directory` is its run directory.
    Supervisor(std::vector<std::string> arguments, const std::string& directory);

    // Until TERM or INT, which the data plane gets, too, or until it ends by itself without a fault. A first start that
    // is refused is not tried again. The exit code.
    int run();

  private:
    bool start();
    int wait_for_end();
    void reap();
    bool follows_successor();
    bool pause(Duration time);
    void take_signal(int number);
    void end_leftovers();

    std::vector<std::string> arguments_;
    std::string directory_;
    pid_t child_{-1};
    int status_{};  // how it ended
    bool ended_{};
    bool ending_{};
};

}  // namespace shunt::dataplane
