// Assertions that stay on in release builds: a broken invariant must stop the process (its successor adopts the flows)
// rather than forward a packet to the wrong machine.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace shunt {

[[noreturn]] inline void assertion_failed(const char* condition, const char* file, int line) noexcept {
    std::fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, condition);
    std::abort();
}

}  // namespace shunt

#define SHUNT_ASSERT(condition) \
    ((condition) ? static_cast<void>(0) : ::shunt::assertion_failed(#condition, __FILE__, __LINE__))
