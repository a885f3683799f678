// When a process that died is started again.
#pragma once

#include <algorithm>
#include <cstdint>

#include "src/base/time.h"

namespace shunt::dataplane {

// How long a supervisor waits before the next start. One that lived is started again at once; those that die at once
// ever later.
class BackOff {
  public:
    static constexpr Duration lived = Duration::seconds(1);
    static constexpr Duration first = Duration::milliseconds(100);
    static constexpr Duration longest = Duration::seconds(5);

    // One has ended that lived for so long.
    constexpr Duration after(Duration life) noexcept {
        short_lives_ = life >= lived ? 0 : short_lives_ + 1;
        if (short_lives_ <= 1) return {};
        const int doublings = std::min(short_lives_ - 2, 16);
        return std::min(first * (std::int64_t{1} << doublings), longest);
    }

  private:
    int short_lives_{};
};

}  // namespace shunt::dataplane
