#include "dataplane/tables/flow_table.h"

#include <utility>

namespace shunt::dataplane {

std::optional<FlowTable::Stored> FlowTable::read_any(const shm::FlowBucket& bucket, std::uint8_t unit) noexcept {
    const shm::FlowUnit& first = bucket.units[unit];
    const std::uint64_t meta = load(first.meta);
    const std::uint64_t key = load(first.key);
    Stored stored;
    if (kind_of(meta) == Kind::narrow) {
        const ListenerIndex listener(static_cast<std::uint16_t>(key >> 48));
        stored.key = {IpAddress::v4(Be32::from_raw(static_cast<std::uint32_t>(key))),
                      Be16::from_raw(static_cast<std::uint16_t>(key >> 32)), listener, Be16{}};
        stored.entry = decode(meta, listener, Be16{});
    } else if (kind_of(meta) == Kind::wide_first && unit % 2 == 0) {
        const std::uint64_t low = load(bucket.units[unit + 1U].key);
        const WideTail tail = WideTail::decode(load(bucket.units[unit + 1U].meta));
        stored.key = {IpAddress::v6(std::bit_cast<IpAddress::Bytes>(std::array{key, low})), tail.peer_port,
                      tail.listener, tail.service_port};
        stored.entry = decode(meta, tail.listener, tail.service_port);
    } else {
        return std::nullopt;
    }
    if (load(first.meta) != meta) return std::nullopt;  // being written: as good as not there yet
    return stored;
}

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
    const auto wipe = [](shm::FlowUnit& unit) {
        const std::uint64_t sequence = sequence_of(unit.meta.load(std::memory_order_relaxed));
        unit.meta.store(make_tag(Kind::empty, {}, sequence + 1), std::memory_order_release);
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

void FlowTable::erase(Position position) noexcept { clear(position); }

}  // namespace shunt::dataplane
