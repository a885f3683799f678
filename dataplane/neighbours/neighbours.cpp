#include "dataplane/neighbours/neighbours.h"

#include <utility>
#include <variant>

namespace shunt::dataplane {

Result<Neighbours> Neighbours::open(OnChange on_change) {
    auto netlink = Netlink::open();
    if (!netlink) return netlink.error();
    return Neighbours(*std::move(netlink), std::move(on_change));
}

Status Neighbours::release_all() {
    auto neighbours = open([](const Neighbour&, const std::optional<MacAddress>&) {});
    if (!neighbours) return neighbours.error();
    return neighbours->process({});  // which wants none
}

Status Neighbours::process(Instant now) {
    const auto hearing = netlink_.hear(
        [this](const Report& report) { std::visit([this](const auto& message) { take(message); }, report); });
    if (!hearing) return hearing.error();
    if (*hearing == Netlink::Hearing::overrun) stale_ = true;
    if (stale_) {
        if (auto listed = list_all(); !listed) return listed;
    }
    auto released = release();
    auto asked = ask(now);
    return released ? asked : released;
}

// What is not listed has gone while we did not hear.
Status Neighbours::list_all() {
    std::set<Neighbour> listed;
    auto done = netlink_.list([&](const Report& report) {
        const auto& neighbour = std::get<NeighbourReport>(report);
        listed.insert(neighbour.neighbour);
        take(neighbour);
    });
    if (!done) return done;
    for (auto known = known_.begin(); known != known_.end();) {
        const auto here = known++;
        if (!listed.contains(here->first)) forget(here);
    }
    stale_ = false;
    return done;
}

void Neighbours::take(const NeighbourReport& report) {
    const auto known = known_.try_emplace(report.neighbour).first;
    if (report.gone) return forget(known);
    const bool changed = known->second.mac != report.mac;
    known->second = {.mac = report.mac, .fixed = report.fixed, .managed = report.managed, .ours = report.ours};
    if (wanted_.contains(report.neighbour)) {
        if (is_kept(report.neighbour)) {
            unasked_.erase(report.neighbour);
        } else {
            unasked_.insert(report.neighbour);
        }
    }
    if (changed) on_change_(report.neighbour, report.mac);
}

void Neighbours::forget(std::map<Neighbour, Known>::iterator known) {
    const auto [neighbour, before] = *known;
    known_.erase(known);
    if (wanted_.contains(neighbour)) unasked_.insert(neighbour);
    if (before.mac) on_change_(neighbour, std::nullopt);
}

// A link that comes back: do not wait for the kernel's next attempt, which may be seconds away. It may be in the middle
// of one, and would not look up: so it is to begin afresh.
void Neighbours::take(const LinkReport& report) {
    if (!report.up) {
        links_up_.erase(report.interface);
        return;
    }
    if (!links_up_.insert(report.interface).second) return;
    for (auto& [neighbour, not_before] : wanted_) {
        const auto known = known_.find(neighbour);
        const bool resolved = known != known_.end() && known->second.mac;
        if (neighbour.interface != report.interface || resolved) continue;
        unasked_.insert(neighbour);
        afresh_.insert(neighbour);
        not_before = {};
    }
}

bool Neighbours::is_kept(const Neighbour& neighbour) const {
    const auto known = known_.find(neighbour);
    return known != known_.end() && (known->second.managed || known->second.fixed);
}

void Neighbours::watch(std::span<const Neighbour> wanted) {
    std::map<Neighbour, Instant> before;
    wanted_.swap(before);
    unasked_.clear();
    afresh_.clear();
    for (const auto& neighbour : wanted) {
        const auto old = before.find(neighbour);
        wanted_.emplace(neighbour, old == before.end() ? Instant{} : old->second);
        if (!is_kept(neighbour)) unasked_.insert(neighbour);
    }
    releases_ = true;
}

// The kernel does not report a neighbour that appears because of this, unless it could be resolved.
Status Neighbours::ask(Instant now) {
    Status result = Done{};
    for (auto next = unasked_.begin(); next != unasked_.end();) {
        const auto here = next++;
        Instant& not_before = wanted_.at(*here);
        if (now < not_before) continue;
        not_before = now + ask_again_after;
        if (afresh_.erase(*here) != 0) {
            if (auto forgotten = netlink_.forget(*here); !forgotten) result = forgotten;
        }
        if (auto asked = netlink_.set(*here, neighbour_managed, true); !asked) {
            result = asked;
            continue;
        }
        auto& known = known_[*here];
        known.managed = known.ours = true;
        unasked_.erase(here);
    }
    return result;
}

// NTF_USE without NTF_EXT_MANAGED: the one way to say "not managed" that leaves the rest of the entry as it is.
Status Neighbours::release() {
    if (!std::exchange(releases_, false)) return Done{};
    Status result = Done{};
    for (const auto& [neighbour, known] : known_) {
        if (!known.managed || !known.ours || known.fixed || wanted_.contains(neighbour)) continue;
        if (auto released = netlink_.set(neighbour, neighbour_use, false); !released) result = released;
    }
    return result;
}

Status Neighbours::request(const Neighbour& neighbour) {
    if (is_kept(neighbour)) return Done{};  // asking would end that
    return netlink_.set(neighbour, neighbour_use, true);
}

std::optional<MacAddress> Neighbours::find(const Neighbour& neighbour) const {
    const auto known = known_.find(neighbour);
    return known == known_.end() ? std::nullopt : known->second.mac;
}

}  // namespace shunt::dataplane
