#include "dataplane/tables/path_mtus.h"

#include <algorithm>

namespace shunt::dataplane {
namespace {

constexpr std::uint32_t memory_ticks = to_ticks(PathMtus::memory);

// Not secret: keys are the operator's backends.
std::uint64_t start_of(const IpAddress& address) noexcept { return shm::endpoint_hash(address, Be16{}, Protocol{}); }

std::uint16_t mtu_of(std::uint64_t word) noexcept { return static_cast<std::uint16_t>(word >> Tick::bits); }

bool holds(std::uint64_t word, Tick now) noexcept {
    const Tick learnt{static_cast<std::uint32_t>(word) & Tick::mask};
    return (word & shm::path_mtu_valid) != 0 && now.since(learnt) < memory_ticks;
}

bool is_of(const shm::PathMtuSlot& slot, const IpAddress& address) noexcept {
    return slot.high.load(std::memory_order_acquire) == address.high_word() &&
           slot.low.load(std::memory_order_acquire) == address.low_word();
}

}  // namespace

shm::PathMtuSlot& PathMtus::slot(const IpAddress& address, std::uint32_t probe) const noexcept {
    return slots_[(start_of(address) + probe) % slots_.size()];
}

std::optional<std::uint16_t> PathMtus::find(const IpAddress& address, Tick now) const noexcept {
    if (known_->read() == 0) return std::nullopt;
    for (std::uint32_t i = 0; i < shm::path_mtu_probes; ++i) {
        const shm::PathMtuSlot& candidate = slot(address, i);
        const std::uint64_t word = candidate.word.load(std::memory_order_acquire);
        if (!holds(word, now) || !is_of(candidate, address)) continue;
        // The same word again: the slot was not given to another address in between.
        if (candidate.word.load(std::memory_order_acquire) == word) return mtu_of(word);
    }
    return std::nullopt;
}

void PathMtus::lower(const IpAddress& address, std::uint16_t mtu, Tick now) noexcept {
    shm::PathMtuSlot* place = nullptr;
    mtu = std::max(mtu, least(address.family()));
    for (std::uint32_t i = 0; i < shm::path_mtu_probes; ++i) {
        shm::PathMtuSlot& candidate = slot(address, i);
        const std::uint64_t word = candidate.word.load(std::memory_order_relaxed);
        if (holds(word, now) && is_of(candidate, address)) {
            mtu = std::min(mtu, mtu_of(word));
            place = &candidate;
            break;
        }
        if (!holds(word, now) && place == nullptr) place = &candidate;
    }
    if (place == nullptr) return;
    if (!is_of(*place, address)) {
        place->word.store(0, std::memory_order_release);
        place->high.store(address.high_word(), std::memory_order_release);
        place->low.store(address.low_word(), std::memory_order_release);
    }
    place->word.store(shm::path_mtu_valid | std::uint64_t{mtu} << Tick::bits | now.value, std::memory_order_release);
    known_->add(1);
}

void PathMtus::tidy(Tick now) noexcept {
    std::uint64_t known = 0;
    for (shm::PathMtuSlot& slot : slots_) {
        const std::uint64_t word = slot.word.load(std::memory_order_relaxed);
        if (word == 0) continue;
        if (holds(word, now)) {
            ++known;
        } else {
            slot.word.store(0, std::memory_order_release);
        }
    }
    known_->set(known);
}

}  // namespace shunt::dataplane
