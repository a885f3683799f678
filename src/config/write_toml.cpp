#include "src/config/document.h"
#include "src/config/toml.h"

namespace shunt::config {
namespace {

// Small tables that read better on one line.
bool is_inline(std::string_view key) {
    return key == "timeouts" || key == "expect" || key == "pcap" || key == "tunnel" || key == "track_files" ||
           key == "quorum";
}
bool is_table(std::string_view key, const Tree& value) { return value.is_object() && !is_inline(key); }
bool is_list_of_tables(const Tree& value) { return value.is_array() && !value.empty() && value[0].is_object(); }

std::string list(const Tree& values, const std::string& indent) {
    constexpr std::size_t wide = 90;
    const std::string line = one_line(values);
    std::string lines;
    for (const Tree& value : values) lines += indent + "    " + one_line(value) + ",\n";
    return line.size() <= wide ? line : "[\n" + lines + indent + "]";
}

// Plain values first, as TOML wants it; then tables, then lists of tables.
void print(const Tree& table, const std::string& path, const std::string& indent, std::string& out) {
    for (const auto& [key, value] : table.items()) {
        if (is_table(key, value) || is_list_of_tables(value)) continue;
        out += indent;
        out += key + " = " + (value.is_array() ? list(value, indent) : one_line(value)) + "\n";
    }
    const std::string below = path.empty() ? indent : indent + "  ";
    for (const auto& [key, value] : table.items()) {
        if (!is_table(key, value)) continue;
        out += "\n" + below + "[" + path + key + "]\n";
        print(value, path + key + ".", below, out);
    }
    for (const auto& [key, value] : table.items()) {
        if (!is_list_of_tables(value)) continue;
        for (const Tree& element : value) {
            out += "\n" + below + "[[" + path + key + "]]\n";
            print(element, path + key + ".", below, out);
        }
    }
}

}  // namespace

std::string one_line(const Tree& value) {
    std::string text;
    if (value.is_array()) {
        for (const Tree& element : value) text += (text.empty() ? "" : ", ") + one_line(element);
        return "[" + text + "]";
    }
    if (value.is_object()) {
        for (const auto& [key, element] : value.items()) {
            if (!element.is_null()) text += (text.empty() ? " " : ", ") + key + " = " + one_line(element);
        }
        return "{" + text + " }";
    }
    return value.dump(-1, ' ', false, Tree::error_handler_t::replace);  // JSON's quotes and escapes are also TOML's
}

std::string to_toml(const DesiredState& state) {
    std::string text;
    print(write_state(state, Form::brief), "", "", text);
    return text;
}

}  // namespace shunt::config
