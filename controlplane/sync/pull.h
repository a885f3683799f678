// A node that joins asks a peer for all it knows, in lanes: each asks for one datagram at a time, and again if none
// comes. The peer keeps nothing for it, and the asker knows when it has everything.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "controlplane/sync/datagram.h"
#include "src/base/time.h"

namespace shunt::controlplane::sync {

class Pull {
  public:
    static constexpr std::size_t lanes = 16;
    static constexpr Duration patience = Duration::milliseconds(100);  // until a question is asked again

    bool done() const noexcept { return done_; }
    // Calls f(const Ask&) for what is to be asked now.
    template <class F>
    void ask(Instant now, F&& f) {
        if (done_) return;
        if (space_ == 0) return ask_in(begin_, now, f);
        for (Lane& lane : lanes_) {
            if (lane.position < lane.end) ask_in(lane, now, f);
        }
    }
    // An answer has come; its records were taken.
    void hear(const Chunk& chunk) noexcept;

  private:
    struct Lane {
        std::uint64_t position{};
        std::uint64_t end{};
        Instant asked{};  // zero: not since the last answer
    };
    template <class F>
    void ask_in(Lane& lane, Instant now, F& f) {
        if (lane.asked != Instant{} && now - lane.asked < patience) return;
        lane.asked = now;
        f(Ask{space_, lane.position});
    }

    std::uint64_t space_{};
    Lane begin_{};
    std::array<Lane, lanes> lanes_{};
    bool done_{};
};

}  // namespace shunt::controlplane::sync
