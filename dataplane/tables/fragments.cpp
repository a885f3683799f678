#include "dataplane/tables/fragments.h"

#include <algorithm>
#include <utility>

namespace shunt::dataplane {

Fragments::Fragments(const HashSeed& seed, std::uint16_t workers)
    : seed_(seed),
      datagrams_(std::make_unique<Datagram[]>(buckets * ways)),
      part_(part(workers)),
      room_(std::make_unique<Waiting[]>(part_ + 1)),
      free_(1) {
    for (std::uint32_t i = 1; i < part_; ++i) room_[i].next = static_cast<Place>(i + 1);
}

std::span<Fragments::Datagram> Fragments::bucket(const DatagramKey& key) noexcept {
    return {&datagrams_[key.hash(seed_) % buckets * ways], ways};
}

Fragments::Datagram* Fragments::known(const DatagramKey& key, Instant now) noexcept {
    for (Datagram& datagram : bucket(key)) {
        if (datagram.state != Datagram::State::unused && datagram.until > now && datagram.key == key) return &datagram;
    }
    return nullptr;
}

// An unused place, or that of a datagram whose time is over, or the one that was decided longest ago. Those that wait
// are not pushed out: a flood of later fragments must not take the place of what still can be whole.
Fragments::Datagram* Fragments::place_for(const DatagramKey& key, Instant now) noexcept {
    Datagram* best = nullptr;
    for (Datagram& datagram : bucket(key)) {
        const bool over = datagram.state == Datagram::State::unused || datagram.until <= now;
        if (!over && datagram.state == Datagram::State::waiting) continue;
        if (best == nullptr || datagram.until < best->until) best = &datagram;
        if (over) {
            best = &datagram;
            break;
        }
    }
    if (best == nullptr) return nullptr;
    let_go(*best);
    *best = {.key = key};
    return best;
}

const DatagramFate* Fragments::find(const DatagramKey& key, Instant now) noexcept {
    Datagram* datagram = known(key, now);
    return datagram != nullptr && datagram->state == Datagram::State::decided ? &datagram->fate : nullptr;
}

void Fragments::expect(const DatagramKey& key, Instant now) noexcept {
    Datagram* datagram = known(key, now);
    if (datagram != nullptr && datagram->state == Datagram::State::decided) await_first(*datagram, now);
}

bool Fragments::wait(const DatagramKey& key, const Parcel& parcel, Instant now) noexcept {
    if (free_ == 0) return false;
    Datagram* datagram = known(key, now);
    if (datagram == nullptr) {
        datagram = place_for(key, now);
        if (datagram == nullptr) return false;
        await_first(*datagram, now);
    }
    const Place place = std::exchange(free_, room_[free_].next);
    room_[place] = {parcel, 0};
    (datagram->first == 0 ? datagram->first : room_[datagram->last].next) = place;
    datagram->last = place;
    ++waiting_;
    return true;
}

void Fragments::decide(const DatagramKey& key, const DatagramFate& fate, Instant now) noexcept {
    Datagram* datagram = known(key, now);
    if (datagram == nullptr) datagram = place_for(key, now);
    if (datagram == nullptr) return;
    let_go(*datagram);
    datagram->state = Datagram::State::decided;
    datagram->fate = fate;
    datagram->until = now + memory;
}

void Fragments::await_first(Datagram& datagram, Instant now) noexcept {
    datagram.state = Datagram::State::waiting;
    datagram.until = now + longest_wait;
    datagram.older = std::exchange(youngest_, &datagram);
    (datagram.older == nullptr ? oldest_ : datagram.older->younger) = &datagram;
}

// Those that wait for this datagram can be taken, in their order.
void Fragments::let_go(Datagram& datagram) noexcept {
    if (datagram.state != Datagram::State::waiting) return;
    (datagram.older == nullptr ? oldest_ : datagram.older->younger) = datagram.younger;
    (datagram.younger == nullptr ? youngest_ : datagram.younger->older) = datagram.older;
    if (datagram.first != 0) {
        (ready_first_ == 0 ? ready_first_ : room_[ready_last_].next) = datagram.first;
        ready_last_ = datagram.last;
    }
    datagram = {.key = datagram.key};
}

std::optional<Parcel> Fragments::take(Instant now) noexcept {
    if (waiting_ == 0) return std::nullopt;
    while (oldest_ != nullptr && oldest_->until <= now) let_go(*oldest_);
    if (ready_first_ == 0) return std::nullopt;
    const Place place = std::exchange(ready_first_, room_[ready_first_].next);
    const Parcel parcel = room_[place].parcel;
    room_[place].next = std::exchange(free_, place);
    --waiting_;
    return parcel;
}

}  // namespace shunt::dataplane
