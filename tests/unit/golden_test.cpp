// Golden packets: tests/golden/*.txt say byte for byte what must come out. The expected bytes were computed by an
// independent implementation (tests/golden/oracle.py).
//
//     setup NAME          an instance of Shunt; its configuration follows, indented
//     case SETUP: NAME    what happens, in order, each followed by what comes of it:
//     in HEX              a packet arrives
//     wait MS             time passes
//     out HEX             sent
//     punt [HEX]          left to the kernel; without HEX as it arrived
//     drop REASON
//
// HEX may have spaces; (a5*1400) is a byte that repeats. Of what comes of one step the order does not count.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "src/config/toml.h"
#include "tests/support/instance.h"

namespace shunt::test {
namespace {

struct Step {
    std::string does;                   // "in HEX" or "wait MS"
    std::vector<std::string> expected;  // in the words of the file, in alphabetical order
};
struct Case {
    std::string setup;
    std::string name;
    std::vector<Step> steps;
};
struct GoldenFile {
    std::map<std::string, std::string> setups;  // TOML
    std::vector<Case> cases;
};

// "0203 (a5*3)" is "0203a5a5a5".
std::string plain_hex(const std::string& text) {
    std::string hex;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] == '(') {
            const auto end = text.find(')', at);
            for (int n = std::stoi(text.substr(at + 4, end - at - 4)); n > 0; --n) hex += text.substr(at + 1, 2);
            at = end;
        } else if (text[at] != ' ') {
            hex += text[at];
        }
    }
    return hex;
}

std::string first_word(const std::string& line) { return line.substr(0, line.find(' ')); }
std::string after_first_word(const std::string& line) {
    const auto space = line.find(' ');
    return space == std::string::npos ? "" : line.substr(space + 1);
}

void read_step(Case& into, const std::string& line) {
    const std::string word = first_word(line);
    const std::string rest = after_first_word(line);
    if (word == "in") return into.steps.push_back({"in " + plain_hex(rest), {}});
    if (word == "wait") return into.steps.push_back({line, {}});
    Step& step = into.steps.back();
    if (word == "out") step.expected.push_back("out " + plain_hex(rest));
    if (word == "punt")
        step.expected.push_back("punt " + (rest.empty() ? after_first_word(step.does) : plain_hex(rest)));
    if (word == "drop") step.expected.push_back(line);
    std::ranges::sort(step.expected);
}

GoldenFile read_golden(const std::string& path) {
    std::ifstream file(path);
    GoldenFile golden;
    std::string setup;
    for (std::string line; std::getline(file, line);) {
        if (line.empty() || line[0] == '#') continue;
        const std::string rest = after_first_word(line);
        if (line.starts_with("  ")) {
            golden.setups[setup] += line + "\n";
        } else if (first_word(line) == "setup") {
            setup = rest;
        } else if (first_word(line) == "case") {
            const auto colon = rest.find(": ");
            golden.cases.push_back({rest.substr(0, colon), rest.substr(colon + 2), {}});
        } else {
            read_step(golden.cases.back(), line);
        }
    }
    return golden;
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

std::unique_ptr<Instance> make_instance(const std::string& toml) {
    auto state = config::parse_toml(toml, "setup");
    EXPECT_TRUE(state) << state.error().text();
    return state ? std::make_unique<Instance>(std::move(*state)) : nullptr;
}

// What comes of a step, in the words of the file.
std::vector<std::string> take(Instance& instance, const Step& step) {
    std::vector<Bytes> packets;
    if (first_word(step.does) == "in") {
        packets.push_back(from_hex(after_first_word(step.does)));
    } else {
        instance.clock.advance(Duration::milliseconds(std::stoi(after_first_word(step.does))));
    }
    const Instance::Output output = instance.burst(packets);
    instance.hear_news();
    std::vector<std::string> lines;
    for (const Bytes& sent : output.sent) lines.push_back("out " + to_hex(sent));
    for (const Bytes& punted : output.punted) lines.push_back("punt " + to_hex(punted));
    for (const std::string& reason : output.dropped) lines.push_back("drop " + reason);
    std::ranges::sort(lines);
    return lines;
}

class Golden : public testing::TestWithParam<std::string> {};

TEST_P(Golden, PacketsComeOutAsTheOracleSays) {
    const GoldenFile golden = read_golden(SHUNT_GOLDEN "/" + GetParam() + ".txt");
    ASSERT_GE(golden.cases.size(), 100U);
    std::map<std::string, std::unique_ptr<Instance>> instances;
    for (const Case& c : golden.cases) {
        auto& instance = instances[c.setup];
        if (!instance) instance = make_instance(golden.setups.at(c.setup));
        ASSERT_TRUE(instance);
        instance->clock.advance(Duration::seconds(10));  // nothing of the last case waits, and answers are due again
        for (const Step& step : c.steps) EXPECT_EQ(take(*instance, step), step.expected) << c.name << "\n" << step.does;
    }
    for (auto& [name, instance] : instances) instance->expect_conservation();
}

INSTANTIATE_TEST_SUITE_P(Files, Golden, testing::Values("nat", "modes", "icmp", "fragments", "mtu", "vlan"),
                         [](const auto& file) { return file.param; });

}  // namespace
}  // namespace shunt::test
