// docs/reference.md says what the program does: its example is sound, and every key is in it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "src/config/file.h"
#include "src/config/json.h"
#include "src/config/toml.h"
#include "src/config/validate.h"
#include "src/config/words.h"

namespace shunt::config {
namespace {

std::string reference() {
    const auto text = read_text(SHUNT_REFERENCE);
    EXPECT_TRUE(text) << text.error().text();
    return text ? *text : "";
}

TEST(Reference, ItsExampleIsSound) {
    const std::string text = reference();
    const std::size_t begin = text.find("```toml\n") + 8;
    Positions positions;
    const auto state = parse_toml(text.substr(begin, text.find("```\n", begin) - begin), "example", &positions);
    ASSERT_TRUE(state) << state.error().text();
    EXPECT_EQ(state->services.size(), 2U);
    const Findings findings = examine(*state, positions);
    for (const Error& error : findings.errors) ADD_FAILURE() << error.text();
    for (const Error& warning : findings.warnings) ADD_FAILURE() << warning.text();
    // What it says of defaults where it shows them.
    EXPECT_EQ(state->dataplane.timeouts, Dataplane{}.timeouts);
    EXPECT_EQ(state->services[0].check->interval, Check{}.interval);
    EXPECT_EQ(state->services[0].check->timeout, Check{}.timeout);
}

void names_keys(const nlohmann::json& value, const std::string& text) {
    if (value.is_array() && !value.empty()) names_keys(value[0], text);
    if (!value.is_object()) return;
    for (const auto& [key, below] : value.items()) {
        const bool named =
            text.find("`" + key + "`") != std::string::npos || text.find(key + " = ") != std::string::npos;
        EXPECT_TRUE(named) << key;
        names_keys(below, text);
    }
}

TEST(Reference, NamesEveryKey) {
    DesiredState state;
    state.dataplane.ports.push_back({.kind = CapturePort{}});
    state.next_hops.emplace_back();
    state.ha.emplace();
    state.sync.emplace();
    state.services.push_back({.check = Check{.type = CheckType::http}, .backends = {Backend{}}});
    names_keys(to_json(state), reference());
}

TEST(Reference, DescribesEverySchedulerAndAffinity) {
    const std::string text = reference();
    const auto is_described = [&](std::string_view word) {
        return text.find("`\"" + std::string(word) + "\"`") != std::string::npos;
    };
    for (const auto& [word, scheduler] : scheduler_words) EXPECT_TRUE(is_described(word)) << word;
    for (const auto& [word, affinity] : affinity_words) EXPECT_TRUE(is_described(word)) << word;
    EXPECT_NE(text.find("| `load_factor` | 1.25 |"), std::string::npos);
    EXPECT_EQ(default_load_factor, 125);
}

}  // namespace
}  // namespace shunt::config
