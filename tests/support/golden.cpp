#include "tests/support/golden.h"

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "src/config/toml.h"

namespace shunt::test {
namespace {

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

Bytes from_hex(const std::string& hex) {
    Bytes bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    return bytes;
}

std::string first_word(const std::string& line) { return line.substr(0, line.find(' ')); }
std::string after_first_word(const std::string& line) {
    const auto space = line.find(' ');
    return space == std::string::npos ? "" : line.substr(space + 1);
}

void read_step(GoldenCase& into, const std::string& line) {
    const std::string word = first_word(line);
    const std::string rest = after_first_word(line);
    if (word == "in") return into.steps.push_back({from_hex(plain_hex(rest)), {}, {}});
    if (word == "wait") return into.steps.push_back({{}, Duration::milliseconds(std::stoi(rest)), {}});
    GoldenStep& step = into.steps.back();
    if (word == "out") step.expected.push_back("out " + plain_hex(rest));
    if (word == "punt") step.expected.push_back("punt " + (rest.empty() ? to_hex(step.packet) : plain_hex(rest)));
    if (word == "drop") step.expected.push_back(line);
    std::ranges::sort(step.expected);
}

}  // namespace

GoldenFile read_golden(const std::string& name) {
    std::ifstream file(SHUNT_GOLDEN "/" + name + ".txt");
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

std::string to_hex(const Bytes& bytes) {
    std::string hex;
    for (const std::byte b : bytes) {
        constexpr const char* digits = "0123456789abcdef";
        hex += {digits[std::to_integer<int>(b) >> 4], digits[std::to_integer<int>(b) & 15]};
    }
    return hex;
}

std::unique_ptr<Instance> make_instance(const std::string& toml, std::uint16_t workers,
                                        std::uint64_t buckets_per_worker) {
    auto state = config::parse_toml(toml, "setup");
    if (!state) throw std::invalid_argument(state.error().text());
    state->dataplane.workers = workers;
    return std::make_unique<Instance>(std::move(*state), buckets_per_worker);
}

}  // namespace shunt::test
