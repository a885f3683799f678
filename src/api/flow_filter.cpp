#include "src/api/flow_filter.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include "src/config/values.h"
#include "src/shm/flow.h"

namespace shunt::api {
namespace {

constexpr std::size_t longest_filter = 1000;

// One word of a filter, and where it stands.
struct Word {
    std::string_view key, value;
    char sign{};
    std::uint32_t column{}, value_column{};
};

struct State {
    std::string_view name;
    shm::FlowState state;
};
constexpr std::array states{State{"syn", shm::FlowState::embryonic}, State{"established", shm::FlowState::established},
                            State{"fin", shm::FlowState::closing}, State{"udp", shm::FlowState::datagram}};

Error error_at(std::uint32_t column, std::string message, std::string remedy) {
    return {.message = std::move(message), .remedy = std::move(remedy), .file = "filter", .line = 1, .column = column};
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

std::optional<std::uint32_t> number(std::string_view text, std::uint32_t least, std::uint32_t most) {
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) return std::nullopt;
    return value;
}

// ADDR, ADDR:PORT or [ADDR]:PORT; port 0 if there is none.
std::optional<AddressAndPort> address_with_or_without_port(std::string_view text) {
    if (const auto address = IpAddress::parse(text)) return AddressAndPort{*address, 0};
    return parse_address_and_port(text);
}

class Reader {
  public:
    Reader(const shm::Tables& tables, std::uint32_t workers) : tables_(tables), workers_(workers) {}

    Result<shm::FlowFilter> read(std::string_view text);

  private:
    using Read = Status (Reader::*)(const Word&);
    struct Kind {
        std::string_view key, signs, example;
        Read read;
    };
    static const std::array<Kind, 10> kinds;
    static const Kind* kind_of(std::string_view key);

    static Result<Word> split(std::string_view word, std::uint32_t column);
    Status take(const Word& word);
    static Status wrong(const Word& word, const std::string& what);

    Status service(const Word& word);
    Status backend(const Word& word);
    Status client(const Word& word);
    Status client_port(const Word& word);
    Status vip(const Word& word);
    Status state(const Word& word);
    Status idle(const Word& word);
    Status protocol(const Word& word);
    Status worker(const Word& word);
    Status family(const Word& word);

    Status find_backend() const;
    Status find_vip() const;

    const shm::Tables& tables_;
    std::uint32_t workers_;
    shm::FlowFilter filter_{};
    std::vector<Word> words_{};
};

const std::array<Reader::Kind, 10> Reader::kinds{{
    {"service", "=", "service=web", &Reader::service},
    {"backend", "=", "backend=198.18.2.11 or backend=198.18.2.11:8080", &Reader::backend},
    {"client", "=", "client=203.0.113.7 or client=203.0.113.0/24", &Reader::client},
    {"client-port", "=", "client-port=40000", &Reader::client_port},
    {"vip", "=", "vip=198.18.0.10, vip=198.18.0.10:443 or vip=198.18.0.10:443/tcp", &Reader::vip},
    {"state", "=", "state=syn, state=established, state=fin or state=udp", &Reader::state},
    {"idle", "<>", "'idle>30s' or 'idle<5s', in quotes: a shell takes < and > for itself", &Reader::idle},
    {"protocol", "=", "protocol=tcp or protocol=udp", &Reader::protocol},
    {"worker", "=", "worker=1", &Reader::worker},
    {"family", "=", "family=4 or family=6", &Reader::family},
}};

const Reader::Kind* Reader::kind_of(std::string_view key) {
    const auto found = std::ranges::find(kinds, key, &Kind::key);
    return found == kinds.end() ? nullptr : &*found;
}

Result<Word> Reader::split(std::string_view word, std::uint32_t column) {
    const std::size_t sign = word.find_first_of("=<>");
    const std::string_view key = word.substr(0, sign);
    const Kind* kind = kind_of(key);
    if (kind == nullptr) {
        std::array<std::string_view, kinds.size()> keys;
        std::ranges::transform(kinds, keys.begin(), &Kind::key);
        return error_at(column, quoted(key) + " is no word of a filter", config::suggestion(key, keys));
    }
    const auto end = static_cast<std::uint32_t>(column + key.size());
    if (sign == std::string_view::npos || kind->signs.find(word[sign]) == std::string_view::npos) {
        const std::string signs = kind->signs == "=" ? "=" : "< or >";
        return error_at(end, quoted(key) + " is followed by " + signs, "write " + std::string(kind->example));
    }
    if (sign + 1 == word.size()) {
        return error_at(end + 1, quoted(word) + " has no value", "write " + std::string(kind->example));
    }
    return Word{key, word.substr(sign + 1), word[sign], column, end + 1};
}

Result<shm::FlowFilter> Reader::read(std::string_view text) {
    if (text.size() > longest_filter) {
        return error_at(longest_filter + 1, "the filter is too long", "1,000 letters are the most");
    }
    if (text == "all") return filter_;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = text.find_first_not_of(' ', at);
        if (begin == std::string_view::npos) break;
        const std::size_t end = std::min(text.find(' ', begin), text.size());
        const auto word = split(text.substr(begin, end - begin), static_cast<std::uint32_t>(begin + 1));
        if (!word) return word.error();
        if (const Status taken = take(*word); !taken) return taken.error();
        at = end;
    }
    // Only now: they may depend on each other.
    if (const Status found = find_backend(); !found) return found.error();
    if (const Status found = find_vip(); !found) return found.error();
    return filter_;
}

Status Reader::take(const Word& word) {
    const bool again = std::ranges::any_of(
        words_, [&](const Word& before) { return before.key == word.key && before.sign == word.sign; });
    if (again) {
        return error_at(word.column, quoted(word.key) + " is there twice",
                        "all words must hold: say it once, or ask twice");
    }
    words_.push_back(word);
    return (this->*kind_of(word.key)->read)(word);
}

Status Reader::wrong(const Word& word, const std::string& what) {
    return error_at(word.value_column, quoted(word.value) + " is no " + what,
                    "write " + std::string(kind_of(word.key)->example));
}

Status Reader::service(const Word& word) {
    std::vector<std::string_view> names;
    for (std::uint32_t i = 1; i < tables_.services.count(); ++i) {
        const std::string_view name = shm::name_of(tables_.services[i]);
        if (name == word.value) filter_.service = ServiceIndex(static_cast<std::uint16_t>(i));
        if (!name.empty()) names.push_back(name);
    }
    if (filter_.service) return Done{};
    std::string remedy = names.empty() ? "" : config::suggestion(word.value, names);
    if (!remedy.starts_with("did you mean")) remedy = "`shunt service list` shows those there are";
    return error_at(word.value_column, "there is no service " + quoted(word.value), std::move(remedy));
}

Status Reader::backend(const Word& word) {
    const auto read = address_with_or_without_port(word.value);
    if (!read || read->address.is_unspecified()) return wrong(word, "address of a backend");
    filter_.backend = read->address;
    filter_.backend_port = Be16(read->port);
    return Done{};
}

Status Reader::client(const Word& word) {
    const auto address = IpAddress::parse(word.value);
    const auto prefix =
        address ? Prefix{*address, static_cast<std::uint8_t>(address->is_v4() ? 32 : 128)} : Prefix::parse(word.value);
    if (!prefix || prefix->address.is_unspecified() || prefix->length == 0) return wrong(word, "address of clients");
    filter_.client = prefix->address;
    filter_.client_length = prefix->length;
    return Done{};
}

Status Reader::client_port(const Word& word) {
    const auto port = number(word.value, 1, 65535);
    if (!port) return wrong(word, "port");
    filter_.client_port = Be16(static_cast<std::uint16_t>(*port));
    return Done{};
}

Status Reader::vip(const Word& word) {
    const std::size_t slash = word.value.rfind('/');
    const auto read = address_with_or_without_port(word.value.substr(0, slash));
    if (!read || read->address.is_unspecified()) return wrong(word, "VIP");
    filter_.vip = read->address;
    filter_.vip_port = Be16(read->port);
    if (slash == std::string_view::npos) return Done{};
    const auto protocol = parse_protocol(word.value.substr(slash + 1));
    if (!protocol || (*protocol != Protocol::tcp && *protocol != Protocol::udp)) return wrong(word, "VIP");
    if (filter_.protocol != Protocol{} && filter_.protocol != *protocol) return wrong(word, "VIP of that protocol");
    filter_.protocol = *protocol;
    return Done{};
}

Status Reader::state(const Word& word) {
    const auto found = std::ranges::find(states, word.value, &State::name);
    if (found == states.end()) return wrong(word, "state of a flow");
    filter_.states = static_cast<std::uint8_t>(1U << static_cast<unsigned>(found->state));
    return Done{};
}

Status Reader::idle(const Word& word) {
    constexpr Duration most = Duration::seconds(7 * 24 * 3600);
    const auto length = config::parse_duration(word.value);
    if (!length || length->nanoseconds < Tick::nanoseconds || *length > most) {
        return wrong(word, "length of time from 250ms to 7d");
    }
    (word.sign == '>' ? filter_.idle_above : filter_.idle_below) = to_ticks(*length);
    return Done{};
}

Status Reader::protocol(const Word& word) {
    const auto protocol = parse_protocol(word.value);
    if (!protocol || (*protocol != Protocol::tcp && *protocol != Protocol::udp)) return wrong(word, "protocol here");
    if (filter_.protocol != Protocol{} && filter_.protocol != *protocol) return wrong(word, "protocol of that VIP");
    filter_.protocol = *protocol;
    return Done{};
}

Status Reader::worker(const Word& word) {
    const auto worker = number(word.value, 0, shm::max_workers - 1);
    if (!worker) return wrong(word, "number of a worker");
    if (*worker >= workers_) {
        return error_at(word.value_column, "there is no worker " + std::string(word.value),
                        "`shunt worker list` shows those there are");
    }
    filter_.workers = std::uint64_t{1} << *worker;
    return Done{};
}

Status Reader::family(const Word& word) {
    const auto family = number(word.value, 4, 6);
    if (!family || *family == 5) return wrong(word, "address family");
    filter_.family = static_cast<std::uint8_t>(*family);
    return Done{};
}

Status Reader::find_backend() const {
    if (filter_.backend.is_unspecified()) return Done{};
    for (std::uint32_t i = 1; i < tables_.backends.count(); ++i) {
        const shm::BackendRecord& record = tables_.backends[i];
        if (record.status != shm::BackendStatus::absent && record.address == filter_.backend &&
            (filter_.backend_port == Be16{} || record.port == shm::any_port || filter_.backend_port == record.port) &&
            (!filter_.service || filter_.service == record.service)) {
            return Done{};
        }
    }
    const Word& word = *std::ranges::find(words_, "backend", &Word::key);
    return error_at(
        word.value_column,
        std::string(filter_.service ? "that service has" : "there is") + " no backend " + quoted(word.value),
        "`shunt backend list` shows those there are; the port is the one packets go to");
}

Status Reader::find_vip() const {
    if (filter_.vip.is_unspecified()) return Done{};
    for (std::uint32_t i = 1; i < tables_.listeners.count(); ++i) {
        const shm::ListenerRecord& record = tables_.listeners[i];
        if (record.in_use && record.address == filter_.vip &&
            (filter_.vip_port == Be16{} || record.ports().contains(filter_.vip_port))) {
            return Done{};
        }
    }
    const Word& word = *std::ranges::find(words_, "vip", &Word::key);
    return error_at(word.value_column, "there is no VIP " + quoted(word.value),
                    "`shunt service list` shows those there are");
}

}  // namespace

Result<shm::FlowFilter> parse_flow_filter(std::string_view text, const shm::Tables& tables, std::uint32_t workers) {
    return Reader(tables, workers).read(text);
}

}  // namespace shunt::api
