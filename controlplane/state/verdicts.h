// Which check decides about which backends, and what it says of them. Pure.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "controlplane/health/check.h"
#include "controlplane/health/machine.h"
#include "src/config/desired_state.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

// The check of a backend; nothing if its service has none. A backend that follows the VIP's port is checked on the port
// of the service's first VIP, unless the check names another.
std::optional<CheckSpec> check_of(const config::Service& service, const config::Backend& backend);

// What the published tables say of a backend, for a control plane that was restarted.
using ReadBack = std::function<Verdict(const config::Service& service, const config::Backend& backend)>;

class Verdicts {
  public:
    Verdicts() = default;

    // For another state. A backend keeps its verdict while it keeps service and key, also when its check becomes
    // another; `read_back` is asked for those that were not there before.
    Verdicts reconfigured(const config::DesiredState& state, const ReadBack& read_back = {}) const;
    std::vector<WantedCheck> checks() const;

    // False if nobody wants this check (any more).
    bool apply(const CheckSpec& check, Verdict verdict);

    // In the order of the state's services and their backends, as the compiler wants it.
    const std::vector<std::vector<shm::Verdict>>& table() const noexcept { return table_; }
    Verdict of(std::size_t service, std::size_t backend) const noexcept;
    const std::optional<CheckSpec>& check(std::size_t service, std::size_t backend) const noexcept {
        return checks_[service][backend];
    }

  private:
    struct Place {
        std::size_t service{}, backend{};
    };
    struct CheckHash {
        std::size_t operator()(const CheckSpec& check) const noexcept;
    };
    using Positions = std::unordered_map<std::string, std::size_t>;

    void add(const config::Service& service, const Verdicts& before, const ReadBack& read_back);
    Verdict before_of(const config::Service& service, const std::string& key) const;
    Verdict verdict(const CheckSpec& check) const;  // of any backend with this check that has one

    std::vector<std::vector<shm::Verdict>> table_{};
    std::vector<std::vector<std::optional<CheckSpec>>> checks_{};
    Positions services_{};               // by name
    std::vector<Positions> backends_{};  // by key
    std::unordered_map<CheckSpec, std::vector<Place>, CheckHash> by_check_{};
};

}  // namespace shunt::controlplane
