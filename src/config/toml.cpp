// The one file that sees toml++: it reads the syntax, keeps the places, and refuses duplicate keys.
#include "src/config/toml.h"

#include <algorithm>
#include <cctype>

#include "src/config/document.h"
#include "src/config/prescan.h"

namespace shunt::config {
namespace {
// toml++ 3.3.0 asserts where it should refuse: "[[[" (its pull request 301). With NDEBUG it would even build upon the
// false assertion. Here all of them throw.
struct ParserGaveUp {};
[[noreturn]] void give_up() { throw ParserGaveUp(); }
}  // namespace
}  // namespace shunt::config
#undef NDEBUG
#define TOML_ASSERT(condition) ((condition) ? static_cast<void>(0) : shunt::config::give_up())
// The deepest thing in the configuration is a table in a list in a table.
#define TOML_MAX_NESTED_VALUES 16
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace shunt::config {
namespace {

constexpr std::size_t max_depth = 32;

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

// The parser gave up at a header "[[" without a key.
Error header_error(std::string_view text, const std::string& file) {
    Place place{1, 1};
    for (std::uint32_t line = 1; !text.empty(); ++line) {
        const std::string_view content = text.substr(0, text.find('\n'));
        const std::size_t begin = std::min(content.find_first_not_of(" \t"), content.size());
        const std::size_t key = content.find_first_not_of(" \t", begin + 2);
        const bool is_key =
            key != std::string_view::npos && (std::isalnum(static_cast<unsigned char>(content[key])) != 0 ||
                                              std::string_view("_-\"'").find(content[key]) != std::string_view::npos);
        if (content.substr(begin).starts_with("[[") && !is_key) {
            place = {line, static_cast<std::uint32_t>(begin + 1)};
            break;
        }
        text.remove_prefix(std::min(content.size() + 1, text.size()));
    }
    return {.message = "not valid TOML: a key belongs after \"[[\"",
            .remedy = "correct it there",
            .file = file,
            .line = place.line,
            .column = place.column};
}

Result<toml::table> parse_syntax(std::string_view text, const std::string& file) {
    try {
        return toml::parse(text, std::string_view{});
    } catch (const toml::parse_error& wrong) {
        return syntax_error(wrong, file);
    } catch (const ParserGaveUp&) {
        return header_error(text, file);
    }
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
    if (text.size() > max_toml_bytes) {
        return Error{.message = "it is larger than 32 MiB", .remedy = "name a configuration file", .file = file};
    }
    if (auto error = prescan(text, file)) return std::move(*error);
    const auto parsed = parse_syntax(text, file);
    if (!parsed) return parsed.error();
    Positions places(file);
    Report report;
    places.add("", {1, 1}, {1, 1});
    const Json document = Converter(report, places).table(*parsed, {});
    DesiredState state;
    TableReader table(report, document, {});
    if (!report.found()) read_state(table, state);
    table.finish();
    if (report.found()) return located(report, places);
    if (positions != nullptr) *positions = std::move(places);
    return state;
}

}  // namespace shunt::config
