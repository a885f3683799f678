// Single values: from the text or number that stands in a document to a type, and back. What is wrong is said without
// the key and the place, which the caller knows.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/config/desired_state.h"

namespace shunt::config {

using Json = nlohmann::json;

// A value as messages show it: short, on one line, without control characters.
std::string shown(const Json& value);

// The one of `known` that differs least from `word`, as a question or a statement: `did you mean "weight"?`. What
// counts are insertions, deletions, exchanges and swaps of letters.
std::string suggestion(std::string_view word, std::span<const std::string_view> known);

// ---- durations: "800ms", "30s", "5m", "1h", "7d"
std::optional<Duration> parse_duration(std::string_view text);
std::string duration_text(Duration duration);

// ---- numbers
Result<std::uint64_t> as_integer(const Json& value, std::uint64_t least, std::uint64_t most);
template <class T>
auto between(T least, T most) {
    return [least, most](const Json& value) -> Result<T> {
        const auto number = as_integer(value, least, most);
        if (!number) return number.error();
        return static_cast<T>(*number);
    };
}
Result<Duration> as_duration(const Json& value, Duration least, Duration most);
inline auto lasting(Duration least, Duration most) {
    return [least, most](const Json& value) { return as_duration(value, least, most); };
}

Result<std::uint16_t> as_load_factor(const Json& value);  // 1.01 to 10.00: hundredths

Result<Mss> as_mss(const Json& value);  // "auto", "off", or a number of bytes

// ---- words of a closed list; `later` are those whose feature is not built yet
template <class T>
struct Word {
    std::string_view word;
    T value;
};
Error not_one_of(const Json& value, std::span<const std::string_view> words, std::span<const std::string_view> later);
template <class T>
Result<T> as_word(const Json& value, std::span<const Word<T>> words, std::span<const std::string_view> later) {
    std::vector<std::string_view> known;
    for (const auto& [word, meaning] : words) {
        if (value.is_string() && value.get_ref<const std::string&>() == word) return meaning;
        known.push_back(word);
    }
    return not_one_of(value, known, later);
}
template <class T>
std::string_view word_of(std::span<const Word<T>> words, T value) {
    for (const auto& [word, meaning] : words) {
        if (meaning == value) return word;
    }
    return {};
}

// ---- texts
Result<std::string> as_text(const Json& value);  // at most 1,024 bytes, no control characters
Result<std::string> as_name(const Json& value);  // 1 to 63 of A-Z a-z 0-9 . _ -, the first a letter or a digit
Result<std::string> as_file(const Json& value);  // an absolute path
Result<std::string> as_device(const Json& value);
Result<std::string> as_http_path(const Json& value);
Result<std::string> as_http_host(const Json& value);
Result<bool> as_on_off(const Json& value);
std::string_view on_off(bool on);

// ---- addresses
Result<IpAddress> as_address(const Json& value);
Result<AddressAndPort> as_listen(const Json& value);  // "127.0.0.1:9480", "[::1]:9480"
Result<MacAddress> as_mac(const Json& value);         // of one machine: neither a group nor all zeros
Result<Prefix> as_prefix(const Json& value);          // no bits beyond the length
Result<Vip> as_vip(const Json& value);  // "198.18.0.10:443/tcp", "198.18.0.10:8000-8999/udp", "198.18.0.10:*/tcp"

// ---- lists in one text
Result<std::vector<std::uint16_t>> as_cores(const Json& value);  // "2-3,8"
std::string cores_text(std::span<const std::uint16_t> cores);
Result<std::vector<StatusRange>> as_status(const Json& value);  // "200-299,301", or one number
std::string status_text(std::span<const StatusRange> ranges);

// "198.18.2.11:443", or "198.18.2.11" for one that follows the VIP's port: how messages and changes name a backend.
std::string label(const Backend& backend);

}  // namespace shunt::config
