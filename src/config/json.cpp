#include "src/config/json.h"

#include <set>

#include "src/config/document.h"

namespace shunt::config {
namespace {

constexpr std::size_t max_depth = 32;

// The parser of nlohmann::json takes duplicate keys without a word and nests without a bound: this builds the value by
// the parser's events, and looks.
class StrictBuilder : public nlohmann::json_sax<Json> {
  public:
    Json result{};
    Error error{};

    bool null() override { return put(nullptr); }
    bool boolean(bool value) override { return put(value); }
    bool number_integer(number_integer_t value) override { return put(value); }
    bool number_unsigned(number_unsigned_t value) override { return put(value); }
    bool number_float(number_float_t value, const string_t&) override { return put(value); }
    bool string(string_t& value) override { return put(std::move(value)); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(Json::object()); }
    bool start_array(std::size_t) override { return open(Json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        if (open_.back().value->contains(name)) {
            return refuse("duplicate key " + shown(name), "remove one of the two", path().child(name));
        }
        open_.back().key = std::move(name);
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        error = {.message = "this is not JSON: wrong at byte " + std::to_string(position),
                 .remedy = "correct it there"};
        return false;
    }

  private:
    struct Open {
        Json* value{};
        std::string key{};  // of the member that comes next
    };

    Path path() const {
        Path path;
        for (std::size_t i = 0; i + 1 < open_.size(); ++i) {
            const auto& [value, key] = open_[i];
            path = value->is_array() ? path.element(value->size() - 1) : path.child(key);
        }
        return path;
    }
    bool refuse(std::string message, std::string remedy, const Path& where) {
        error = {
            .message = std::move(message), .remedy = std::move(remedy), .key = where.key, .pointer = where.pointer};
        return false;
    }
    Json* add(Json value) {
        if (open_.empty()) return &(result = std::move(value));
        Json& parent = *open_.back().value;
        if (parent.is_object()) return &(parent[open_.back().key] = std::move(value));
        return &parent.emplace_back(std::move(value));
    }
    bool put(Json value) {
        add(std::move(value));
        return true;
    }
    bool open(Json value) {
        if (open_.size() >= max_depth) {
            return refuse("more than " + std::to_string(max_depth) + " levels of nesting", "flatten it", path());
        }
        open_.push_back({add(std::move(value))});
        return true;
    }
    bool close() {
        open_.pop_back();
        return true;
    }

    // References to values stay good: only the innermost open one grows.
    std::vector<Open> open_{};
};

template <class T, class Read>
Result<T> read(const Json& json, Path path, Read read_keys) {
    Report report;
    T result{};
    TableReader table(report, json, std::move(path));
    read_keys(table, result);
    table.finish();
    if (report.found()) return report.problem().error;
    return result;
}

// People's name of a part that comes by itself; its pointer begins at its own root.
Path part(const Json& json, const char* list, const char* name) {
    const auto found = json.is_object() ? json.find(name) : json.end();
    const bool named = found != json.end() && found->is_string();
    return {"", list + (named ? "." + found->get<std::string>().substr(0, 64) : std::string()), list};
}

}  // namespace

Result<Json> parse_json(std::string_view text) {
    StrictBuilder builder;
    if (Json::sax_parse(text, &builder)) return std::move(builder.result);
    return builder.error;
}

Result<DesiredState> from_json(const Json& document) { return read<DesiredState>(document, {}, read_state); }
Result<Service> service_from_json(const Json& service) {
    return read<Service>(service, part(service, "service", "name"), read_service);
}
Result<Backend> backend_from_json(const Json& backend) {
    return read<Backend>(backend, part(backend, "backend", "address"), read_backend);
}

Json to_json(const DesiredState& state) { return write_state(state, Form::complete); }
Json to_json(const Service& service) { return write_service(service, Form::complete); }
Json to_json(const Backend& backend) { return write_backend(backend, Form::complete); }

}  // namespace shunt::config
