#include "dataplane/tables/flow_table.h"

#include <utility>

namespace shunt::dataplane {

std::uint32_t FlowTable::occupied(const shm::FlowBucket& bucket) noexcept {
    std::uint32_t count = 0;
    for (const shm::FlowUnit& unit : bucket.units) {
        count += kind_of(unit.meta.load(std::memory_order_relaxed)) != Kind::empty;
    }
    return count;
}

// The sequence survives: it is what tells readers that the unit holds another entry now.
void FlowTable::clear(Position position) noexcept {
    auto& units = buckets_[position.bucket].units;
    const std::uint64_t meta = units[position.unit].meta.load(std::memory_order_relaxed);
    const auto wipe = [this, &position](shm::FlowUnit& unit) {
        const std::uint64_t old = unit.meta.load(std::memory_order_relaxed);
        if (counts(position.bucket, old)) live_.remove(handle_of(old));
        unit.meta.store(make_tag(Kind::empty, {}, sequence_of(old) + 1), std::memory_order_release);
    };
    wipe(units[position.unit]);
    if (kind_of(meta) == Kind::wide_first) wipe(units[position.unit + 1U]);
    if (kind_of(meta) == Kind::wide_second) wipe(units[position.unit - 1U]);
}

void FlowTable::put(Position position, const FlowKey& key, const FlowEntry& entry) noexcept {
    auto& units = buckets_[position.bucket].units;
    clear(position);
    shm::FlowUnit& first = units[position.unit];
    const std::uint64_t sequence = sequence_of(first.meta.load(std::memory_order_relaxed));
    if (counts(position.bucket, make_meta(make_tag(Kind::narrow, entry.state, 0), entry))) live_.add(entry.handle);
    if (!needs_wide(key)) {
        first.key.store(std::uint64_t{key.peer.as_v4().raw} | std::uint64_t{key.peer_port.raw} << 32 |
                            std::uint64_t{key.listener.value} << 48,
                        std::memory_order_release);
        first.meta.store(make_meta(make_tag(Kind::narrow, entry.state, sequence), entry), std::memory_order_release);
        return;
    }
    const Position next{position.bucket, static_cast<std::uint8_t>(position.unit + 1)};
    clear(next);
    shm::FlowUnit& second = units[next.unit];
    const std::uint64_t next_sequence = sequence_of(second.meta.load(std::memory_order_relaxed));
    const WideTail tail{key.peer_port, key.listener, key.service_port};
    first.key.store(key.peer.high_word(), std::memory_order_release);
    second.key.store(key.peer.low_word(), std::memory_order_release);
    second.meta.store(make_tag(Kind::wide_second, {}, next_sequence) | tail.encode(), std::memory_order_release);
    first.meta.store(make_meta(make_tag(Kind::wide_first, entry.state, sequence), entry), std::memory_order_release);
}

void FlowTable::recount(std::uint32_t bucket, std::uint64_t before, std::uint64_t after) noexcept {
    if (counts(bucket, before) == counts(bucket, after)) return;
    if (counts(bucket, before)) live_.remove(handle_of(before));
    if (counts(bucket, after)) live_.add(handle_of(after));
}

void FlowTable::erase(Position position) noexcept { clear(position); }

}  // namespace shunt::dataplane
