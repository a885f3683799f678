// A step says what to touch, then what to decide. This driver owns every loop over packets.
#pragma once

#include <concepts>

#include "dataplane/path/batch.h"

namespace shunt::dataplane {

// clang-format 14 does not know requirements.
// clang-format off
template <class S>
concept Step = requires(S& step, Lane& lane) {
    { step.prefetch(lane) } noexcept -> std::same_as<void>;
    { step.apply(lane) } noexcept -> std::same_as<Verdict>;
};
// clang-format on

template <Step S>
void run(S step, Batch& batch) noexcept {
    batch.for_each_staying([&](Lane& lane) { step.prefetch(lane); });
    batch.keep_if([&](Lane& lane) { return step.apply(lane); });
}

}  // namespace shunt::dataplane
