// The same service in both families, for typed tests of the packet path.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/instance.h"

namespace shunt::test {

struct V4 {
    static constexpr const char* vip = "198.18.0.10:443";
    static constexpr const char* other_vip = "198.18.0.11:443";
    static constexpr const char* own = "198.18.1.2:443";
    static std::string client(std::uint32_t n) {
        return "203.0.113." + std::to_string(1 + n % 250) + ":" + std::to_string(1024 + n / 250);
    }
    static std::vector<std::string> backends() { return {"198.18.2.11:8080", "198.18.2.12:8080", "198.18.2.13:8080"}; }
};
struct V6 {
    static constexpr const char* vip = "[2001:db8::10]:443";
    static constexpr const char* other_vip = "[2001:db8::11]:443";
    static constexpr const char* own = "[2001:db8:1::2]:443";
    static std::string client(std::uint32_t n) {
        return "[2001:db8:cafe::" + std::to_string(1 + n % 250) + "]:" + std::to_string(1024 + n / 250);
    }
    static std::vector<std::string> backends() {
        return {"[2001:db8:2::11]:8080", "[2001:db8:2::12]:8080", "[2001:db8:2::13]:8080"};
    }
};

inline std::vector<config::Service> web(const std::string& at, const std::vector<std::string>& backends) {
    return {make_service("web", {at + "/tcp", at + "/udp"}, backends)};
}

using Families = testing::Types<V4, V6>;

}  // namespace shunt::test
