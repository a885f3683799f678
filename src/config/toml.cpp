// The one file that sees toml++: it reads the syntax, keeps the places, and refuses duplicate keys.
#include "src/config/toml.h"

// The deepest thing in the configuration is a table in a list in a table.
#define TOML_MAX_NESTED_VALUES 16
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>

#include "src/config/document.h"

namespace shunt::config {
namespace {

constexpr std::size_t max_depth = 32;

// toml++ takes its tables apart recursively, and a dotted key may nest as deep as its line is long: without this bound
// a file of two megabytes overflows the stack.
std::optional<Error> too_long(std::string_view text, const std::string& file) {
    if (text.size() > max_toml_bytes) {
        return Error{.message = "it is larger than 16 MiB", .remedy = "split it, or shorten it", .file = file};
    }
    std::uint32_t number = 1;
    for (std::size_t begin = 0; begin < text.size(); ++number) {
        const std::size_t end = std::min(text.find('\n', begin), text.size());
        if (end - begin > max_toml_line_bytes) {
            return Error{.message = "the line is longer than 4,096 bytes",
                         .remedy = "break it; a list may stand on several lines",
                         .file = file,
                         .line = number,
                         .column = max_toml_line_bytes + 1};
        }
        begin = end + 1;
    }
    return std::nullopt;
}

Place place_of(const toml::source_region& source) { return {source.begin.line, source.begin.column}; }

// From what toml++ read to the tree both formats share, and the places of its values.
class Converter {
  public:
    Converter(Report& report, Positions& positions) : report_(report), positions_(positions) {}

    Json table(const toml::table& table, const Path& path) {
        Json result = Json::object();
        for (const auto& [key, node] : table) {
            const Path below = path.child(key.str());
            result[std::string(key.str())] = value(node, below, place_of(key.source()));
        }
        return result;
    }

  private:
    Json value(const toml::node& node, const Path& path, Place key) {
        const Place place = place_of(node.source());
        positions_.add(path.pointer, key, place.line != 0 ? place : key);
        if (report_.found()) return {};
        if (++depth_ > max_depth) {
            report_.add({.message = "it is nested too deep", .remedy = "no key of the configuration is"}, path);
        }
        Json result = report_.found() ? Json() : content(node, path);
        --depth_;
        return result;
    }
    Json content(const toml::node& node, const Path& path) {
        if (const auto* table_node = node.as_table()) return table(*table_node, path);
        if (const auto* array = node.as_array()) {
            Json list = Json::array();
            for (const toml::node& element : *array) {
                list.push_back(value(element, path.element(list.size()), place_of(element.source())));
            }
            return list;
        }
        if (const auto* text = node.as_string()) return text->get();
        if (const auto* number = node.as_integer()) {
            return number->get() < 0 ? Json(number->get()) : Json(static_cast<std::uint64_t>(number->get()));
        }
        if (const auto* number = node.as_floating_point()) return number->get();
        if (const auto* truth = node.as_boolean()) return truth->get();
        report_.add({.message = "a date or time stands here", .remedy = "put it into quotes if it is text"}, path);
        return {};
    }

    Report& report_;
    Positions& positions_;
    std::size_t depth_{};
};

Error syntax_error(const toml::parse_error& wrong, const std::string& file) {
    std::string what(wrong.description().substr(0, 300));
    std::ranges::replace_if(
        what, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    constexpr std::string_view opening = "Error while parsing ";
    if (what.starts_with(opening)) what.erase(0, opening.size());
    const bool twice = what.find("redefine") != std::string::npos;
    const Place place = place_of(wrong.source());
    return {.message = (twice ? "duplicate key, in " : "not valid TOML, in ") + what,
            .remedy = twice ? "keep one of the two" : "correct it there",
            .file = file,
            .line = place.line,
            .column = place.column};
}

Error located(const Report& report, const Positions& positions) {
    Error error = report.problem().error;
    if (report.problem().at_key) {
        positions.locate_key(error);
    } else {
        positions.locate(error);
    }
    return error;
}

}  // namespace

Result<DesiredState> parse_toml(std::string_view text, const std::string& file, Positions* positions) {
    if (auto error = too_long(text, file)) return std::move(*error);
    const toml::parse_result parsed = toml::parse(text, std::string_view{});
    if (!parsed) return syntax_error(parsed.error(), file);
    Positions places(file);
    Report report;
    places.add("", {1, 1}, {1, 1});
    const Json document = Converter(report, places).table(parsed.table(), {});
    DesiredState state;
    TableReader table(report, document, {});
    if (!report.found()) read_state(table, state);
    table.finish();
    if (report.found()) return located(report, places);
    if (positions != nullptr) *positions = std::move(places);
    return state;
}

}  // namespace shunt::config
