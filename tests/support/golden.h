// Reads tests/golden/*.txt (golden_test.cpp describes them).
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/instance.h"

namespace shunt::test {

struct GoldenStep {
    Bytes packet;                       // that arrives
    Duration wait;                      // or, without one, the time that passes
    std::vector<std::string> expected;  // in the words of the file, in alphabetical order
};
struct GoldenCase {
    std::string setup;
    std::string name;
    std::vector<GoldenStep> steps;
};
struct GoldenFile {
    std::map<std::string, std::string> setups;  // TOML
    std::vector<GoldenCase> cases;
};

inline constexpr const char* golden_files[] = {"nat", "modes", "icmp", "fragments", "mtu", "vlan"};

GoldenFile read_golden(const std::string& name);
std::string to_hex(const Bytes& bytes);

// From the configuration of a setup; throws if it is not valid.
std::unique_ptr<Instance> make_instance(const std::string& toml, std::uint16_t workers = 1,
                                        std::uint64_t buckets_per_worker = 4096);

}  // namespace shunt::test
