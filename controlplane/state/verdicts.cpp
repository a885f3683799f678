#include "controlplane/state/verdicts.h"

#include <algorithm>
#include <utility>

namespace shunt::controlplane {
namespace {

shm::Verdict to_shm(Verdict verdict) noexcept {
    switch (verdict) {
        case Verdict::up:
            return shm::Verdict::up;
        case Verdict::down:
            return shm::Verdict::down;
        case Verdict::unknown:
            break;
    }
    return shm::Verdict::unchecked;
}

}  // namespace

std::optional<CheckSpec> check_of(const config::Service& service, const config::Backend& backend) {
    if (!service.check) return std::nullopt;
    // Where only VIPs of many ports are, the check has a port of its own.
    const auto vip = std::find_if(service.vips.begin(), service.vips.end(),
                                  [](const Vip& candidate) { return candidate.ports.is_one(); });
    const std::uint16_t follows = vip == service.vips.end() ? std::uint16_t{0} : vip->ports.first.host();
    return check_spec(backend.address, backend.port != 0 ? backend.port : follows, *service.check);
}

std::size_t Verdicts::CheckHash::operator()(const CheckSpec& check) const noexcept {
    const auto mix = [](std::size_t hash, std::size_t value) { return (hash ^ value) * 0x9e3779b97f4a7c15ULL; };
    return mix(mix(mix(check.address.high_word(), check.address.low_word()), check.check.port.value_or(0)),
               std::hash<std::string>{}(check.check.path));
}

Verdicts Verdicts::reconfigured(const config::DesiredState& state, const ReadBack& read_back) const {
    Verdicts next;
    for (const auto& service : state.services) next.add(service, *this, read_back);
    // What is known of a check holds wherever the check is used.
    for (const auto& [check, places] : next.by_check_) {
        Verdict known = verdict(check);
        if (known == Verdict::unknown) known = next.verdict(check);
        if (known != Verdict::unknown) next.apply(check, known);
    }
    return next;
}

void Verdicts::add(const config::Service& service, const Verdicts& before, const ReadBack& read_back) {
    const std::size_t position = table_.size();
    std::vector<shm::Verdict> verdicts;
    std::vector<std::optional<CheckSpec>> checks;
    Positions backends;
    for (const auto& backend : service.backends) {
        auto check = check_of(service, backend);
        Verdict verdict = Verdict::unknown;
        if (check) {
            verdict = before.before_of(service, backend.key());
            if (verdict == Verdict::unknown && read_back) verdict = read_back(service, backend);
            by_check_[*check].push_back({position, verdicts.size()});
        }
        backends.emplace(backend.key(), verdicts.size());
        verdicts.push_back(to_shm(verdict));
        checks.push_back(std::move(check));
    }
    services_.emplace(service.name, position);
    backends_.push_back(std::move(backends));
    table_.push_back(std::move(verdicts));
    checks_.push_back(std::move(checks));
}

Verdict Verdicts::before_of(const config::Service& service, const std::string& key) const {
    const auto place = services_.find(service.name);
    if (place == services_.end()) return Verdict::unknown;
    const auto backend = backends_[place->second].find(key);
    return backend == backends_[place->second].end() ? Verdict::unknown : of(place->second, backend->second);
}

Verdict Verdicts::of(std::size_t service, std::size_t backend) const noexcept {
    switch (table_[service][backend]) {
        case shm::Verdict::up:
            return Verdict::up;
        case shm::Verdict::down:
            return Verdict::down;
        case shm::Verdict::unchecked:
            break;
    }
    return Verdict::unknown;
}

Verdict Verdicts::verdict(const CheckSpec& check) const {
    const auto found = by_check_.find(check);
    if (found == by_check_.end()) return Verdict::unknown;
    for (const Place& place : found->second) {
        const Verdict verdict = of(place.service, place.backend);
        if (verdict != Verdict::unknown) return verdict;
    }
    return Verdict::unknown;
}

std::vector<WantedCheck> Verdicts::checks() const {
    std::vector<WantedCheck> wanted;
    for (std::size_t service = 0; service < checks_.size(); ++service) {
        for (std::size_t backend = 0; backend < checks_[service].size(); ++backend) {
            if (const auto& check = checks_[service][backend]) wanted.push_back({*check, of(service, backend)});
        }
    }
    return wanted;
}

bool Verdicts::apply(const CheckSpec& check, Verdict verdict) {
    const auto found = by_check_.find(check);
    if (found == by_check_.end()) return false;
    for (const Place& place : found->second) table_[place.service][place.backend] = to_shm(verdict);
    return true;
}

}  // namespace shunt::controlplane
