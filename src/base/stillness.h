// How long something that ought to move has stood still, as far as an observer can tell who looks at it now and then.
// A time in which he did not run either proves nothing: one look adds `longest_step` at most.
#pragma once

#include <algorithm>

#include "src/base/time.h"

namespace shunt {

class Stillness {
  public:
    explicit constexpr Stillness(Duration longest_step) noexcept : longest_step_(longest_step) {}

    // `since`: the time that went by since the look before this one.
    constexpr void look(Duration since, bool moved) noexcept {
        still_ = moved ? Duration{} : still_ + std::min(since, longest_step_);
    }
    constexpr Duration duration() const noexcept { return still_; }

  private:
    Duration longest_step_;
    Duration still_{};
};

}  // namespace shunt
