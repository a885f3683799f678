// The order in which flows send packets: every flow once per round, each round in another order, without a list.
#pragma once

#include <array>
#include <cstdint>
#include <numeric>

#include "src/base/random.h"

namespace shunt::bench {

// A round is a walk with a step that has no divisor in common with the number of flows. The walk itself could be
// guessed, but nothing lies where a flow's number says: buckets are found by a keyed hash. The next round has another
// step, so that no branch predictor learns it by heart.
class FlowOrder {
  public:
    // Flows are numbered from `first` on.
    FlowOrder(std::uint32_t first, std::uint32_t flows) : first_(first), flows_(flows), left_(flows) {
        Random random(flows);
        for (std::uint32_t& step : steps_) {
            do {
                step = static_cast<std::uint32_t>(random() % flows);
            } while (std::gcd(step, flows) != 1);
        }
    }
    std::uint32_t next() noexcept {
        at_ += steps_[round_];
        at_ = at_ >= flows_ ? at_ - flows_ : at_;
        if (--left_ == 0) {
            left_ = flows_;
            round_ = (round_ + 1) % steps_.size();
        }
        return first_ + at_;
    }

  private:
    std::array<std::uint32_t, 16> steps_{};
    std::uint32_t first_;
    std::uint32_t flows_;
    std::uint32_t left_;
    std::uint32_t at_{};
    std::size_t round_{};
};

}  // namespace shunt::bench
