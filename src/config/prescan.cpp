#include "src/config/prescan.h"

#include <algorithm>

namespace shunt::config {
namespace {

constexpr std::size_t most_dots = 32;  // outside quotes, in one line

struct Finding {
    std::size_t at{};
    const char* message{};
    const char* remedy{};
};

// The position behind the string that begins at `at`; the end of the line if it is not closed, which toml++ refuses.
std::size_t behind_string(std::string_view line, std::size_t at) {
    const char quote = line[at];
    for (std::size_t i = at + 1; i < line.size(); ++i) {
        if (line[i] == quote) return i + 1;
        if (line[i] == '\\' && quote == '"') ++i;
    }
    return line.size();
}

// toml++ ends a line, and with it a comment, at any of them; what follows would be outside of what is looked over here.
std::optional<Finding> find_control_character(std::string_view line) {
    for (std::size_t i = 0; i < line.size(); ++i) {
        const auto c = static_cast<unsigned char>(line[i]);
        const bool ends_line = c == '\r' && i + 1 == line.size();
        if ((c >= 0x20 || c == '\t' || ends_line) && c != 0x7f) continue;
        return Finding{i, "a control character", "remove it; in a quoted string write it as an escape"};
    }
    return std::nullopt;
}

std::optional<Finding> look_over(std::string_view line) {
    if (const auto control = find_control_character(line)) return control;
    std::size_t dots = 0;
    for (std::size_t i = 0; i < line.size();) {
        const char c = line[i];
        if (c == '#') return std::nullopt;
        if (c == '"' || c == '\'') {
            // Before it only what may stand between values: toml++ would read on in the word, not begin a string.
            if (i > 0 && std::string_view(" \t=[]{},.").find(line[i - 1]) == std::string_view::npos) {
                return Finding{i, "a quote stands in the middle of a word", "remove it, or put the whole into quotes"};
            }
            if (line.substr(i).starts_with(std::string(3, c))) {
                return Finding{i, "strings of several lines are not read here", "write the text on one line"};
            }
            i = behind_string(line, i);
            continue;
        }
        if (static_cast<unsigned char>(c) >= 0x80) {
            return Finding{i, "a character beyond ASCII stands outside quotes",
                           "remove it, or put the text into quotes"};
        }
        if (c == '.' && ++dots > most_dots) {
            return Finding{i, "the key is nested too deep", "no key of the configuration is"};
        }
        ++i;
    }
    return std::nullopt;
}

}  // namespace

std::optional<Error> prescan(std::string_view text, const std::string& file) {
    constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    for (std::uint32_t number = 1; !text.empty(); ++number) {
        const std::string_view line = text.substr(0, text.find('\n'));
        if (const auto finding = look_over(line)) {
            return Error{.message = finding->message,
                         .remedy = finding->remedy,
                         .file = file,
                         .line = number,
                         .column = static_cast<std::uint32_t>(finding->at + 1)};
        }
        text.remove_prefix(std::min(line.size() + 1, text.size()));
    }
    return std::nullopt;
}

}  // namespace shunt::config
