#include "src/balance/maglev.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <memory>
#include <numeric>

#include "src/base/assert.h"

namespace shunt {
namespace {

// One backend on its way through the slots: from its offset on, by its skip, round and round.
struct Walker {
    std::uint32_t position{};
    std::uint32_t skip{};
    std::uint64_t weight{};
    std::uint64_t target{};  // the next slot is due in the first round r with r × weight ≥ target
    std::uint16_t index{};
};

// The inverse of b modulo the prime m, by Fermat: b^(m-2).
std::uint64_t inverse(std::uint64_t b, std::uint64_t m) noexcept {
    std::uint64_t result = 1;
    for (std::uint64_t exponent = m - 2; exponent != 0; exponent >>= 1) {
        if (exponent & 1) result = result * b % m;
        b = b * b % m;
    }
    return result;
}

class Slots {
  public:
    explicit Slots(std::uint32_t size)
        : slots_(size, maglev_none),
          size_(size),
          left_(size),
          few_(1 + static_cast<std::uint32_t>(std::sqrt(size)) / 4) {}

    // Gives the walker its next free slot; false once that was the last one.
    bool take_next(Walker& walker) {
        const std::uint32_t slot = free_.empty() ? walk(walker) : leap(walker);
        walker.position = slot;
        slots_[slot] = walker.index;
        if (--left_ == few_) list_free();
        return left_ != 0;
    }
    std::vector<std::uint16_t> release() && { return std::move(slots_); }

  private:
    // Two places at once, so that the processor need not wait for one step before it tries the next.
    std::uint32_t walk(const Walker& walker) const noexcept {
        const auto advance = [size = size_](std::uint32_t position, std::uint32_t by) {
            const std::uint32_t next = position + by;
            return next >= size ? next - size : next;
        };
        const std::uint32_t two_steps = advance(walker.skip, walker.skip);
        std::uint32_t even = walker.position;
        std::uint32_t odd = advance(even, walker.skip);
        for (;;) {
            if (slots_[even] == maglev_none) return even;
            if (slots_[odd] == maglev_none) return odd;
            even = advance(even, two_steps);
            odd = advance(odd, two_steps);
        }
    }
    // When few slots are left, walking to them takes long. Instead every free slot is asked after how many
    // steps the walker would come by: (slot - position) / skip modulo the size.
    std::uint32_t leap(const Walker& walker) {
        const std::uint64_t one_step = inverse(walker.skip, size_);
        const auto steps = [&](std::uint32_t slot) {
            return (std::uint64_t{slot} + size_ - walker.position) * one_step % size_;
        };
        const auto nearest = std::ranges::min_element(free_, {}, steps);
        const std::uint32_t slot = *nearest;
        *nearest = free_.back();
        free_.pop_back();
        return slot;
    }
    void list_free() {
        for (std::uint32_t slot = 0; slot < size_; ++slot) {
            if (slots_[slot] == maglev_none) free_.push_back(slot);
        }
    }

    std::vector<std::uint16_t> slots_;
    std::vector<std::uint32_t> free_{};  // once only few are left
    std::uint32_t size_;
    std::uint32_t left_;
    std::uint32_t few_;
};

std::vector<Walker> walkers(std::span<const WeightedKey> backends, std::uint32_t table_size) {
    std::vector<Walker> result;
    std::uint16_t index = 0;
    for (const std::uint16_t position : key_order(backends)) {
        const auto& [key, weight] = backends[position];
        const std::uint64_t offset = XXH64(key.data(), key.size(), 0) % table_size;
        const std::uint64_t skip = XXH64(key.data(), key.size(), 1) % (table_size - 1) + 1;
        if (weight != 0) {
            result.push_back({static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(skip), weight, 0, index});
        }
        ++index;
    }
    return result;
}

// Serves the walkers in rounds until the last slot is taken. With weights far apart most walkers sit out most rounds,
// so rounds are taken in groups, and only those who are due within the group are looked at.
void serve(std::vector<Walker>& walkers, Slots& slots) {
    constexpr std::uint64_t group = 32;
    const std::uint64_t largest = std::ranges::max(walkers, {}, &Walker::weight).weight;
    std::vector<Walker*> due;
    for (std::uint64_t first = 1;; first += group) {
        due.clear();
        for (Walker& walker : walkers) {
            if ((first + group - 1) * walker.weight >= walker.target) due.push_back(&walker);
        }
        for (std::uint64_t round = first; round < first + group; ++round) {
            for (Walker* walker : due) {
                if (round * walker->weight < walker->target) continue;
                walker->target += largest;
                if (!slots.take_next(*walker)) return;
            }
        }
    }
}

}  // namespace

bool is_prime(std::uint32_t n) noexcept {
    if (n < 2) return false;
    for (std::uint64_t d = 2; d * d <= n; ++d) {
        if (n % d == 0) return false;
    }
    return true;
}

std::uint32_t default_table_size(std::size_t backends) noexcept {
    for (const std::uint32_t size : maglev_sizes) {
        if (size >= 100 * backends) return size;
    }
    return maglev_sizes.back();
}

std::vector<std::uint16_t> key_order(std::span<const WeightedKey> backends) {
    SHUNT_ASSERT(backends.size() < maglev_none);
    std::vector<std::uint16_t> order(backends.size());
    std::iota(order.begin(), order.end(), std::uint16_t{0});
    std::ranges::sort(order, {}, [&](std::uint16_t i) -> const std::string& { return backends[i].key; });
    return order;
}

std::vector<std::uint16_t> maglev_table(std::span<const WeightedKey> backends, std::uint32_t table_size) {
    SHUNT_ASSERT(table_size <= INT32_MAX && is_prime(table_size) && backends.size() <= table_size);
    std::vector<Walker> present = walkers(backends, table_size);
    Slots slots(table_size);
    if (!present.empty()) serve(present, slots);
    return std::move(slots).release();
}

std::uint64_t table_hash(std::span<const WeightedKey> backends, std::span<const std::uint16_t> slots) {
    const std::unique_ptr<XXH64_state_t, decltype(&XXH64_freeState)> state(XXH64_createState(), &XXH64_freeState);
    XXH64_reset(state.get(), 0);
    std::vector<std::uint32_t> position_among_present;
    std::uint32_t present = 0;
    for (const std::uint16_t i : key_order(backends)) {
        position_among_present.push_back(present);
        if (backends[i].weight == 0) continue;
        ++present;
        const std::string line = backends[i].key + '\n';
        XXH64_update(state.get(), line.data(), line.size());
    }
    std::vector<std::uint32_t> positions;
    positions.reserve(slots.size());
    for (const std::uint16_t slot : slots) {
        positions.push_back(slot == maglev_none ? UINT32_MAX : position_among_present[slot]);
    }
    static_assert(std::endian::native == std::endian::little);
    XXH64_update(state.get(), positions.data(), positions.size() * sizeof(std::uint32_t));
    return XXH64_digest(state.get());
}

std::string table_hash_text(std::uint64_t hash) {
    std::array<char, 17> text{};
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(hash));
    return text.data();
}

}  // namespace shunt
