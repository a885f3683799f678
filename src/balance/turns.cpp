#include "src/balance/turns.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <queue>
#include <utility>

namespace shunt {
namespace {

// In lowest terms, and few enough.
std::vector<std::uint64_t> shares(std::span<const std::uint32_t> weights) {
    std::uint64_t divisor = 0;
    std::uint64_t sum = 0;
    for (const std::uint32_t weight : weights) {
        divisor = std::gcd(divisor, std::uint64_t{weight});
        sum += weight;
    }
    const bool fits = divisor == 0 || sum / divisor <= max_turns;
    std::vector<std::uint64_t> result;
    for (const std::uint64_t weight : weights) {
        const std::uint64_t rounded = weight * max_turns / std::max<std::uint64_t>(1, sum);
        result.push_back(weight == 0 ? 0 : fits ? weight / divisor : std::max<std::uint64_t>(1, rounded));
    }
    return result;
}

using Due = std::pair<std::uint64_t, std::uint16_t>;  // a time, and who
using Queue = std::priority_queue<Due, std::vector<Due>, std::greater<>>;

}  // namespace

// The k-th turn (from 0) of a backend with w of W turns may not come before k × W / w, and not after (k + 1) × W / w.
// Taking whoever is due first keeps both (Baruah, Cohen, Plaxton, Varvel: "Proportionate progress", Algorithmica 1996;
// with one server, earliest deadline first is enough).
std::vector<std::uint16_t> smooth_turns(std::span<const std::uint32_t> weights) {
    const std::vector<std::uint64_t> share = shares(weights);
    const std::uint64_t all = std::accumulate(share.begin(), share.end(), std::uint64_t{0});
    std::vector<std::uint64_t> taken(share.size());
    Queue waiting;  // by the first time a turn may come
    Queue ready;    // by the last
    for (std::size_t i = 0; i < share.size(); ++i) {
        if (share[i] != 0) waiting.emplace(0, static_cast<std::uint16_t>(i));
    }
    std::vector<std::uint16_t> turns;
    turns.reserve(all);
    for (std::uint64_t now = 0; now < all; ++now) {
        for (; !waiting.empty() && waiting.top().first <= now; waiting.pop()) {
            const std::uint16_t who = waiting.top().second;
            ready.emplace(((taken[who] + 1) * all + share[who] - 1) / share[who], who);
        }
        const std::uint16_t who = ready.top().second;
        ready.pop();
        turns.push_back(who);
        if (++taken[who] < share[who]) waiting.emplace(taken[who] * all / share[who], who);
    }
    return turns;
}

}  // namespace shunt
