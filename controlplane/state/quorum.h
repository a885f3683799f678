// Which services have enough backends up to be announced (docs/ecmp.md). Pure.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "controlplane/state/verdicts.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane {

// A backend is up if its check says so, or if it has none; in maintenance it is not. One that drains keeps its flows,
// and they need the VIP: it counts.
struct QuorumCount {
    std::size_t up{};  // backends
    bool held{};
    bool operator==(const QuorumCount&) const = default;
};

// By the family of its VIPs, IPv4 first; nothing where a service has none.
using QuorumByFamily = std::array<std::optional<QuorumCount>, 2>;

struct QuorumChange {
    std::size_t service{};
    Family family{};
    QuorumCount now{};
};

class Quorums {
  public:
    // Counts anew, and says what was found or lost. What is held stays held until fewer than `up` are up; what was
    // lost needs `hysteresis` more; a service that was not there before needs `up`.
    std::vector<QuorumChange> count(const config::DesiredState& state, const Verdicts& verdicts);

    // In the order of the state that was counted last.
    const QuorumByFamily& of(std::size_t service) const noexcept { return by_service_[service]; }

  private:
    std::vector<QuorumByFamily> by_service_{};
    std::unordered_map<std::string, std::size_t> position_{};  // by name
};

constexpr std::size_t index_of(Family family) noexcept { return family == Family::ipv4 ? 0 : 1; }

}  // namespace shunt::controlplane
