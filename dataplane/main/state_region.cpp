#include "dataplane/main/state_region.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <utility>

#include "dataplane/main/accounts.h"
#include "dataplane/main/state_files.h"
#include "src/base/assert.h"

namespace shunt::dataplane {
namespace {

using Origin = StateRegion::Origin;

// What the region in force is to one who needs this; and why it is no more.
struct Judgement {
    Origin origin;
    std::string reason{};
};

Judgement judge(const InForce& found, const StateNeeds& needs) {
    if (!found.region) return {Origin::fresh};
    if (found.flaw) return {Origin::damaged, found.flaw->text};
    const auto& header = found.region->at<shm::StateHeader>(0);
    const std::string boot_id(header.boot_id.data(), strnlen(header.boot_id.data(), header.boot_id.size()));
    if (boot_id != needs.boot_id) return {Origin::fresh, "it is from before the last boot"};
    const bool is_of_our_clock =
        header.downtime_nanoseconds >= 0 && header.downtime_nanoseconds <= needs.now.nanoseconds;
    if (!is_of_our_clock) return {Origin::damaged, "its header is damaged"};
    const std::uint32_t version = header.version.load(std::memory_order_relaxed);
    if (version != shm::layout_version) return {Origin::successor, "it has layout " + std::to_string(version)};
    if (!(header.shape == needs.shape)) return {Origin::successor, "it is for another number of workers or flows"};
    return {Origin::adopted};
}

std::string remark_on(const Judgement& judgement) {
    if (judgement.reason.empty()) return "a new state region";
    const bool given_up = judgement.origin != Origin::successor;
    return std::string("a new state region; the flows of the old one are ") +
           (given_up ? "given up: " : "looked for there: ") + judgement.reason;
}

// A clock that is ahead of ours is none.
Instant last_sign_of_life(const shm::StateReader& state, Instant now) {
    std::int64_t last = 0;
    const auto see = [&](std::int64_t sign) {
        if (sign <= now.nanoseconds) last = std::max(last, sign);
    };
    see(state.header().heartbeat.load(std::memory_order_relaxed));
    for (const auto& worker : state.workers()) see(static_cast<std::int64_t>(worker.heartbeat.read()));
    return last != 0 ? Instant{last} : now;
}

template <class T>
void clear(std::span<T> records) noexcept {
    std::memset(static_cast<void*>(records.data()), 0, records.size_bytes());
}

// The sweeps of the new workers count again.
void clear_counts_of_flows(const shm::State& state, WorkerIndex worker) noexcept {
    clear(state.own_flows(worker));
    clear(state.flow_offsets(worker));
}

void copy_path_mtus(const shm::StateReader& from, const shm::State& to) noexcept {
    std::memcpy(static_cast<void*>(to.path_mtus().data()), from.path_mtus().data(), to.path_mtus().size_bytes());
    to.header().path_mtus_known.set(from.header().path_mtus_known.read());
}

void begin_life(shm::StateHeader& header, Instant now) noexcept {
    header.started_at.store(now.nanoseconds, std::memory_order_relaxed);
    header.pid.store(static_cast<std::uint32_t>(getpid()), std::memory_order_relaxed);
    ++header.starts;
}

Error served_by_other(const shm::Region& region) {
    const bool readable = region.file_bytes() >= sizeof(shm::StateHeader);
    const std::uint32_t pid = readable ? region.at<shm::StateHeader>(0).pid.load(std::memory_order_relaxed) : 0;
    return {.message = "another shunt-dataplane (pid " + std::to_string(pid) + ") serves this region",
            .remedy = "stop that one first, or give this one another --run-dir",
            .file = region.path()};
}

// Those of the region in force, before them itself. When its holder died is not known yet.
Predecessors predecessors_of_heir(const std::string& directory, const shm::StateHeader& old) {
    std::vector<shm::Predecessor> wanted{{number_in_force(directory), 0}};
    const std::size_t kept =
        std::min<std::size_t>(old.predecessors_kept.load(std::memory_order_relaxed), shm::max_predecessors);
    wanted.insert(wanted.end(), old.predecessors.begin(), old.predecessors.begin() + static_cast<std::ptrdiff_t>(kept));
    return Predecessors::open(directory, wanted, old);
}

}  // namespace

std::string read_boot_id() {
    std::ifstream file("/proc/sys/kernel/random/boot_id");
    std::string id;
    file >> id;
    return id;
}

HashSeed random_seed() {
    HashSeed seed;
    const ssize_t got = getrandom(seed.words.data(), sizeof seed.words, 0);
    SHUNT_ASSERT(got == static_cast<ssize_t>(sizeof seed.words));
    return seed;
}

Result<StateRegion> StateRegion::take(const std::string& directory, const StateNeeds& needs) {
    auto found = find_in_force(directory);
    if (!found) return found.error();
    if (found->region && needs.lock >= 0) found->region->inherit_lock(needs.lock);
    if (found->region && !found->region->try_lock()) return served_by_other(*found->region);
    if (judge(*found, needs).origin == Origin::adopted) {
        StateRegion result(directory, *std::move(found->region), Origin::adopted, "");
        result.adopt(needs.now);
        result.remove_others();
        return result;
    }
    auto made = make(directory, needs, *found);
    if (!made) return made;
    if (auto done = made->take_over(needs.now); !done) return done.error();
    return made;
}

Result<bool> StateRegion::can_adopt(const std::string& directory, const StateNeeds& needs) {
    const auto found = find_in_force(directory);
    if (!found) return found.error();
    return judge(*found, needs).origin == Origin::adopted;
}

Result<StateRegion> StateRegion::prepare(const std::string& directory, const StateNeeds& needs) {
    const auto found = find_in_force(directory);
    if (!found) return found.error();
    return make(directory, needs, *found);
}

Result<StateRegion> StateRegion::make(const std::string& directory, const StateNeeds& needs, const InForce& found) {
    Judgement judgement = judge(found, needs);
    if (judgement.origin == Origin::adopted) judgement = {Origin::successor, "it is in use"};
    const auto others = state_numbers(directory);
    const std::uint64_t number = others.empty() ? 1 : *std::ranges::max_element(others) + 1;
    const std::uint64_t bytes = shm::StateLayout::of(needs.shape).total;
    const auto room = require_room(directory, bytes, needs.memory_available, needs.huge_memory_available);
    if (!room) return room.error();
    auto region = shm::Region::create(path_of_state(directory, number), bytes, bytes);
    if (!region) return region.error();
    if (!region->try_lock()) return served_by_other(*region);

    StateRegion made(directory, *std::move(region), judgement.origin, remark_on(judgement));
    auto& header = made.region_.at<shm::StateHeader>(0);
    HashSeed seed = needs.flow_seed;
    if (judgement.origin == Origin::successor) {
        const auto& old = found.region->at<shm::StateHeader>(0);
        seed = old.flow_seed;  // so flows are found there by the same hash
        made.predecessors_ = predecessors_of_heir(directory, old);
        made.predecessors_.name_in(header);
    }
    needs.boot_id.copy(header.boot_id.data(), header.boot_id.size() - 1);
    header.incarnation = number;
    shm::format_state(made.region_.data(), needs.shape, seed);
    return made;
}

Status StateRegion::take_over(Instant now) {
    shm::StateHeader& header = state().header();
    unseal();
    const auto left = predecessors_.regions();
    if (!left.empty()) {
        const shm::StateReader& from = left.front();
        const Instant died = last_sign_of_life(from, now);
        header.downtime_nanoseconds = from.header().downtime_nanoseconds + (now - died).nanoseconds;
        header.tables_identity = from.header().tables_identity;
        predecessors_.date_newest(died);
        predecessors_.name_in(header);
        copy_path_mtus(from, state());
        inherit_counters(from, state());
        book_lost(state());
    }
    header.heartbeat.store(now.nanoseconds, std::memory_order_relaxed);
    begin_life(header, now);
    seal();
    if (auto done = put_in_force(); !done) return done;
    remove_others();
    return Done{};
}

Status StateRegion::put_in_force() { return dataplane::put_in_force(directory_, state().header().incarnation); }

void StateRegion::remove_others() const {
    const std::uint64_t own = number_in_force(directory_);
    for (const std::uint64_t number : state_numbers(directory_)) {
        if (number != own && !predecessors_.has(number)) remove_state(directory_, number);
    }
}

void StateRegion::adopt(Instant now) noexcept {
    const shm::State state(region_.data());
    shm::StateHeader& header = state.header();
    const Duration downtime = now - last_sign_of_life(state, now);
    // What is published is validated again before anybody uses it.
    header.accepted.store(0, std::memory_order_seq_cst);
    header.attaching.store(0, std::memory_order_relaxed);
    header.steered.store(0, std::memory_order_relaxed);
    header.ready.store(0, std::memory_order_relaxed);
    for (std::uint16_t i = 0; i < state.shape().workers; ++i) {
        state.workers()[i].online.store(0, std::memory_order_relaxed);
        state.workers()[i].passed.store(0, std::memory_order_relaxed);
        clear_counts_of_flows(state, WorkerIndex(i));
    }
    book_lost(state);
    const std::size_t kept =
        std::min<std::size_t>(header.predecessors_kept.load(std::memory_order_relaxed), shm::max_predecessors);
    predecessors_ = Predecessors::open(directory_, std::span(header.predecessors).first(kept), header);
    unseal();
    predecessors_.name_in(header);
    // In this order: a death in between makes flows a little older, never younger than now.
    header.heartbeat.store(now.nanoseconds, std::memory_order_relaxed);
    header.downtime_nanoseconds += downtime.nanoseconds;
    begin_life(header, now);
    seal();
    remark_ = "adopted state." + std::to_string(header.incarnation) + " and its flows after " +
              std::to_string(downtime.in_milliseconds()) + " ms";
}

bool StateRegion::bind_tables(std::uint64_t identity) noexcept {
    shm::StateHeader& header = state().header();
    unseal();
    const std::uint64_t before = std::exchange(header.tables_identity, identity);
    const bool is_other = before != 0 && before != identity;
    if (is_other) {
        predecessors_.give_up(header);
        for (std::uint16_t i = 0; i < state().shape().workers; ++i) {
            clear(state().flows(WorkerIndex(i)));
            clear(state().backends(WorkerIndex(i)));
            clear_counts_of_flows(state(), WorkerIndex(i));
        }
        clear(state().links());
    }
    seal();
    return !is_other;
}

}  // namespace shunt::dataplane
