// A step says what to touch, then what to decide. This driver owns every loop over packets.
#pragma once

#include <concepts>

#include "dataplane/path/batch.h"

namespace shunt::dataplane {

// clang-format 14 does not know requirements.
// clang-format off
template <class S>
concept Step = requires(std::remove_reference_t<S>& step, Lane& lane) {
    { step.prefetch(lane) } noexcept -> std::same_as<void>;
    { step.apply(lane) } noexcept -> std::same_as<Verdict>;
};
// clang-format on

namespace detail {

template <class S>
[[gnu::noinline, gnu::flatten]] void run_prefetched(Batch& batch, S& step) noexcept {
    batch.keep_if([&](Lane& lane) { return step.apply(lane); });
}
template <class S, class Next, class... Later>
[[gnu::noinline, gnu::flatten]] void run_prefetched(Batch& batch, S& step, Next& next, Later&... later) noexcept {
    batch.keep_if([&](Lane& lane) {
        const Verdict verdict = step.apply(lane);
        if (verdict.keeps()) [[likely]]
            next.prefetch(lane);
        return verdict;
    });
    run_prefetched(batch, next, later...);
}

}  // namespace detail

// Two steps as one, where there is nothing to wait for between them.
template <Step A, Step B>
struct Together {
    A& first;
    B& second;

    void prefetch(Lane& lane) noexcept { first.prefetch(lane); }
    [[gnu::always_inline]] Verdict apply(Lane& lane) noexcept {
        const Verdict verdict = first.apply(lane);
        if (!verdict.keeps()) [[unlikely]]
            return verdict;
        return second.apply(lane);
    }
};

template <class A, class B>
Together(A&, B&) -> Together<A, B>;  // clang 16 does not work it out

// Takes the batch through the steps in their order. While a step decides about one lane, what the next one will touch
// for it is asked for: so the lanes wait for memory together, and every step costs one pass. What the first step
// touches, the port asked for.
template <Step... S>
void run(Batch& batch, S&&... steps) noexcept {
    detail::run_prefetched(batch, steps...);
}

}  // namespace shunt::dataplane
