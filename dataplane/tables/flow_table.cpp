#include "dataplane/tables/flow_table.h"

namespace shunt::dataplane {

void FlowTable::clear(Position position) noexcept {
    const Position begin = beginning(position);
    shm::FlowBucket& bucket = buckets_[begin.bucket];
    const std::uint64_t meta = bucket.units[begin.unit].meta.load(std::memory_order_relaxed);
    if (counts(begin.bucket, meta)) live_.remove(handle_of(meta));
    shm::clear_flow(bucket, begin.unit);
}

void FlowTable::put(Position position, const FlowKey& key, const FlowEntry& entry) noexcept {
    clear(position);
    if (shm::is_wide(key)) clear({position.bucket, static_cast<std::uint8_t>(position.unit + 1)});
    fill(position, key, entry);
}

// A place that is empty.
void FlowTable::fill(Position position, const FlowKey& key, const FlowEntry& entry) noexcept {
    const std::uint64_t meta = shm::fill_flow(buckets_[position.bucket], position.unit, key, entry);
    if (counts(position.bucket, meta)) live_.add(entry.handle);
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
