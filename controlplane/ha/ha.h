// This node's standing in its group, as far as the control plane has to do with it: the role that keepalived says it
// has, and the control plane's own track file.
//
// That file says whether the data plane lives: it holds its region, and its main thread's heartbeat moves. All else is
// said by the data plane itself in a file of its own. Start and end of the control plane leave the file as it is.
//
// Time is handed in, and what is to be seen of the data plane; the files are real.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/state/events.h"
#include "controlplane/state/pulse.h"
#include "controlplane/state/wanted.h"
#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/config/track_file.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

enum class Role : std::uint8_t { none, master, backup, fault };
std::string_view to_string(Role role) noexcept;
std::optional<Role> parse_role(std::string_view text) noexcept;  // as keepalived writes it, too: "MASTER"

struct RoleTaken {
    Role role{};
    std::int64_t since_unix_ms{};  // 0: nobody ever said
    std::string who{};
    bool operator==(const RoleTaken&) const = default;
};

// The data plane at a look.
struct DataplaneSigns {
    bool held{};  // a process holds the region
    std::int64_t heartbeat{};
    shm::NodeHealth health{};
    std::int64_t health_since{};
    bool track_file_failed{};
    std::string fault{};  // `health` in words; empty: nothing is wrong
};

class Ha {
  public:
    static constexpr Duration interval = Pulse::interval;
    static constexpr Duration gone_limit = Duration::milliseconds(40);  // then the file says 1

    // Reads the role that was said before. `directory`: the instance's.
    Ha(std::string directory, Events& events);

    // By what is wanted now. Absent: no files.
    void configure(const std::optional<config::Ha>& wanted);
    // Every `interval`.
    void look(const DataplaneSigns& signs, Now now);

    // What keepalived says. An error: it could not be kept, and would be forgotten at a restart.
    Status take_role(Role role, const std::string& who, Now now);
    const RoleTaken& role() const noexcept { return role_; }

    // Why this node had better not become master again, though its data plane lives; empty: nothing. While there is a
    // reason a 1 in the file stays, but a 0 too.
    void hold_back(std::string reason) { held_back_ = std::move(reason); }
    // Why this node is to give its traffic to others, though nothing is wrong; empty: it is not. While there is a
    // reason the file says 1.
    void withdraw(std::string reason) { withdrawn_ = std::move(reason); }

    bool configured() const noexcept { return wanted_.has_value(); }
    bool stale() const noexcept { return !pulse_.beats(); }
    const std::string& held_back() const noexcept { return held_back_; }
    const DataplaneSigns& signs() const noexcept { return signs_; }
    const config::TrackFile& own_file() const noexcept { return own_; }
    const config::TrackFile& dataplane_file() const noexcept { return dataplanes_; }
    // With the own file; empty: none.
    const std::string& problem() const noexcept { return problem_; }

    // Why this node is not ready to serve; nothing: it is.
    std::vector<std::string> reasons_against() const;

  private:
    void judge(Now now);
    void say(config::Track track, Now now);
    void tell_of_changes(const DataplaneSigns& before, bool was_stale, Now now);
    void log(EventLevel level, std::string text, Now now);

    std::string directory_;
    Events& events_;
    std::optional<config::Ha> wanted_{};
    config::TrackFile own_{};
    config::TrackFile dataplanes_{};
    RoleTaken role_{};
    DataplaneSigns signs_{};
    Pulse pulse_{gone_limit};
    bool has_moved_{};  // since we look
    std::optional<Instant> sound_since_{};
    Instant next_file_look_{};
    std::string held_back_{};
    std::string withdrawn_{};
    std::string problem_{};
};

}  // namespace shunt::controlplane
