// The closed list of forwarding modes. A mode is chosen by the number in shared memory: function pointers cannot cross
// processes. Adding one touches its file, this list, and the names in src/net/forwarding_mode.h.
#pragma once

#include <algorithm>
#include <type_traits>

#include "dataplane/modes/nat.h"

namespace shunt::dataplane {

template <Mode... M>
struct ModeList {
    static constexpr std::size_t headroom = std::max({M::headroom...});

    // Calls `f` with the mode of this number as a type; a number that is none of ours gives a drop, never a guess.
    template <class F>
    static Verdict with(ForwardingMode id, F&& f) noexcept {
        Verdict verdict = Verdict::drop(shm::DropReason::no_backend);
        ((id == M::id ? (verdict = f(std::type_identity<M>{}), true) : false) || ...);
        return verdict;
    }
};

using Modes = ModeList<Nat>;
// checked once every mode is there

}  // namespace shunt::dataplane
