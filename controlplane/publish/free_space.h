// Free bytes of the tables region. Not stored: what is free follows from what the roots reach.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>

namespace shunt::controlplane {

struct Extent {
    std::uint64_t offset{};
    std::uint64_t bytes{};
    auto operator<=>(const Extent&) const = default;
};

class FreeSpace {
  public:
    // Extents do not overlap; neighbours become one.
    void add(Extent extent);
    // The first place that is large enough.
    std::optional<std::uint64_t> take(std::uint64_t bytes);
    std::uint64_t bytes() const noexcept { return bytes_; }

  private:
    std::map<std::uint64_t, std::uint64_t> by_offset_{};
    std::uint64_t bytes_{};
};

}  // namespace shunt::controlplane
