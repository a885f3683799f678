// Whether the data plane's main thread still moves, as one can tell who does not always run when he wants to. Pure.
#pragma once

#include <algorithm>
#include <optional>

#include "src/base/time.h"

namespace shunt::controlplane {

class Pulse {
  public:
    static constexpr Duration interval = Duration::milliseconds(50);
    static constexpr Duration limit = Duration::milliseconds(250);

    explicit Pulse(Instant now) noexcept : looked_(now) {}

    // To be called once every `interval`, with the last heartbeat, or nothing where there is none. Who calls late may
    // have been kept from running, and so may the data plane: time beyond the interval is held against nobody.
    void look(std::optional<Instant> heartbeat, Instant now) noexcept {
        const Duration passed{std::min((now - looked_).nanoseconds, interval.nanoseconds)};
        looked_ = now;
        const bool beat = heartbeat && heartbeat != last_;
        silence_ = beat ? Duration{} : Duration{silence_.nanoseconds + passed.nanoseconds};
        if (heartbeat) last_ = heartbeat;
    }
    bool beats() const noexcept { return silence_.nanoseconds <= limit.nanoseconds; }
    Instant next_look() const noexcept { return looked_ + interval; }

  private:
    Instant looked_;
    std::optional<Instant> last_{};
    Duration silence_{};
};

}  // namespace shunt::controlplane
