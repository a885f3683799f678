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
    FlowOrder(std::uint32_t first, std::uint32_t flows) : first_(first), flows_(flows), left_(flows), at_(first) {
        Random random(flows);
        for (std::uint32_t& step : steps_) {
            do {
                step = static_cast<std::uint32_t>(random() % flows);
            } while (std::gcd(step, flows) != 1);
        }
    }
    template <std::size_t count>
    void next(std::array<std::uint32_t, count>& numbers) noexcept {
        std::uint32_t at = at_;  // copies: the numbers could be any member
        std::uint32_t left = left_;
        std::uint32_t step = steps_[round_];
        const std::uint32_t flows = flows_;
        const std::uint32_t end = first_ + flows;
        const auto walk = [&](std::size_t from, std::size_t to) {
            for (std::size_t i = from; i < to; ++i) {
                at += step;
                at = at >= end ? at - flows : at;
                numbers[i] = at;
            }
        };
        std::size_t done = 0;
        for (; left <= count - done; left = flows) {
            walk(done, done + left);
            done += left;
            round_ = (round_ + 1) % steps_.size();
            step = steps_[round_];
        }
        walk(done, count);
        at_ = at;
        left_ = left - static_cast<std::uint32_t>(count - done);
    }

  private:
    std::array<std::uint32_t, 16> steps_{};
    std::uint32_t first_;
    std::uint32_t flows_;
    std::uint32_t left_;
    std::uint32_t at_;
    std::size_t round_{};
};

}  // namespace shunt::bench
