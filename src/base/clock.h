// Where time comes from: CLOCK_MONOTONIC in the programs, a hand-moved clock in tests.
#pragma once

#include <concepts>
#include <ctime>

#include "src/base/time.h"

namespace shunt {

// clang-format 14 does not know requirements.
// clang-format off
template <class C>
concept Clock = requires(const C& clock) {
    { clock.now() } noexcept -> std::same_as<Instant>;
};
// clang-format on

class MonotonicClock {
  public:
    Instant now() const noexcept {
        timespec t{};
        clock_gettime(CLOCK_MONOTONIC, &t);
        return {static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec};
    }
};

class ManualClock {
  public:
    Instant now() const noexcept { return now_; }
    void advance(Duration d) noexcept { now_ = now_ + d; }
    void set(Instant t) noexcept { now_ = t; }

  private:
    Instant now_{Duration::seconds(1000).nanoseconds};
};

static_assert(Clock<MonotonicClock> && Clock<ManualClock>);

}  // namespace shunt
