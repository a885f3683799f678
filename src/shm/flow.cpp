#include "src/shm/flow.h"

namespace shunt::shm {
namespace {

std::uint64_t load(const std::atomic<std::uint64_t>& word) noexcept { return word.load(std::memory_order_acquire); }

StoredFlow narrow(std::uint64_t key, std::uint64_t meta) noexcept {
    const ListenerIndex listener(static_cast<std::uint16_t>(key >> 48));
    return {{IpAddress::v4(Be32::from_raw(static_cast<std::uint32_t>(key))),
             Be16::from_raw(static_cast<std::uint16_t>(key >> 32)), listener, Be16{}},
            flow_entry(meta, listener, Be16{})};
}

StoredFlow wide(std::uint64_t high, std::uint64_t meta, const FlowUnit& second) noexcept {
    const std::uint64_t low = load(second.key);
    const WideFlowTail tail = WideFlowTail::decode(load(second.meta));
    return {{IpAddress::v6(std::bit_cast<IpAddress::Bytes>(std::array{high, low})), tail.peer_port, tail.listener,
             tail.service_port},
            flow_entry(meta, tail.listener, tail.service_port)};
}

}  // namespace

std::optional<StoredFlow> read_flow(const FlowBucket& bucket, std::uint8_t unit) noexcept {
    const FlowUnit& first = bucket.units[unit];
    const std::uint64_t meta = load(first.meta);
    const std::uint64_t key = load(first.key);
    const bool wide_one = flow_kind(meta) == FlowUnitKind::wide_first && unit % 2 == 0;
    if (!wide_one && flow_kind(meta) != FlowUnitKind::narrow) return std::nullopt;
    const StoredFlow stored = wide_one ? wide(key, meta, bucket.units[unit + 1U]) : narrow(key, meta);
    if (load(first.meta) != meta) return std::nullopt;
    return stored;
}

std::optional<FlowEntry> find_flow(std::span<const FlowBucket> table, std::uint64_t hash, const FlowKey& key) noexcept {
    return look_into_both(table, hash, [&](std::uint32_t bucket) -> std::optional<FlowEntry> {
        for (std::uint8_t unit = 0; unit < units_per_bucket; ++unit) {
            const auto stored = read_flow(table[bucket], unit);
            if (stored && stored->key == key) return stored->entry;
        }
        return std::nullopt;
    });
}

}  // namespace shunt::shm
