#include "src/config/reader.h"

#include <algorithm>

namespace shunt::config {

Path Path::child(std::string_view part) const {
    Path result{pointer + '/', key + (key.empty() ? "" : ".") + std::string(part), std::string(part)};
    for (const char c : part) {
        result.pointer += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
    }
    return result;
}

Path Path::element(std::size_t index) const { return {pointer + '/' + std::to_string(index), key, name}; }

Path Path::element(std::size_t index, std::string_view label) const {
    return {pointer + '/' + std::to_string(index), key + '.' + std::string(label), name};
}

void Report::add(Error error, const Path& path, bool at_key) {
    if (found()) return;
    if (!at_key && !path.name.empty()) error.message.insert(0, path.name + ": ");
    error.key = path.key;
    error.pointer = path.pointer;
    problem_ = Problem{std::move(error), at_key};
}

TableReader::TableReader(Report& report, const Json& value, Path path)
    : report_(report), value_(value), path_(std::move(path)) {
    if (value.is_object()) return;
    report_.add({.message = shown(value) + " stands where a table of keys and values belongs",
                 .remedy = "see docs/reference.md for its keys"},
                path_);
}

const Json* TableReader::ask(std::string_view key) {
    known_.push_back(key);
    if (!value_.is_object()) return nullptr;
    const auto found = value_.find(key);
    return found == value_.end() || found->is_null() ? nullptr : &*found;
}

bool TableReader::has(std::string_view key) const {
    if (!value_.is_object()) return false;
    const auto found = value_.find(key);
    return found != value_.end() && !found->is_null();
}

void TableReader::later(std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys) {
        if (ask(key) == nullptr) continue;
        report_.add({.message = "\"" + std::string(key) + "\" is not available in this version", .remedy = "remove it"},
                    path_.child(key), true);
    }
}

void TableReader::require(std::string_view key) {
    if (!has(key)) missing_.push_back(key);
}

// A misspelt key is also a missing one: what is there and wrong is named first.
void TableReader::finish() {
    if (report_.found()) return;
    for (const auto& [key, value] : value_.items()) {
        if (std::ranges::find(known_, key) != known_.end()) continue;
        Path path = path_.child(key);
        path.key = path_.child(key.substr(0, 64)).key;
        return report_.add({.message = "unknown key " + shown(key), .remedy = suggestion(key, known_)}, path, true);
    }
    for (const std::string_view key : missing_) {
        return report_.add({.message = "\"" + std::string(key) + "\" is missing", .remedy = "add it"}, path_.child(key),
                           true);
    }
}

std::string TableReader::label_in(const Json& value, std::size_t index) {
    const auto text = [&value](const char* key) {
        const auto found = value.is_object() ? value.find(key) : value.end();
        return found != value.end() && found->is_string() ? found->get<std::string>() : "";
    };
    if (const std::string name = text("name"); as_name(name)) return name;
    if (const auto address = as_address(text("address"))) {
        const auto port = value.find("port");
        Backend backend{.address = *address};
        if (port != value.end() && port->is_number_unsigned() && *port <= 65535)
            backend.port = port->get<std::uint16_t>();
        return label(backend);
    }
    return "#" + std::to_string(index + 1);
}

}  // namespace shunt::config
