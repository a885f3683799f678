// Where the values of a TOML text stand, by JSON pointer ("/service/0/check/path"), so that what is found wrong later,
// between values, can still be shown in the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "src/base/result.h"

namespace shunt::config {

struct Place {
    std::uint32_t line{};  // from 1
    std::uint32_t column{};
};

class Positions {
  public:
    Positions() = default;  // of a document that is no file: locates nothing
    explicit Positions(std::string file) : file_(std::move(file)) {}

    void add(std::string pointer, Place key, Place value);
    // Fills in file, line and column of what error.pointer names; of the nearest table around it if it is not there.
    void locate(Error& error) const;
    // The same, but the place of the key instead of that of the value.
    void locate_key(Error& error) const;

  private:
    struct Entry {
        Place key{};
        Place value{};
    };
    const Entry* find(std::string_view pointer) const;

    std::string file_{};
    std::unordered_map<std::string, Entry> entries_{};
};

}  // namespace shunt::config
