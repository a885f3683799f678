#include "controlplane/health/machine.h"

#include <algorithm>
#include <functional>
#include <unordered_set>

namespace shunt::controlplane {
namespace {

constexpr Duration pace{100'000};  // between the first probes of new checks

// A deadline that was noticed this late says that we did not run; the answer may have been waiting all the while.
bool seen_too_late(const ProbeResult& result, const CheckSpec& spec) noexcept {
    const Duration timeout = spec.check.timeout;
    return result.outcome == Outcome::timeout && result.duration - timeout > std::max(timeout, Duration::seconds(1));
}

std::size_t mix(std::size_t hash, std::size_t value) noexcept { return (hash ^ value) * 0x9e3779b97f4a7c15ULL; }

}  // namespace

std::string_view to_string(Verdict verdict) noexcept {
    switch (verdict) {
        case Verdict::unknown:
            return "unknown";
        case Verdict::up:
            return "up";
        case Verdict::down:
            return "down";
    }
    return "?";
}

std::size_t HealthMachine::SpecHash::operator()(const CheckSpec& spec) const noexcept {
    std::size_t hash = mix(spec.address.high_word(), spec.address.low_word());
    hash = mix(hash, spec.check.port.value_or(0));
    return mix(hash, std::hash<std::string>{}(spec.check.path));
}

void HealthMachine::reconfigure(std::span<const WantedCheck> wanted, Instant now) {
    std::unordered_set<CheckId::representation> kept;
    std::size_t added = 0;
    for (const WantedCheck& want : wanted) {
        auto found = ids_.find(want.spec);
        if (found == ids_.end()) {
            add(want, now + pace * static_cast<std::int64_t>(added++), now);
            found = ids_.find(want.spec);
        } else if (CheckStatus& status = entries_.at(found->second).status;
                   status.verdict == Verdict::unknown && status.probes == 0) {
            // The same spec again, of another service: it may know what the first did not.
            entries_.at(found->second).ever_up = want.initial != Verdict::unknown;
            status.verdict = want.initial;
        }
        kept.insert(found->second.value);
    }
    std::erase_if(entries_, [&](const auto& item) {
        const auto& [id, entry] = item;
        if (kept.contains(id.value)) return false;
        queue_.erase({entry.planned, id});
        ids_.erase(entry.spec);
        return true;
    });
}

void HealthMachine::add(const WantedCheck& wanted, Instant first, Instant now) {
    const CheckId id(++last_id_);
    Entry entry{.spec = wanted.spec, .planned = first, .ever_up = wanted.initial != Verdict::unknown};
    entry.status.verdict = wanted.initial;
    entry.status.since = now;
    entries_.emplace(id, std::move(entry));
    ids_.emplace(wanted.spec, id);
    queue_.emplace(first, id);
}

std::optional<Instant> HealthMachine::next_due() const noexcept {
    if (queue_.empty()) return std::nullopt;
    return queue_.begin()->first;
}

std::vector<ProbeRequest> HealthMachine::due(Instant now) {
    std::vector<ProbeRequest> requests;
    while (!queue_.empty() && queue_.begin()->first <= now) {
        const auto [planned, id] = *queue_.begin();
        queue_.erase(queue_.begin());
        Entry& entry = entries_.at(id);
        const Duration lag = now - planned;
        entry.spread_next = entry.spread_next || lag > entry.spec.check.interval;
        entry.probing = true;
        entry.planned = now + next_interval(entry);
        requests.push_back({id, entry.spec, lag});
    }
    return requests;
}

Duration HealthMachine::next_interval(Entry& entry) {
    const std::int64_t whole = std::max<std::int64_t>(entry.spec.check.interval.nanoseconds, 1);
    const std::int64_t range = std::exchange(entry.spread_next, false) ? whole : whole / 10;
    const auto less = static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(range) + 1));
    return {whole - less};
}

std::optional<Transition> HealthMachine::apply(const ProbeResult& result) {
    const auto found = entries_.find(result.id);
    if (found == entries_.end() || !found->second.probing) return std::nullopt;
    Entry& entry = found->second;
    entry.probing = false;
    entry.planned = std::max(entry.planned, result.finished);
    queue_.emplace(entry.planned, result.id);

    CheckStatus& status = entry.status;
    const bool says_nothing = result.outcome == Outcome::not_run || seen_too_late(result, entry.spec);
    ++status.probes;
    status.last_outcome = says_nothing ? Outcome::not_run : result.outcome;
    status.last_text = result.text;
    status.last_finished = result.finished;
    status.last_duration = result.duration;
    if (says_nothing) return std::nullopt;

    const Verdict before = status.verdict;
    const std::optional<Verdict> after = judge(entry, result.outcome == Outcome::ok);
    if (!after) return std::nullopt;
    status.verdict = *after;
    status.against = 0;
    status.since = result.finished;
    return Transition{entry.spec, before, *after, result.text, result.finished};
}

// The new verdict, if this result changes it.
std::optional<Verdict> HealthMachine::judge(Entry& entry, bool success) noexcept {
    CheckStatus& status = entry.status;
    const Verdict says = success ? Verdict::up : Verdict::down;
    if (status.verdict == says) {
        status.against = 0;
        return std::nullopt;
    }
    ++status.against;
    const bool first_success = success && !entry.ever_up;
    entry.ever_up = entry.ever_up || success;
    const std::uint32_t needed = success ? entry.spec.check.rise : entry.spec.check.fall;
    if (status.verdict == Verdict::unknown || first_success || status.against >= needed) return says;
    return std::nullopt;
}

Verdict HealthMachine::verdict(const CheckSpec& spec) const noexcept {
    const CheckStatus* found = status(spec);
    return found == nullptr ? Verdict::unknown : found->verdict;
}

const CheckStatus* HealthMachine::status(const CheckSpec& spec) const noexcept {
    const auto found = ids_.find(spec);
    return found == ids_.end() ? nullptr : &entries_.at(found->second).status;
}

}  // namespace shunt::controlplane
