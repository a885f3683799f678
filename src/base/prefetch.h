// Asks for a cache line that will be read soon.
#pragma once

namespace shunt {

// GCC 12 takes a function that does nothing but __builtin_prefetch for one without effect, and drops the calls to it
// that it has not inlined. The empty statement is an effect.
inline void prefetch(const void* line) noexcept {
    __builtin_prefetch(line);
    asm volatile("");
}

}  // namespace shunt
