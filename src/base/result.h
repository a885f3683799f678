// A value or an error a person can act on. Expected failures are returned, not thrown.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace shunt {

// What programs print as {"error":{"message","file","line","column","key","remedy"}} and people read as
// "FILE:LINE:COL: message; remedy" (CONTRACTS.md). Empty strings and zeros are absent.
struct Error {
    std::string message;
    std::string remedy{};
    std::string file{};
    std::uint32_t line{};
    std::uint32_t column{};
    std::string key{};      // dotted path of the configuration key, e.g. "service.web.check.path"
    std::string pointer{};  // the same as a JSON pointer (RFC 6901) into the document that was read

    std::string text() const {
        std::string place = file;
        if (line != 0) place += ":" + std::to_string(line) + ":" + std::to_string(column);
        return (place.empty() ? "" : place + ": ") + message + (remedy.empty() ? "" : "; " + remedy);
    }
};

template <class T>
class [[nodiscard]] Result {
  public:
    Result(T value) : content_(std::move(value)) {}      // NOLINT(google-explicit-constructor)
    Result(Error error) : content_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

    explicit operator bool() const noexcept { return content_.index() == 0; }
    T& value() & { return std::get<0>(content_); }
    const T& value() const& { return std::get<0>(content_); }
    T&& value() && { return std::get<0>(std::move(content_)); }
    T& operator*() & { return value(); }
    const T& operator*() const& { return value(); }
    T&& operator*() && { return std::move(*this).value(); }
    T* operator->() { return &value(); }
    const T* operator->() const { return &value(); }
    const Error& error() const { return std::get<1>(content_); }

  private:
    std::variant<T, Error> content_;
};

struct Done {};
using Status = Result<Done>;

}  // namespace shunt
