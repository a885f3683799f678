// Reads tables of a document key by key. The first thing found wrong is kept, with its key and JSON pointer; from then
// on nothing is read any more, so that readers need not look after every step.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/config/values.h"

namespace shunt::config {

// Where in a document: for programs and for people.
struct Path {
    std::string pointer{};  // "/service/0/check"
    std::string key{};      // "service.web.check"
    std::string name{};     // "check": its last part, or that of the list an element is in

    Path child(std::string_view part) const;
    Path element(std::size_t index) const;                          // of a list: the people's key is that of the list
    Path element(std::size_t index, std::string_view label) const;  // of a list of tables: "service.web"
};

class Report {
  public:
    struct Problem {
        Error error;
        bool at_key{};  // the key is wrong rather than its value
    };
    bool found() const noexcept { return problem_.has_value(); }
    const Problem& problem() const { return *problem_; }
    void add(Error error, const Path& path, bool at_key = false);

  private:
    std::optional<Problem> problem_{};
};

class TableReader {
  public:
    TableReader(Report& report, const Json& value, Path path);

    const Path& path() const noexcept { return path_; }

    // Reads the value of `key` with `convert` (Json -> Result<T>) if it is there.
    template <class T, class Convert>
    void optional(std::string_view key, T& target, Convert convert) {
        const Json* value = ask(key);
        if (value == nullptr || report_.found()) return;
        if (auto result = convert(*value)) {
            target = std::move(*result);
        } else {
            report_.add(result.error(), path_.child(key));
        }
    }
    template <class T, class Convert>
    void required(std::string_view key, T& target, Convert convert) {
        optional(key, target, convert);
        require(key);
    }
    // A list of values.
    template <class T, class Convert>
    void list(std::string_view key, std::vector<T>& target, Convert convert) {
        each(key, "put it into [ ]", [&](const Json& value, std::size_t index) {
            if (auto result = convert(value)) {
                target.push_back(std::move(*result));
            } else {
                report_.add(result.error(), path_.child(key).element(index));
            }
        });
    }
    // A list of tables: read(TableReader&, T&).
    template <class T, class Read>
    void tables(std::string_view key, std::vector<T>& target, Read read) {
        each(key, "in a file write [[…]] where you wrote […]", [&](const Json& value, std::size_t index) {
            TableReader table(report_, value, path_.child(key).element(index, label_in(value, index)));
            read(table, target.emplace_back());
            table.finish();
        });
    }
    // A table below this one: read(TableReader&).
    template <class Read>
    void table(std::string_view key, Read read) {
        const Json* value = ask(key);
        if (value == nullptr || report_.found()) return;
        TableReader below(report_, *value, path_.child(key));
        read(below);
        below.finish();
    }
    // Keys whose feature is not built yet.
    void later(std::initializer_list<std::string_view> keys);

    void require(std::string_view key);
    void refuse(std::string_view key, Error error) { report_.add(std::move(error), path_.child(key)); }
    void refuse(Error error) { report_.add(std::move(error), path_); }  // the table as a whole
    bool has(std::string_view key) const;
    void finish();

  private:
    const Json* ask(std::string_view key);  // null where nothing is
    static std::string label_in(const Json& value, std::size_t index);

    template <class F>
    void each(std::string_view key, const char* remedy, F read) {
        const Json* value = ask(key);
        if (value == nullptr || report_.found()) return;
        if (!value->is_array()) return refuse(key, {.message = "a list belongs here", .remedy = remedy});
        for (std::size_t i = 0; i < value->size() && !report_.found(); ++i) read((*value)[i], i);
    }

    Report& report_;
    const Json& value_;
    Path path_;
    std::vector<std::string_view> known_{};
    std::vector<std::string_view> missing_{};
};

}  // namespace shunt::config
