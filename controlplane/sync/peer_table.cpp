#include "controlplane/sync/peer_table.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace shunt::controlplane::sync {
namespace {

std::uint8_t width_of(const shm::FlowKey& key) { return shm::is_wide(key) ? 2 : 1; }

// An entry of the table; nothing if none begins there. Of ours, whom nobody disturbs.
std::optional<shm::StoredFlow> at(const shm::FlowBucket& bucket, std::uint8_t unit) {
    return shm::read_flow(bucket, unit);
}

// How little would be lost with a unit: nothing, a dead entry, or one silent for so long.
constexpr std::uint32_t empty_unit = Tick::mask + 2, dead_unit = Tick::mask + 1;
std::uint32_t worthlessness(const shm::FlowBucket& bucket, std::uint8_t unit, const shm::Tables& tables, Tick now) {
    const std::uint64_t meta = bucket.units[unit].meta.load(std::memory_order_relaxed);
    if (shm::flow_kind(meta) == shm::FlowUnitKind::empty) return empty_unit;
    const bool second = shm::flow_kind(meta) == shm::FlowUnitKind::wide_second && unit % 2 == 1;
    const auto stored = at(bucket, second ? static_cast<std::uint8_t>(unit - 1) : unit);
    if (!stored) return dead_unit;
    const auto& listener = tables.listeners[stored->key.listener.value];
    if (shm::backend_of(tables, stored->entry, listener, now) == nullptr) return dead_unit;
    return now.since(stored->entry.seen);
}

}  // namespace

Result<PeerTable> PeerTable::open(const std::string& path, const PeersNeeds& needs) {
    PeerTable table;
    auto region = shm::Region::open(path, shm::Region::Access::read_write);
    if (region && shm::check_peers(*region)) {
        const auto& header = region->at<shm::PeersHeader>(0);
        const bool fits = header.buckets == needs.buckets && header.tables_identity == needs.tables_identity;
        if (fits && header.written_at.load() <= needs.now.nanoseconds) {  // else from before a reboot
            table.region_ = *std::move(region);
            table.kept_ = true;
        }
    }
    if (!table.kept_) {
        if (const Status made = table.make(path, needs); !made) return made.error();
    }
    std::uint64_t entries = 0;
    for (const shm::FlowBucket& bucket : table.peers().flows()) {
        for (std::uint8_t unit = 0; unit < shm::units_per_bucket; ++unit) entries += at(bucket, unit).has_value();
    }
    table.peers().header().entries.set(entries);
    return table;
}

PeerTable PeerTable::in_memory(const PeersNeeds& needs) {
    PeerTable table;
    table.region_ = shm::Region::anonymous(shm::peers_bytes(needs.buckets));
    shm::format_peers(table.region_.data(), needs.buckets, needs.seed, needs.tables_identity);
    return table;
}

Status PeerTable::make(const std::string& path, const PeersNeeds& needs) {
    const std::string fresh = path + ".new";
    unlink(fresh.c_str());
    auto region = shm::Region::create(fresh, shm::peers_bytes(needs.buckets), shm::peers_bytes(needs.buckets));
    if (!region) return region.error();
    shm::format_peers(region->data(), needs.buckets, needs.seed, needs.tables_identity);
    if (std::rename(fresh.c_str(), path.c_str()) != 0) {
        return Error{.message = std::string("cannot rename the new file: ") + std::strerror(errno), .file = fresh};
    }
    region_ = *std::move(region);
    return Done{};
}

void PeerTable::put(const Resolved& flow, shm::FlowState state, std::uint32_t idle, const shm::Tables& tables,
                    Tick now) {
    if (idle > flow.listener->timeouts[state]) return;
    const Tick seen{(now.value - idle) & Tick::mask};
    const std::uint64_t hash = hash_peer(peers().header().flow_seed, flow.key.peer, flow.key.peer_port);
    const shm::FlowEntry entry{flow.key.listener, flow.key.service_port, flow.handle, state, seen, false};
    if (const Place known = find(flow.key, hash); known.bucket != nullptr) {
        const bool is_older = now.since(at(*known.bucket, known.unit)->entry.seen) < idle;
        if (!is_older) shm::renew_flow(*known.bucket, known.unit, entry);
        return;
    }
    const Place place = make_room(flow.key, hash, tables, now);
    shm::fill_flow(*place.bucket, place.unit, flow.key, entry);
    peers().header().entries.add(1);
}

PeerTable::Place PeerTable::find(const shm::FlowKey& key, std::uint64_t hash) const noexcept {
    const auto flows = peers().flows();
    for (const std::uint32_t bucket : {shm::first_bucket(hash, flows.size()), shm::second_bucket(hash, flows.size())}) {
        for (std::uint8_t unit = 0; unit < shm::units_per_bucket; ++unit) {
            const auto stored = at(flows[bucket], unit);
            if (stored && stored->key == key) return {&flows[bucket], unit};
        }
    }
    return {};
}

// Where least is lost, emptied.
PeerTable::Place PeerTable::make_room(const shm::FlowKey& key, std::uint64_t hash, const shm::Tables& tables,
                                      Tick now) noexcept {
    const auto flows = peers().flows();
    const std::uint8_t width = width_of(key);
    Place best;
    std::uint32_t most = 0;
    for (const std::uint32_t bucket : {shm::first_bucket(hash, flows.size()), shm::second_bucket(hash, flows.size())}) {
        for (std::uint8_t unit = 0; unit < shm::units_per_bucket; unit = static_cast<std::uint8_t>(unit + width)) {
            std::uint32_t least = empty_unit;
            for (std::uint8_t i = unit; i < unit + width; ++i) {
                least = std::min(least, worthlessness(flows[bucket], i, tables, now));
            }
            if (best.bucket == nullptr || least > most) {
                best = {&flows[bucket], unit};
                most = least;
            }
        }
    }
    evicted_ += most < dead_unit;
    for (std::uint8_t i = best.unit; i < best.unit + width; ++i) clear({best.bucket, i});
    return best;
}

// Whatever has a part in this unit goes.
void PeerTable::clear(Place place) noexcept {
    const std::uint64_t meta = place.bucket->units[place.unit].meta.load(std::memory_order_relaxed);
    const shm::FlowUnitKind kind = shm::flow_kind(meta);
    if (kind == shm::FlowUnitKind::empty) return;
    if (kind == shm::FlowUnitKind::wide_second && place.unit % 2 == 1) --place.unit;
    const bool was_one = at(*place.bucket, place.unit).has_value();
    shm::clear_flow(*place.bucket, place.unit);
    shm::Counter& entries = peers().header().entries;
    if (was_one && entries.read() > 0) entries.set(entries.read() - 1);
}

void PeerTable::sweep(std::uint64_t count, const shm::Tables& tables, Tick now) {
    const auto flows = peers().flows();
    for (std::uint64_t i = 0; i < count; ++i, swept_ = (swept_ + 1) % flows.size()) {
        for (std::uint8_t unit = 0; unit < shm::units_per_bucket; ++unit) {
            const auto stored = at(flows[swept_], unit);
            if (!stored) continue;
            const auto& listener = tables.listeners[stored->key.listener.value];
            if (!listener.in_use || shm::is_expired(stored->entry, listener, now)) clear({&flows[swept_], unit});
        }
    }
}

std::uint64_t PeerTable::erase(const shm::FlowFilter& filter, const shm::Tables& tables, Tick now) {
    std::uint64_t erased = 0;
    for (shm::FlowBucket& bucket : peers().flows()) {
        for (std::uint8_t unit = 0; unit < shm::units_per_bucket; ++unit) {
            const auto stored = at(bucket, unit);
            if (!stored) continue;
            const auto& listener = tables.listeners[stored->key.listener.value];
            const auto* backend = shm::backend_of(tables, stored->entry, listener, now);
            const shm::Flow flow{stored->key, stored->entry, &listener, backend, now.since(stored->entry.seen), 0, {}};
            if (backend == nullptr || !shm::matches(filter, flow)) continue;
            clear({&bucket, unit});
            ++erased;
        }
    }
    return erased;
}

}  // namespace shunt::controlplane::sync
