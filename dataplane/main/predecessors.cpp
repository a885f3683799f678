#include "dataplane/main/predecessors.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "dataplane/tables/flow_table.h"

namespace shunt::dataplane {
namespace {

// Since a worker copied a flow and fell silent about it, every other worker has long ended the burst in which it may
// have asked that one too early: one that stands still for two seconds takes the process with it.
constexpr std::uint32_t quiet_ticks = to_ticks(Duration::seconds(3));

std::optional<FlowEntry> find(const shm::State& state, const FlowKey& key, std::uint64_t hash) noexcept {
    for (std::uint16_t i = 0; i < state.shape().workers; ++i) {
        if (const auto entry = shm::find_flow(state.flows(WorkerIndex(i)), hash, key)) return entry;
    }
    return std::nullopt;
}

// The heartbeat is the instant a poll began, stored at its end.
bool began_after(const shm::WorkerBlock& worker, Instant then) noexcept {
    return worker.online.load(std::memory_order_seq_cst) == 0 ||
           static_cast<std::int64_t>(worker.heartbeat.read()) > then.nanoseconds;
}

}  // namespace

Predecessors Predecessors::open(const std::string& directory, std::span<const shm::Predecessor> wanted,
                                const shm::StateHeader& like) {
    Predecessors all;
    for (const shm::Predecessor& name : wanted.first(std::min(wanted.size(), shm::max_predecessors))) {
        if (name.number == 0) break;
        auto region =
            shm::Region::open(directory + "/state." + std::to_string(name.number), shm::Region::Access::read_write);
        if (!region || shm::flaw_of_state(region->data(), region->file_bytes())) break;
        const auto& header = region->at<shm::StateHeader>(0);
        if (header.boot_id != like.boot_id || !(header.flow_seed == like.flow_seed)) break;
        all.regions_.push_back({name, *std::move(region)});
    }
    return all;
}

void Predecessors::name_in(shm::StateHeader& heir) const noexcept {
    heir.predecessors = {};
    for (std::size_t i = 0; i < regions_.size(); ++i) heir.predecessors[i] = regions_[i].name;
    heir.predecessors_kept.store(static_cast<std::uint32_t>(regions_.size()), std::memory_order_release);
}

std::vector<shm::StateReader> Predecessors::regions() const {
    std::vector<shm::StateReader> all;
    for (const Left& left : regions_) all.emplace_back(left.region.data());
    return all;
}

bool Predecessors::has(std::uint64_t number) const noexcept {
    return std::ranges::any_of(regions_, [&](const Left& left) { return left.name.number == number; });
}

void Predecessors::turn(const shm::State& heir, const shm::Tables& tables, Instant now, Tick tick) noexcept {
    if (released_) return let_go(heir);
    // Without tables nobody can say what an entry means.
    if (regions_.empty() || now < next_pass_ || !tables.generation()) return;
    for (std::uint32_t read = 0; read < lines;) {
        read += tidy(heir, tables, tick);
        if (advance()) return end_pass(heir.header(), now);
    }
}

Predecessors::Need Predecessors::need_of(const shm::StoredFlow& flow, const shm::State& heir, const shm::Tables& tables,
                                         Tick tick) const noexcept {
    const shm::ListenerRecord& listener = tables.listeners[flow.key.listener.value];
    if (!listener.in_use || shm::is_expired(flow.entry, listener, tick)) return Need::over;
    const std::uint64_t hash = hash_peer(heir.header().flow_seed, flow.key.peer, flow.key.peer_port);
    for (std::size_t newer = 0; newer < pass_.region; ++newer) {
        if (find(regions_[newer].state(), flow.key, hash)) return Need::over;
    }
    const auto known = find(heir, flow.key, hash);
    if (!known) return Need::only_here;
    return tick.since(known->seen) >= quiet_ticks ? Need::over : Need::known;
}

std::uint32_t Predecessors::tidy(const shm::State& heir, const shm::Tables& tables, Tick tick) noexcept {
    FlowTable table(regions_[pass_.region].state().flows(pass_.worker));
    const auto at = static_cast<std::uint32_t>(pass_.bucket);
    std::uint32_t read = 1;
    for (std::uint8_t unit = 0; unit < shm::units_per_bucket; ++unit) {
        const auto flow = table.read({at, unit});
        if (!flow) continue;
        read += 2 * heir.shape().workers;
        const Need need = need_of(*flow, heir, tables, tick);
        if (need == Need::over) table.erase({at, unit});
        pass_.needed = pass_.needed || need == Need::only_here;
    }
    return read;
}

bool Predecessors::advance() noexcept {
    const shm::StateShape& shape = regions_[pass_.region].state().shape();
    if (++pass_.bucket < shape.buckets_per_worker) return false;
    pass_.bucket = 0;
    if (++pass_.worker.value < shape.workers) return false;
    pass_.worker.value = 0;
    if (++pass_.region == regions_.size()) return true;
    pass_.needed = false;  // what counts is the oldest
    return false;
}

void Predecessors::end_pass(shm::StateHeader& heir, Instant now) noexcept {
    const bool needed = std::exchange(pass_, {}).needed;
    next_pass_ = now + pass_interval;
    if (needed) return;
    heir.predecessors_kept.store(static_cast<std::uint32_t>(regions_.size() - 1), std::memory_order_seq_cst);
    released_ = now;
}

void Predecessors::let_go(const shm::State& heir) noexcept {
    const auto workers = heir.workers();
    if (!std::ranges::all_of(workers, [&](const auto& worker) { return began_after(worker, *released_); })) return;
    unlink(regions_.back().region.path().c_str());
    regions_.pop_back();
    released_.reset();
    next_pass_ = {};
}

void Predecessors::forget(std::span<const FlowKey> flows) noexcept {
    for (const Left& left : regions_) {
        const HashSeed& seed = left.state().header().flow_seed;
        for (std::uint16_t i = 0; i < left.state().shape().workers; ++i) {
            FlowTable table(left.state().flows(WorkerIndex(i)));
            for (const FlowKey& flow : flows) table.forget(hash_peer(seed, flow.peer, flow.peer_port), flow);
        }
    }
}

void Predecessors::give_up(shm::StateHeader& heir) noexcept {
    heir.predecessors_kept.store(0, std::memory_order_seq_cst);
    for (const Left& left : regions_) unlink(left.region.path().c_str());
    regions_.clear();
    pass_ = {};
    released_.reset();
}

}  // namespace shunt::dataplane
