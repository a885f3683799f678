// Golden packets: tests/golden/*.txt say byte for byte what must come out. The expected bytes were computed by an
// independent implementation.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tests/support/instance.h"

namespace shunt::test {
namespace {

struct Case {
    std::string name;
    std::string in;        // hexadecimal
    std::string expected;  // "out HEX", "punt" or "drop REASON"
};

std::vector<Case> read_cases(const std::string& path) {
    std::ifstream file(path);
    std::vector<Case> cases;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string word;
        words >> word >> std::ws;
        std::string rest;
        std::getline(words, rest);
        if (word == "case") cases.push_back({rest, "", ""});
        if (word == "in") cases.back().in = rest;
        if (word == "out") cases.back().expected = "out " + rest;
        if (word == "punt" || word == "drop") cases.back().expected = line;
    }
    return cases;
}

Bytes from_hex(const std::string& hex) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

std::string to_hex(const Bytes& bytes) {
    std::string hex;
    for (const std::byte b : bytes) {
        constexpr const char* digits = "0123456789abcdef";
        hex += {digits[std::to_integer<int>(b) >> 4], digits[std::to_integer<int>(b) & 15]};
    }
    return hex;
}

// One backend per service, so that the expected packets can be known without knowing the hash.
std::vector<config::Service> services() {
    const std::vector<std::string> backends{"198.18.2.11:8080", "[2001:db8:2::11]:8080"};
    return {
        make_service("web",
                     {"198.18.0.10:443/tcp", "198.18.0.10:443/udp", "[2001:db8::10]:443/tcp", "[2001:db8::10]:443/udp"},
                     backends),
        make_service("follows",
                     {"198.18.0.10:80/tcp", "198.18.0.10:80/udp", "[2001:db8::10]:80/tcp", "[2001:db8::10]:80/udp"},
                     {"198.18.2.11", "2001:db8:2::11"})};
}

// In the words of the file.
std::string what_comes_out(Instance& instance, const Bytes& packet) {
    Bytes sent;
    const std::string fate = instance.fate(packet, 0, &sent);
    if (fate == "forwarded") return "out " + to_hex(sent);
    return fate == "punted" ? "punt" : "drop " + fate;
}

TEST(Golden, Nat) {
    const auto cases = read_cases(SHUNT_GOLDEN "/nat.txt");
    ASSERT_GE(cases.size(), 100U);
    Instance instance(services());
    for (const Case& c : cases) EXPECT_EQ(what_comes_out(instance, from_hex(c.in)), c.expected) << c.name;
    instance.expect_conservation();
}

}  // namespace
}  // namespace shunt::test
