// Small numbers for keys, from 1. A number that was given back is used again as late as possible: never-used numbers
// first, then the one retired longest, and none before its rest is over. All of it can be rebuilt from what was
// published: who has a number, and when the others were retired.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "src/base/assert.h"
#include "src/base/time.h"

namespace shunt::controlplane {

// The longest timeout (a week, see Tick) and the longest grace: what knew a retired number has died after that.
constexpr Duration longest_memory = Duration::seconds(7 * 24 * 3600 + 2);

template <class Key, class Hash>
class IdPool {
  public:
    struct Number {
        std::uint32_t uses{};  // earlier uses; versions and incarnations are made of this
        Instant retired_at{};  // of the last use; 0: in use, or never used
    };

    // Numbers below `limit`. A retired number rests for `rest` before its next use; with `round` not 0 only after every
    // `round` uses.
    IdPool(std::uint32_t limit, Duration rest, std::uint32_t round = 0) : limit_(limit), rest_(rest), round_(round) {}

    std::uint32_t find(const Key& key) const {
        const auto found = in_force_.find(key);
        return found == in_force_.end() ? 0 : found->second;
    }
    // The key's number, a new one if it has none; 0 if none is free.
    std::uint32_t take(const Key& key, Instant now);
    void give_back(const Key& key, Instant now);

    // Between the two, what was taken can be given up without a trace.
    void begin() { taken_.clear(); }
    void undo();

    // As published: a number in force, or a retired one (`retired_at` not 0).
    void restore(std::uint32_t number, const std::optional<Key>& key, Number state);

    const Number& operator[](std::uint32_t number) const { return numbers_[number]; }
    const Key& key_of(std::uint32_t number) const { return keys_[number]; }  // of a number in force
    std::uint32_t count() const noexcept {
        return static_cast<std::uint32_t>(numbers_.size());
    }  // one above the highest
    const std::unordered_map<Key, std::uint32_t, Hash>& in_force() const noexcept { return in_force_; }

  private:
    using Rest = std::pair<Instant, std::uint32_t>;  // free from then on

    Rest rest_of(std::uint32_t number) const {
        const Number& state = numbers_[number];
        const bool rests = round_ == 0 || (state.uses + 1) % round_ == 0;
        return {rests ? state.retired_at + rest_ : state.retired_at, number};
    }

    std::uint32_t limit_;
    Duration rest_;
    std::uint32_t round_;
    std::vector<Number> numbers_{Number{}};  // 0 is never used
    std::vector<Key> keys_{Key{}};
    std::unordered_map<Key, std::uint32_t, Hash> in_force_{};
    std::set<Rest> resting_{};
    std::vector<std::pair<Key, std::optional<Number>>> taken_{};  // and what the number was before: none, never used
};

template <class Key, class Hash>
std::uint32_t IdPool<Key, Hash>::take(const Key& key, Instant now) {
    if (const std::uint32_t number = find(key)) return number;
    std::uint32_t number = count();
    if (number < limit_) {
        numbers_.emplace_back();
        keys_.emplace_back();
        taken_.emplace_back(key, std::nullopt);
    } else {
        if (resting_.empty() || resting_.begin()->first > now) return 0;
        number = resting_.begin()->second;
        resting_.erase(resting_.begin());
        taken_.emplace_back(key, numbers_[number]);
        numbers_[number] = {numbers_[number].uses + 1, {}};
    }
    keys_[number] = key;
    in_force_.emplace(key, number);
    return number;
}

template <class Key, class Hash>
void IdPool<Key, Hash>::give_back(const Key& key, Instant now) {
    const auto found = in_force_.find(key);
    SHUNT_ASSERT(found != in_force_.end());
    const std::uint32_t number = found->second;
    in_force_.erase(found);
    numbers_[number].retired_at = now.nanoseconds > 0 ? now : Instant{1};
    resting_.insert(rest_of(number));
}

template <class Key, class Hash>
void IdPool<Key, Hash>::undo() {
    for (auto taken = taken_.rbegin(); taken != taken_.rend(); ++taken) {
        const auto& [key, before] = *taken;
        const std::uint32_t number = find(key);
        in_force_.erase(key);
        if (before) {
            numbers_[number] = *before;
            resting_.insert(rest_of(number));
        } else {
            SHUNT_ASSERT(number + 1 == count());
            numbers_.pop_back();
            keys_.pop_back();
        }
    }
    taken_.clear();
}

template <class Key, class Hash>
void IdPool<Key, Hash>::restore(std::uint32_t number, const std::optional<Key>& key, Number state) {
    if (number >= count()) {
        numbers_.resize(number + 1);
        keys_.resize(number + 1);
    }
    numbers_[number] = state;
    if (key) {
        keys_[number] = *key;
        in_force_.emplace(*key, number);
    } else {
        resting_.insert(rest_of(number));
    }
}

}  // namespace shunt::controlplane
