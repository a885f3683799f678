// Tells everybody whether this node can serve: the state region, keepalived by its track file, and the log.
#pragma once

#include <optional>
#include <string>

#include "dataplane/main/liveness.h"
#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/config/track_file.h"
#include "src/shm/state.h"

namespace shunt::dataplane {

class NodeWatch {
  public:
    static constexpr Duration interval = Duration::milliseconds(5);
    static constexpr Duration file_interval = Duration::seconds(1);

    // Without `ha` there is no track file. `directory`: of the instance, where the file is by default.
    NodeWatch(const std::optional<config::Ha>& ha, const std::string& directory);

    // Before anything else is touched: what a predecessor that was killed said is no longer so. An error: the file
    // cannot be written.
    Status begin();
    // In a planned replacement, instead: what the predecessor said stands if it was fit.
    void take_over(Instant now, bool was_fit);

    // Judges, and tells. What there is to log; empty: nothing new.
    std::string turn(Instant now, const Signs& signs, const shm::State& state);
    // After the ports were counted.
    void counted(const Signs& signs) { liveness_.counted(signs); }
    // Before the workers are stopped.
    void end(Instant now, const shm::State& state);

    std::optional<WorkerIndex> stalled() const noexcept { return liveness_.stalled(); }

  private:
    void tell(Instant now, const shm::State& state);

    Liveness liveness_;
    config::TrackFile file_;
    Instant next_file_look_{};
    shm::NodeHealth told_{};
    std::string problem_{};  // with the file
};

}  // namespace shunt::dataplane
