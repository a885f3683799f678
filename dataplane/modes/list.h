// The closed list of forwarding modes. A mode is chosen by the number in shared memory: function pointers cannot cross
// processes. Adding one touches its file, this list, and the names in src/net/forwarding_mode.h.
#pragma once

#include <algorithm>
#include <type_traits>

#include "dataplane/modes/direct.h"
#include "dataplane/modes/gre.h"
#include "dataplane/modes/gue.h"
#include "dataplane/modes/ipip.h"
#include "dataplane/modes/l3dsr.h"
#include "dataplane/modes/nat.h"
#include "dataplane/modes/vxlan.h"

namespace shunt::dataplane {

template <Mode First, Mode... M>
struct ModeList {
    static constexpr std::size_t count = 1 + sizeof...(M);
    static constexpr std::uint32_t headroom = std::max({First::headroom, M::headroom...});

    // Calls `f` with the mode of this number as a type; a number that is none of ours gives a drop, never a guess. The
    // first one is asked for before the others.
    template <class F>
    static Verdict with(ForwardingMode id, F&& f) noexcept {
        if (id == First::id) [[likely]]
            return f(std::type_identity<First>{});
        Verdict verdict = Verdict::drop(shm::DropReason::no_backend);
        ((id == M::id ? (verdict = f(std::type_identity<M>{}), true) : false) || ...);
        return verdict;
    }
    static constexpr bool match_the_names() noexcept {
        return count == forwarding_modes.size() && matches<First>() && (matches<M>() && ...);
    }

  private:
    template <class T>
    static constexpr bool matches() noexcept {
        const auto traits = traits_of(T::id);
        return traits.translates == TranslatingMode<T> && traits.encapsulates == (T::headroom != 0);
    }
};

using Modes = ModeList<Nat, Direct, L3Dsr, IpIp, Gre, Gue, Vxlan>;
static_assert(Modes::match_the_names(), "a mode with a name has a type in the list, and the other way round");

}  // namespace shunt::dataplane
