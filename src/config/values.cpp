#include "src/config/values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "src/shm/limits.h"

namespace shunt::config {
namespace {

Error wrong(std::string message, std::string remedy) {
    return {.message = std::move(message), .remedy = std::move(remedy)};
}

std::string_view kind_of(const Json& value) {
    switch (value.type()) {
        case Json::value_t::string:
            return "text";
        case Json::value_t::boolean:
            return "true or false";
        case Json::value_t::number_float:
            return "a fraction";
        case Json::value_t::number_integer:
        case Json::value_t::number_unsigned:
            return "a number";
        case Json::value_t::array:
            return "a list";
        case Json::value_t::object:
            return "a table";
        default:
            return "nothing";
    }
}

template <class T>
std::optional<T> parse_number(std::string_view text) {
    T number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return number;
}

// The text of `value`, or a sentence that text belongs here.
Result<std::string_view> text_in(const Json& value, std::string_view example) {
    if (value.is_string()) return std::string_view(value.get_ref<const std::string&>());
    return wrong(std::string(kind_of(value)) + " stands where text belongs", "write it like " + std::string(example));
}

struct Unit {
    std::string_view name;
    std::int64_t nanoseconds;
};
constexpr std::array<Unit, 5> units{{{"d", 86'400'000'000'000},
                                     {"h", 3'600'000'000'000},
                                     {"m", 60'000'000'000},
                                     {"s", 1'000'000'000},
                                     {"ms", 1'000'000}}};

bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

template <class F>
bool each(std::string_view text, F allowed) {
    return std::ranges::all_of(text, allowed);
}

// Splits "a,b-c" and hands each range to `take`, which says whether it is one.
template <class T, class F>
bool ranges_in(std::string_view text, F take) {
    for (;;) {
        const std::size_t comma = text.find(',');
        const std::string_view part = text.substr(0, comma);
        const std::size_t dash = part.find('-');
        const auto first = parse_number<T>(part.substr(0, dash));
        const auto last = dash == std::string_view::npos ? first : parse_number<T>(part.substr(dash + 1));
        if (!first || !last || *first > *last || !take(*first, *last)) return false;
        if (comma == std::string_view::npos) return true;
        text.remove_prefix(comma + 1);
    }
}

// Optimal string alignment distance; three rows are enough.
std::size_t letters_apart(std::string_view word, std::string_view other) {
    std::vector<std::size_t> before(other.size() + 1), above(other.size() + 1), row(other.size() + 1);
    for (std::size_t j = 0; j <= other.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= word.size(); ++i) {
        before.swap(above);
        above.swap(row);
        row[0] = i;
        for (std::size_t j = 1; j <= other.size(); ++j) {
            row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (word[i - 1] != other[j - 1])});
            const bool swapped = i > 1 && j > 1 && word[i - 1] == other[j - 2] && word[i - 2] == other[j - 1];
            if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
        }
    }
    return row.back();
}

}  // namespace

std::string shown(const Json& value) {
    constexpr std::size_t most = 60;
    if (value.is_structured() && !value.empty()) return std::string(kind_of(value));
    std::string text;
    if (value.is_string() && value.get_ref<const std::string&>().size() > most) {
        text = Json(value.get_ref<const std::string&>().substr(0, most))
                   .dump(-1, ' ', true, Json::error_handler_t::replace);
        return text.substr(0, text.size() - 1) + "…\"";
    }
    return value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string suggestion(std::string_view word, std::span<const std::string_view> known) {
    const auto distance = [word](std::string_view other) { return letters_apart(word.substr(0, 64), other); };
    const std::string_view nearest = *std::ranges::min_element(known, {}, distance);
    const std::string quoted = '"' + std::string(nearest) + '"';
    return 2 * distance(nearest) <= word.size() ? "did you mean " + quoted + "?"
                                                : "the nearest key known here is " + quoted;
}

std::optional<Duration> parse_duration(std::string_view text) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = parse_number<std::int64_t>(text.substr(0, digits));
    for (const auto& [name, nanoseconds] : units) {
        if (number && text.substr(digits) == name && *number <= INT64_MAX / nanoseconds) {
            return Duration{*number * nanoseconds};
        }
    }
    return std::nullopt;
}

std::string duration_text(Duration duration) {
    for (const auto& [name, nanoseconds] : units) {
        const bool whole = duration.nanoseconds != 0 && duration.nanoseconds % nanoseconds == 0;
        if (whole) return std::to_string(duration.nanoseconds / nanoseconds) + std::string(name);
    }
    return std::to_string(duration.in_milliseconds()) + "ms";
}

Result<std::uint64_t> as_integer(const Json& value, std::uint64_t least, std::uint64_t most) {
    const std::string range = std::to_string(least) + (most != least ? " to " + std::to_string(most) : "");
    if (!value.is_number_integer()) {
        return wrong(std::string(kind_of(value)) + " stands where a whole number belongs",
                     "write a number, " + range + (value.is_string() ? ", without quotes" : ""));
    }
    const bool negative = !value.is_number_unsigned() && value.get<std::int64_t>() < 0;
    if (negative || value.get<std::uint64_t>() < least || value.get<std::uint64_t>() > most) {
        return wrong(shown(value) + " is out of range", "use " + range);
    }
    return value.get<std::uint64_t>();
}

Result<Duration> as_duration(const Json& value, Duration least, Duration most) {
    const auto text = text_in(value, "\"800ms\" or \"30s\"");
    if (!text) return text.error();
    const auto duration = parse_duration(*text);
    if (!duration) {
        return wrong(shown(value) + " is no length of time", "write a number and ms, s, m, h or d, like \"800ms\"");
    }
    if (*duration < least || *duration > most) {
        return wrong(shown(value) + " is out of range", "use " + duration_text(least) + " to " + duration_text(most));
    }
    return *duration;
}

Result<std::uint16_t> as_load_factor(const Json& value) {
    if (!value.is_number()) {
        return wrong(std::string(kind_of(value)) + " stands where a number belongs", "write a number, like 1.25");
    }
    const double hundredths = value.get<double>() * 100;
    if (!(hundredths >= least_load_factor - 1e-6 && hundredths <= most_load_factor + 1e-6)) {
        return wrong(shown(value) + " is out of range", "use 1.01 to 10");
    }
    if (std::abs(hundredths - std::round(hundredths)) > 1e-6) {
        return wrong(shown(value) + " is finer than it can be", "use at most two digits after the point, like 1.25");
    }
    return static_cast<std::uint16_t>(std::lround(hundredths));
}

Result<Mss> as_mss(const Json& value) {
    constexpr std::uint16_t least = 64, most = 65000;
    if (value == "auto") return Mss{};
    if (value == "off") return Mss{Mss::Kind::off, 0};
    const auto bytes = as_integer(value, least, most);
    if (bytes) return Mss{Mss::Kind::fixed, static_cast<std::uint16_t>(*bytes)};
    return wrong(shown(value) + " is no segment size",
                 "use \"auto\", \"off\", or a number, " + std::to_string(least) + " to " + std::to_string(most));
}

Error not_one_of(const Json& value, std::span<const std::string_view> words, std::span<const std::string_view> later) {
    std::string choice;
    for (const std::string_view word : words) choice += (choice.empty() ? "\"" : ", \"") + std::string(word) + "\"";
    if (!value.is_string()) {
        return wrong(std::string(kind_of(value)) + " stands where text belongs", "use " + choice);
    }
    const std::string& given = value.get_ref<const std::string&>();
    if (std::ranges::find(later, given) != later.end()) {
        return wrong(shown(value) + " is not available in this version", "use " + choice);
    }
    return wrong(shown(value) + " is not known here", words.size() == 1 ? "use " + choice : "use one of " + choice);
}

Result<std::string> as_text(const Json& value) {
    const auto text = text_in(value, "\"text\"");
    if (!text) return text.error();
    if (text->size() > 1024) return wrong("the text is longer than 1,024 bytes", "shorten it");
    if (!each(*text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; })) {
        return wrong(shown(value) + " contains control characters", "remove them");
    }
    return std::string(*text);
}

Result<std::string> as_name(const Json& value) {
    const auto text = text_in(value, "\"web\"");
    if (!text) return text.error();
    const auto allowed = [](char c) { return is_word(c) || c == '.' || c == '_' || c == '-'; };
    if (text->empty() || text->size() > 63 || !is_word(text->front()) || !each(*text, allowed)) {
        return wrong(shown(value) + " is no name",
                     "use up to 63 letters, digits and . _ -, the first a letter or a digit");
    }
    return std::string(*text);
}

Result<std::string> as_file(const Json& value) {
    auto text = as_text(value);
    if (!text || (text->starts_with('/') && !text->ends_with('/'))) return text;
    return wrong(shown(value) + " is no absolute path of a file", "write it like \"/run/shunt/ha.dataplane\"");
}

Result<std::string> as_device(const Json& value) {
    const auto text = text_in(value, "\"eth1\"");
    if (!text) return text.error();
    const auto allowed = [](char c) { return c > ' ' && c < 0x7f && c != '/' && c != ':' && c != '%'; };
    if (text->empty() || text->size() > 15 || !each(*text, allowed) || *text == "." || *text == "..") {
        return wrong(shown(value) + " is no name of a network interface", "`ip link` lists them");
    }
    return std::string(*text);
}

Result<std::string> as_http_path(const Json& value) {
    const auto text = text_in(value, "\"/healthz\"");
    if (!text) return text.error();
    const auto allowed = [](char c) { return c > ' ' && c < 0x7f; };
    if (!text->starts_with('/') || text->size() > 1024 || !each(*text, allowed)) {
        return wrong(shown(value) + " is no path", "begin with /, percent-encode blanks and other special characters");
    }
    return std::string(*text);
}

Result<std::string> as_http_host(const Json& value) {
    const auto text = text_in(value, "\"www.example.net\"");
    if (!text) return text.error();
    const auto allowed = [](char c) {
        return is_word(c) || std::string_view(".-_:[]").find(c) != std::string_view::npos;
    };
    if (text->empty() || text->size() > 255 || !each(*text, allowed)) {
        return wrong(shown(value) + " is no host name", "write it like \"www.example.net\"");
    }
    return std::string(*text);
}

Result<bool> as_on_off(const Json& value) {
    static constexpr std::array<Word<bool>, 2> words{{{"on", true}, {"off", false}}};
    return as_word<bool>(value, words, {});
}

std::string_view on_off(bool on) { return on ? "on" : "off"; }

Result<IpAddress> as_address(const Json& value) {
    constexpr std::string_view example = "198.18.2.11 or 2001:db8:2::21";
    const auto text = text_in(value, "\"198.18.2.11\"");
    if (!text) return text.error();
    if (const auto address = IpAddress::parse(*text)) return *address;
    if (const auto both = parse_address_and_port(*text)) {
        return wrong(shown(value) + " is an address and a port",
                     "write \"" + both->address.text() + "\", and the port as port = " + std::to_string(both->port));
    }
    return wrong(shown(value) + " is no IP address", "write one like " + std::string(example));
}

Result<AddressAndPort> as_listen(const Json& value) {
    const auto text = text_in(value, "\"127.0.0.1:9480\"");
    if (!text) return text.error();
    const auto both = parse_address_and_port(*text);
    if (both && both->port != 0) return *both;
    return wrong(shown(value) + " is no address and port", "write it like 127.0.0.1:9480 or [::1]:9480");
}

Result<MacAddress> as_mac(const Json& value) {
    const auto text = text_in(value, "\"02:00:00:00:02:0b\"");
    if (!text) return text.error();
    const auto mac = MacAddress::parse(*text);
    if (!mac || (mac->bytes[0] & 1) != 0 || *mac == MacAddress{}) {
        return wrong(shown(value) + " is no MAC address of one machine", "write one like 02:00:00:00:02:0b");
    }
    return *mac;
}

Result<Prefix> as_prefix(const Json& value) {
    const auto text = text_in(value, "\"198.18.0.0/15\"");
    if (!text) return text.error();
    const auto prefix = Prefix::parse(*text);
    if (!prefix) return wrong(shown(value) + " is no prefix", "write one like 198.18.0.0/15 or 2001:db8::/32");
    const Prefix masked = Prefix::around(prefix->address, prefix->length);
    if (masked != *prefix) return wrong(shown(value) + " has bits beyond its length", "write " + masked.text());
    return *prefix;
}

Result<Vip> as_vip(const Json& value) {
    constexpr const char* form = "write it like 198.18.0.10:443/tcp, [2001:db8::10]:8000-8999/udp or 198.18.0.10:*/tcp";
    const auto text = text_in(value, "\"198.18.0.10:443/tcp\"");
    if (!text) return text.error();
    if (const auto vip = Vip::parse(*text)) return *vip;
    const std::size_t slash = text->rfind('/');
    if (slash == std::string_view::npos) return wrong(shown(value) + " names no protocol", form);
    const auto protocol = parse_protocol(text->substr(slash + 1));
    if (protocol != Protocol::tcp && protocol != Protocol::udp) {
        return wrong(shown(value) + " has a protocol other than tcp and udp", form);
    }
    const std::string_view ports = text->substr(0, slash).substr(text->substr(0, slash).rfind(':') + 1);
    const std::size_t dash = ports.find('-');
    const auto first = parse_number<std::uint16_t>(ports.substr(0, dash));
    const auto last = dash == ports.npos ? std::nullopt : parse_number<std::uint16_t>(ports.substr(dash + 1));
    if (last && first == std::uint16_t{0}) {
        return wrong(shown(value) + " begins with port 0", "begin with 1 or more, or write * for all ports");
    }
    if (last && first && *last < *first) {
        return wrong(shown(value) + " ends before it begins",
                     "write " + std::to_string(*last) + "-" + std::to_string(*first));
    }
    return wrong(shown(value) + " is no address and port", form);
}

Result<std::vector<std::uint16_t>> as_cores(const Json& value) {
    const auto text = text_in(value, "\"2-3\"");
    if (!text) return text.error();
    std::vector<std::uint16_t> cores;
    const bool good = ranges_in<std::uint16_t>(*text, [&cores](std::uint16_t first, std::uint16_t last) {
        for (std::uint32_t core = first; core <= last && cores.size() <= shm::max_workers; ++core) {
            if (std::ranges::find(cores, core) != cores.end()) return false;
            cores.push_back(static_cast<std::uint16_t>(core));
        }
        return last < 4096;
    });
    if (!good) return wrong(shown(value) + " is no list of cores", "write it like \"2-3,8\", each core once");
    if (cores.size() > shm::max_workers) {
        return wrong("there are more cores than workers can be", "name at most " + std::to_string(shm::max_workers));
    }
    return cores;
}

std::string cores_text(std::span<const std::uint16_t> cores) {
    std::string text;
    for (std::size_t i = 0; i < cores.size();) {
        std::size_t end = i + 1;
        while (end < cores.size() && cores[end] == cores[end - 1] + 1) ++end;
        text += (text.empty() ? "" : ",") + std::to_string(cores[i]);
        if (end - i > 1) text += "-" + std::to_string(cores[end - 1]);
        i = end;
    }
    return text;
}

Result<std::vector<StatusRange>> as_status(const Json& value) {
    std::vector<StatusRange> ranges;
    const auto take = [&ranges](std::uint16_t first, std::uint16_t last) {
        ranges.push_back({first, last});
        return first >= 100 && last <= 599 && ranges.size() <= 32;
    };
    const std::string text = value.is_string() ? value.get<std::string>() : shown(value);
    const bool right_kind = value.is_string() || value.is_number_unsigned();
    if (right_kind && ranges_in<std::uint16_t>(text, take)) return ranges;
    return wrong(shown(value) + " is no list of HTTP status codes", "write it like \"200-299,301\"");
}

std::string status_text(std::span<const StatusRange> ranges) {
    std::string text;
    for (const auto& [first, last] : ranges) {
        text += (text.empty() ? "" : ",") + std::to_string(first);
        if (last != first) text += "-" + std::to_string(last);
    }
    return text;
}

std::string label(const Backend& backend) { return backend.port == 0 ? backend.address.text() : backend.key(); }

}  // namespace shunt::config
