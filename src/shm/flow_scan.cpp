#include "src/shm/flow_scan.h"

#include <algorithm>

#include "src/base/prefetch.h"

namespace shunt::shm {
namespace {

// Of the copies of one flow: the flow as one of them has it, and then another.
class Merge {
  public:
    Merge(const Tables& tables, const ListenerRecord& listener, Tick now) noexcept
        : tables_(tables), listener_(listener), now_(now) {}

    void add(const FlowEntry& entry, std::uint16_t worker) noexcept {
        const BackendRecord* backend = backend_of(tables_, entry, listener_, now_);
        if (backend == nullptr) return;
        const std::uint32_t idle = now_.since(entry.seen);
        if (is_empty() || idle < flow_.idle) {
            flow_.entry = entry;
            flow_.backend = backend;
            flow_.idle = idle;
        }
        flow_.workers |= std::uint64_t{1} << worker;
        established_ = established_ || entry.state == FlowState::established;
    }
    bool is_empty() const noexcept { return flow_.backend == nullptr; }
    Flow flow() const noexcept {
        Flow flow = flow_;
        flow.listener = &listener_;
        if (established_ && flow.entry.state == FlowState::embryonic) flow.entry.state = FlowState::established;
        return flow;
    }

  private:
    const Tables& tables_;
    const ListenerRecord& listener_;
    Tick now_;
    Flow flow_{};
    bool established_{};
};

bool holds(const Be16& wanted, Be16 port) noexcept { return wanted == Be16{} || wanted == port; }

bool holds(const IpAddress& wanted, const IpAddress& address) noexcept {
    return wanted.is_unspecified() || wanted == address;
}

// What the key of a flow and its listener say.
bool key_matches(const FlowFilter& filter, const FlowKey& key, const ListenerRecord& listener) noexcept {
    if (!filter.client.is_unspecified() && !Prefix{filter.client, filter.client_length}.contains(key.peer))
        return false;
    const Be16 port = key.service_port == Be16{} ? listener.port : key.service_port;
    return holds(filter.client_port, key.peer_port) && holds(filter.vip, listener.address) &&
           holds(filter.vip_port, port) && (!filter.service || filter.service == listener.service) &&
           (filter.protocol == Protocol{} || filter.protocol == listener.protocol) &&
           (filter.family == 0 || filter.family == static_cast<std::uint8_t>(key.peer.family()));
}

void prefetch_candidates(const StateReader& region, std::uint64_t hash) noexcept {
    for (std::uint16_t i = 0; i < region.shape().workers; ++i) {
        const auto table = region.flows(WorkerIndex(i));
        prefetch(&table[first_bucket(hash, table.size())]);
        prefetch(&table[second_bucket(hash, table.size())]);
    }
}

}  // namespace

bool matches(const FlowFilter& filter, const Flow& flow) noexcept {
    return key_matches(filter, flow.key, *flow.listener) && holds(filter.backend, flow.backend->address) &&
           holds(filter.backend_port, flow.port_at_backend()) &&
           (filter.states == 0 || (filter.states >> static_cast<unsigned>(flow.entry.state) & 1) != 0) &&
           (filter.idle_above == 0 || flow.idle > filter.idle_above) &&
           (filter.idle_below == 0 || flow.idle < filter.idle_below) &&
           (filter.workers == 0 || (filter.workers & flow.workers) != 0);
}

std::uint32_t FlowScan::tables_asked(const FlowTables& flows) const noexcept {
    std::uint32_t count = 0;
    for (std::size_t i = 0; i <= region_; ++i) count += flows.region(i).shape().workers;
    return count;
}

std::size_t FlowScan::gather(const FlowTables& flows, const Tables& tables,
                             std::span<Candidate, 4 * group> found) noexcept {
    const auto table = flows.region(region_).flows(worker_);
    std::size_t count = 0;
    for (const std::uint64_t end = std::min<std::uint64_t>(bucket_ + group, table.size()); bucket_ < end; ++bucket_) {
        for (std::uint8_t unit = 0; unit < units_per_bucket; ++unit) {
            const auto stored = read_flow(table[bucket_], unit);
            if (!stored || !key_matches(filter_, stored->key, tables.listeners[stored->key.listener.value])) continue;
            const std::uint64_t hash = hash_peer(flows.seed(), stored->key.peer, stored->key.peer_port);
            found[count++] = {*stored, hash};
            for (std::size_t i = 0; i <= region_; ++i) prefetch_candidates(flows.region(i), hash);
        }
    }
    return count;
}

std::optional<Flow> FlowScan::whole(const FlowTables& flows, const Tables& tables, Tick now,
                                    const Candidate& candidate) const noexcept {
    const StoredFlow& stored = candidate.stored;
    for (std::size_t newer = 0; newer < region_; ++newer) {
        const StateReader& region = flows.region(newer);
        for (std::uint16_t i = 0; i < region.shape().workers; ++i) {
            if (find_flow(region.flows(WorkerIndex(i)), candidate.hash, stored.key)) return std::nullopt;
        }
    }
    Merge merge(tables, tables.listeners[stored.key.listener.value], now);
    merge.add(stored.entry, worker_.value);
    if (merge.is_empty()) return std::nullopt;
    const StateReader& region = flows.region(region_);
    for (std::uint16_t other = 0; other < region.shape().workers; ++other) {
        if (other == worker_.value) continue;
        const auto copy = find_flow(region.flows(WorkerIndex(other)), candidate.hash, stored.key);
        if (copy) merge.add(*copy, other);
    }
    Flow flow = merge.flow();
    flow.key = stored.key;
    flow.first = std::countr_zero(flow.workers) == worker_.value;
    if (region_ != 0) flow.workers = 0;
    return flow;
}

}  // namespace shunt::shm
