#include "dataplane/tables/flow_table.h"

namespace shunt::dataplane {

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
    const Kind kind = kind_at(position.unit, meta);
    if (kind == Kind::wide_first) wipe(units[position.unit + 1U]);
    if (kind == Kind::wide_second) wipe(units[position.unit - 1U]);
}

void FlowTable::put(Position position, const FlowKey& key, const FlowEntry& entry) noexcept {
    clear(position);
    if (needs_wide(key)) clear({position.bucket, static_cast<std::uint8_t>(position.unit + 1)});
    fill(position, key, entry);
}

// A place that is empty.
void FlowTable::fill(Position position, const FlowKey& key, const FlowEntry& entry) noexcept {
    shm::FlowUnit* const units = &buckets_[position.bucket].units[position.unit];
    const auto sequence = [&](std::size_t unit) {
        return sequence_of(units[unit].meta.load(std::memory_order_relaxed));
    };
    const Kind kind = needs_wide(key) ? Kind::wide_first : Kind::narrow;
    const std::uint64_t meta = make_meta(make_tag(kind, entry.state, sequence(0)), entry);
    if (counts(position.bucket, meta)) live_.add(entry.handle);
    if (kind == Kind::narrow) {
        units[0].key.store(narrow_key(key.peer, key.peer_port) | std::uint64_t{key.listener.value} << 48,
                           std::memory_order_release);
    } else {
        const WideTail tail{key.peer_port, key.listener, key.service_port};
        units[0].key.store(key.peer.high_word(), std::memory_order_release);
        units[1].key.store(key.peer.low_word(), std::memory_order_release);
        units[1].meta.store(make_tag(Kind::wide_second, {}, sequence(1)) | tail.encode(), std::memory_order_release);
    }
    units[0].meta.store(meta, std::memory_order_release);
}

void FlowTable::recount(std::uint32_t bucket, std::uint64_t before, std::uint64_t after) noexcept {
    if (counts(bucket, before) == counts(bucket, after)) return;
    if (counts(bucket, before)) live_.remove(handle_of(before));
    if (counts(bucket, after)) live_.add(handle_of(after));
}

void FlowTable::erase(Position position) noexcept { clear(position); }

bool FlowTable::is_twin(Position position) const noexcept {
    const auto flow = read(position);
    if (!flow) return false;
    const std::uint64_t hash = hash_peer(seed_, flow->key.peer, flow->key.peer_port);
    const std::uint32_t other = shm::other_bucket(hash, buckets_.size(), position.bucket);
    const auto is_it = [&](const FlowEntry& entry) {
        return entry.listener == flow->key.listener && entry.service_port == flow->key.service_port;
    };
    return other != position.bucket && find_in(other, flow->key.peer, flow->key.peer_port, is_it).has_value();
}

void FlowTable::forget(std::uint64_t hash, const FlowKey& flow) noexcept {
    const auto is_it = [&](const FlowEntry& entry) {
        return entry.listener == flow.listener && entry.service_port == flow.service_port;
    };
    while (const auto found = find(hash, flow.peer, flow.peer_port, is_it)) erase(found->position);
}

}  // namespace shunt::dataplane
