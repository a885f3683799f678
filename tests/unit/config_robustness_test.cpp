// Whatever a file or a request contains: it is read or refused, with a place and a remedy, and nothing breaks.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <nlohmann/json.hpp>

#include "src/base/random.h"
#include "src/config/changes.h"
#include "src/config/json.h"
#include "src/config/toml.h"
#include "src/config/validate.h"
#include "tests/support/config_states.h"

namespace shunt::config {
namespace {

// SHUNT_MUTATIONS=50000 for a release (RELIABILITY R12).
int mutations() {
    const char* wanted = std::getenv("SHUNT_MUTATIONS");
    return wanted != nullptr ? std::atoi(wanted) : 2000;
}

constexpr std::array<std::string_view, 38> pieces{"§",
                                                  "\\\n",
                                                  "\"",
                                                  "'",
                                                  "\"\"\"",
                                                  "'''",
                                                  "[",
                                                  "]",
                                                  "[[",
                                                  "]]",
                                                  "{",
                                                  "}",
                                                  "=",
                                                  "==",
                                                  ".",
                                                  ",",
                                                  "#",
                                                  "\n",
                                                  "\r\n",
                                                  "\\",
                                                  "\\u0000",
                                                  "\0",
                                                  "\xff",
                                                  "\xc3",
                                                  "🜚",
                                                  "true",
                                                  "nan",
                                                  "-1",
                                                  "1e999",
                                                  "0x7f",
                                                  "99999999999999999999",
                                                  "1979-05-27T07:32:00Z",
                                                  "null",
                                                  "198.18.0.10:443/tcp",
                                                  "\x1b[31m",
                                                  "[[service]]\n",
                                                  "weight",
                                                  "vip"};

std::string_view any_piece(Random& random) { return pieces[random.below(pieces.size())]; }

// One small change somewhere.
void mutate(Random& random, std::string& text) {
    const std::size_t at = random.below(text.size() + 1);
    const std::size_t length = std::min<std::size_t>(random.below(2) ? 1 : random.below(40), text.size() - at);
    switch (random.below(6)) {
        case 0:
            text.erase(at, length);
            break;
        case 1:
            text.insert(at, any_piece(random));
            break;
        case 2:
            text.replace(at, length, any_piece(random));
            break;
        case 3:  // a part again, elsewhere
            text.insert(random.below(text.size() + 1), text.substr(at, length * 4));
            break;
        case 4:
            if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << random.below(8)));
            break;
        default:
            if (random.below(20) == 0) text.resize(at);
            if (at < text.size()) text[at] = static_cast<char>(random());
    }
}

std::string mutated(Random& random, std::string text) {
    for (std::uint64_t count = 1 + random.below(4); count > 0; --count) mutate(random, text);
    return text;
}

void judge_accepted(const DesiredState& state) {
    static const DesiredState empty;
    const auto again = parse_toml(to_toml(state), "again");
    ASSERT_TRUE(again) << again.error().text() << "\n" << to_toml(state);
    EXPECT_EQ(*again, state);
    EXPECT_EQ(from_json(to_json(state)).value(), state);
    EXPECT_EQ(changed_keys(empty, state).empty(), state == empty);
    DesiredState fixed = state;
    fix_table_sizes(fixed);
    for (const Error& error : examine(state).errors) EXPECT_FALSE(error.remedy.empty()) << error.text();
}

void judge_refused(const Error& error) {
    EXPECT_FALSE(error.message.empty());
    EXPECT_FALSE(error.remedy.empty()) << error.text();
    const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    EXPECT_TRUE(std::ranges::none_of(error.text(), control)) << error.text();
    EXPECT_LT(error.text().size(), 1000U) << error.text();
}

TEST(Robustness, MutatedTomlIsReadOrRefusedWithItsPlace) {
    Random random(10);
    int accepted = 0;
    for (int run = 0; run < mutations(); ++run) {
        const std::string text = mutated(random, to_toml(test::random_state(random)));
        SCOPED_TRACE(text);
        if (const auto state = parse_toml(text, "mutated")) {
            ++accepted;
            judge_accepted(*state);
        } else {
            judge_refused(state.error());
            EXPECT_GE(state.error().line, 1U) << state.error().text();
            EXPECT_GE(state.error().column, 1U) << state.error().text();
        }
        if (HasFailure()) break;
    }
    EXPECT_GT(accepted, 0);
    EXPECT_LT(accepted, mutations() / 2);
}

TEST(Robustness, MutatedJsonIsReadOrRefused) {
    Random random(11);
    int accepted = 0;
    for (int run = 0; run < mutations(); ++run) {
        const std::string text = mutated(random, to_json(test::random_state(random)).dump());
        SCOPED_TRACE(text);
        const auto json = parse_json(text);
        if (!json) {
            judge_refused(json.error());
        } else if (const auto state = from_json(*json)) {
            ++accepted;
            judge_accepted(*state);
        } else {
            judge_refused(state.error());
            EXPECT_NO_THROW(static_cast<void>(nlohmann::json::json_pointer(state.error().pointer)));
        }
        if (HasFailure()) break;
    }
    EXPECT_GT(accepted, 0);
}

TEST(Robustness, RandomBytesAreRefused) {
    Random random(12);
    for (int run = 0; run < mutations(); ++run) {
        std::string text(random.below(200), '\0');
        for (char& c : text) c = static_cast<char>(random());
        ASSERT_FALSE(parse_toml(text, "random"));
    }
}

// Seconds of processor time, which other load on the machine does not lengthen.
class Stopwatch {
  public:
    double seconds() const { return static_cast<double>(std::clock() - start_) / CLOCKS_PER_SEC; }

  private:
    std::clock_t start_{std::clock()};
};
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double limit_seconds = 10;
constexpr int many = 1000;
#else
constexpr double limit_seconds = 1;
constexpr int many = 10'000;
#endif

std::string many_services(int count) {
    std::string text = "version = 1\n";
    for (int i = 0; i < count; ++i) {
        const std::string network = std::to_string(i / 250) + "." + std::to_string(i % 250 + 1);
        text += "[[service]]\nname = \"s" + std::to_string(i) + "\"\nvip = [\"198.18." + network + ":443/tcp\"]\n";
        text += "[service.check]\ntype = \"http\"\npath = \"/healthz\"\n";
        for (int b = 0; b < 4; ++b) {
            text +=
                "[[service.backend]]\naddress = \"198.19." + network + "\"\nport = " + std::to_string(8000 + b) + "\n";
        }
    }
    return text;
}

TEST(Robustness, TenThousandServicesTakeLessThanASecond) {
    const std::string text = many_services(many);
    const Stopwatch watch;
    Positions positions;
    const auto state = parse_toml(text, "many", &positions);
    ASSERT_TRUE(state) << state.error().text();
    EXPECT_EQ(state->services.size(), std::size_t{many});
    EXPECT_LT(watch.seconds(), limit_seconds);
    const Stopwatch second;
    const Findings findings = examine(*state, positions);
    EXPECT_TRUE(findings.errors.empty()) << findings.errors.front().text();
    EXPECT_LT(second.seconds(), limit_seconds);
    const Stopwatch third;
    EXPECT_EQ(parse_toml(to_toml(*state), "again").value(), *state);
    EXPECT_LT(third.seconds(), 2 * limit_seconds);
}

TEST(Robustness, HostileTextsEndSoon) {
    const auto repeated = [](std::string_view piece, std::size_t times) {
        std::string text;
        for (std::size_t i = 0; i < times; ++i) text += piece;
        return text;
    };
    const std::vector<std::string> texts{
        std::string(100 << 20, 'x'),
        std::string(1 << 20, '\0'),
        repeated("a\n", 1 << 20),
        repeated("[a]\n", 1 << 20),
        repeated("[[a]]\n", 100'000),
        repeated("a.b.c.d.e.f = 1\n", 100'000),
        "a = [" + repeated("1,\n", 200'000),
        repeated("a = [ # §\n", 100'000),
        "version = 1\nunknown = \"" + std::string(4000, 'u') + "\"",
        "version = 1\n\"" + std::string(4000, 'u') + "\" = 1",
    };
    for (const std::string& text : texts) {
        const Stopwatch watch;
        const auto state = parse_toml(text, "hostile");
        ASSERT_FALSE(state);
        judge_refused(state.error());
        EXPECT_LT(watch.seconds(), limit_seconds) << text.substr(0, 20);
    }
}

}  // namespace
}  // namespace shunt::config
