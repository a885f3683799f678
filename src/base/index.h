// Strong index types: a listener index and a slot are both small integers and must never be mixed up.
#pragma once

#include <compare>
#include <cstdint>

namespace shunt {

template <class Tag, class Representation>
struct Index {
    using representation = Representation;

    Representation value{};

    constexpr Index() = default;
    constexpr explicit Index(Representation v) noexcept : value(v) {}
    friend constexpr auto operator<=>(Index, Index) noexcept = default;
    // In shared tables zero means "none" (DESIGN section 3).
    constexpr explicit operator bool() const noexcept { return value != 0; }
};

using ListenerIndex = Index<struct ListenerTag, std::uint16_t>;  // 1..65,535; 0 none
using ServiceIndex = Index<struct ServiceTag, std::uint16_t>;    // 1..max_services; 0 none
using SourceNumber = Index<struct SourceTag, std::uint32_t>;    // one per (address, port, protocol) of backends; 0 none
using NextHopIndex = Index<struct NextHopTag, std::uint16_t>;   // 0 none
using WorkerIndex = Index<struct WorkerTag, std::uint16_t>;     // from 0
using PortIndex = Index<struct PortTag, std::uint8_t>;          // position in the configuration, from 0
using Generation = Index<struct GenerationTag, std::uint64_t>;  // 0: nothing was ever published

}  // namespace shunt
