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
// A step that few packets need: the others are past it already, and if all are, there is no pass. What it decides says
// nothing about those.
template <class S>
concept RareStep = Step<S> && requires(std::remove_reference_t<S>& step, const Lane& lane) {
    { step.is_past(lane) } noexcept -> std::same_as<bool>;
};
// clang-format on

namespace detail {

// Asks for what the next step of a lane will touch. True: it is past the first of these.
inline bool prefetch_next(Lane&) noexcept { return true; }
template <class Next, class... Later>
bool prefetch_next(Lane& lane, Next& next, Later&... later) noexcept {
    if constexpr (RareStep<Next>) {
        if (next.is_past(lane)) [[likely]] {
            prefetch_next(lane, later...);
            return true;
        }
    }
    next.prefetch(lane);
    return false;
}

// Returns whether all who stay are past the next step.
template <class S, class... Later>
[[gnu::noinline, gnu::flatten]] bool pass(Batch& batch, S& step, Later&... later) noexcept {
    bool all_past = true;
    batch.keep_if([&](Lane& lane) {
        if constexpr (RareStep<S>) {
            if (step.is_past(lane)) return Verdict::keep();
        }
        const Verdict verdict = step.apply(lane);
        if (verdict.keeps()) [[likely]]
            all_past &= prefetch_next(lane, later...);
        return verdict;
    });
    return all_past;
}

inline void run_from(Batch&, bool) noexcept {}
template <class S, class... Later>
void run_from(Batch& batch, bool all_past, S& step, Later&... later) noexcept {
    const bool is_needed = !RareStep<S> || !all_past;
    run_from(batch, is_needed && pass(batch, step, later...), later...);
}

}  // namespace detail

// Two steps as one, where there is nothing to wait for between them.
template <Step A, Step B>
struct Together {
    A& first;
    B& second;

    void prefetch(Lane& lane) noexcept { first.prefetch(lane); }
    bool is_past(const Lane& lane) const noexcept requires RareStep<A> && RareStep<B> {
        return first.is_past(lane) && second.is_past(lane);
    }
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
    detail::run_from(batch, false, steps...);
}

}  // namespace shunt::dataplane
