// Whether the data plane's main thread still moves, as far as the control plane can tell. Pure.
#pragma once

#include <optional>

#include "src/base/stillness.h"
#include "src/base/time.h"

namespace shunt::controlplane {

class Pulse {
  public:
    static constexpr Duration interval = Duration::milliseconds(25);
    // How long the heartbeat may stand still: the main thread may be busy with large tables, on all nodes of a group at
    // once.
    static constexpr Duration still_limit = Duration::milliseconds(500);

    // `gone_limit`: how long nobody may hold the region, so that one data plane can take over from another.
    explicit constexpr Pulse(Duration gone_limit) noexcept : gone_limit_(gone_limit) {}

    // To be called once every `interval`, with the last heartbeat, or nothing where there is none.
    void look(std::optional<Instant> heartbeat, Instant now) noexcept {
        const Duration since = now - looked_.value_or(now);
        looked_ = now;
        gone_.look(since, heartbeat.has_value());
        still_.look(since, heartbeat && heartbeat != last_);
        if (heartbeat) last_ = heartbeat;
    }
    bool beats() const noexcept { return gone_.duration() < gone_limit_ && still_.duration() < still_limit; }

  private:
    Duration gone_limit_;
    std::optional<Instant> looked_{};
    std::optional<Instant> last_{};
    Stillness gone_{interval * 2};
    Stillness still_{interval * 2};
};

}  // namespace shunt::controlplane
