#include <cctype>
#include <optional>

#include "controlplane/server/http.h"

namespace shunt::controlplane {
namespace {

std::optional<unsigned> hex(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    return std::nullopt;
}

std::optional<std::string> decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            out += text[i];
            continue;
        }
        if (i + 2 >= text.size()) return std::nullopt;
        const auto high = hex(text[i + 1]);
        const auto low = hex(text[i + 2]);
        if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
        out += static_cast<char>(*high << 4 | *low);
        i += 2;
    }
    return out;
}

// Calls `use` with each piece of text between separators; stops and returns false when `use` does.
template <class Use>
bool split(std::string_view text, char separator, Use&& use) {
    for (;;) {
        const auto end = text.find(separator);
        if (!use(text.substr(0, end))) return false;
        if (end == std::string_view::npos) return true;
        text.remove_prefix(end + 1);
    }
}

}  // namespace

bool parse_target(std::string_view target, HttpRequest& into) {
    const auto mark = target.find('?');
    const std::string_view path = target.substr(0, mark);
    if (path.empty() || path[0] != '/' || path.find('#') != std::string_view::npos) return false;
    const bool sound = split(path.substr(1), '/', [&](std::string_view segment) {
        auto decoded = decode(segment);
        if (!decoded) return false;
        into.path.push_back(std::move(*decoded));
        return true;
    });
    if (!sound || mark == std::string_view::npos) return sound;
    return split(target.substr(mark + 1), '&', [&](std::string_view parameter) {
        if (parameter.empty()) return true;
        const auto equals = parameter.find('=');
        auto key = decode(parameter.substr(0, equals));
        auto value = equals == std::string_view::npos ? std::string{} : decode(parameter.substr(equals + 1));
        return key && value && into.query.emplace(std::move(*key), std::move(*value)).second;
    });
}

}  // namespace shunt::controlplane
