// What only tests may ask of a data plane, and only of one whose environment says SHUNT_TEST_HOOKS=1.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace shunt::dataplane {

inline std::string_view environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string_view{} : value;
}

inline bool has_test_hooks() { return environment("SHUNT_TEST_HOOKS") == "1"; }

// A crash at a step of an upgrade.
inline void die_if_asked(std::string_view step) {
    if (has_test_hooks() && environment("SHUNT_TEST_DIE_AT") == step) ::_exit(99);
}

}  // namespace shunt::dataplane
