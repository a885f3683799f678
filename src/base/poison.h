// Marks memory that is allocated but not to be touched, for the address sanitizer; without it nothing happens.
#pragma once

#include <cstddef>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SHUNT_ADDRESS_SANITIZER
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define SHUNT_ADDRESS_SANITIZER
#endif

#ifdef SHUNT_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#endif

namespace shunt {

inline void poison([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef SHUNT_ADDRESS_SANITIZER
    __asan_poison_memory_region(begin, bytes);
#endif
}
inline void unpoison([[maybe_unused]] const void* begin, [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef SHUNT_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(begin, bytes);
#endif
}

}  // namespace shunt
