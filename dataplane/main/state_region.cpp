#include "dataplane/main/state_region.h"

#include <linux/magic.h>
#include <sys/random.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "src/base/assert.h"

namespace shunt::dataplane {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "state.";

// The n of state.<n>; 0 if the name is another.
std::uint64_t number_of(const std::string& name) {
    std::uint64_t number = 0;
    if (!name.starts_with(prefix)) return 0;
    const char* end = name.data() + name.size();
    const auto [parsed, error] = std::from_chars(name.data() + prefix.size(), end, number);
    return error == std::errc{} && parsed == end ? number : 0;
}

std::vector<std::uint64_t> numbers_in(const std::string& directory) {
    std::vector<std::uint64_t> numbers;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(directory, ignored)) {
        if (const auto number = number_of(entry.path().filename())) numbers.push_back(number);
    }
    return numbers;
}

std::string boot_id_of(const shm::StateHeader& header) {
    return {header.boot_id.data(), strnlen(header.boot_id.data(), header.boot_id.size())};
}

// Why the region cannot be adopted; nothing if it can.
std::optional<std::string> mismatch(const shm::Region& region, const StateNeeds& needs) {
    if (region.file_bytes() < sizeof(shm::StateHeader)) return "it is cut short";
    const auto& header = region.at<shm::StateHeader>(0);
    if (header.magic != shm::state_magic) return "it is no state region";
    if (header.version.load(std::memory_order_acquire) != shm::layout_version) return "it is of another layout version";
    if (boot_id_of(header) != needs.boot_id) return "it is from before the last boot";
    if (!(header.shape == needs.shape)) return "it is for another number of workers or flows";
    if (region.file_bytes() < shm::StateLayout::of(needs.shape).total) return "it is cut short";
    return std::nullopt;
}

bool is_newer(const shm::Region& region) {
    if (region.file_bytes() < sizeof(shm::StateHeader)) return false;
    const auto& header = region.at<shm::StateHeader>(0);
    return header.magic == shm::state_magic && header.version.load(std::memory_order_acquire) > shm::layout_version;
}

std::uint64_t dropped_for_reasons(const shm::State& state, WorkerIndex worker) {
    std::uint64_t sum = 0;
    for (const auto& service : state.drops(worker)) {
        for (const auto& counter : service.by_reason) sum += counter.read();
    }
    return sum;
}

// What the predecessor received and did not live to account for.
void book_lost(const shm::State& state, WorkerIndex worker) {
    shm::WorkerBlock& block = state.workers()[worker.value];
    const std::uint64_t dropped = dropped_for_reasons(state, worker);
    const std::uint64_t accounted = block.forwarded.read() + block.punted.read() + dropped;
    const std::uint64_t lost = block.received.read() - std::min(block.received.read(), accounted);
    state.drops(worker)[0].by_reason[static_cast<std::size_t>(shm::DropReason::lost_in_restart)].add(lost);
    block.dropped.set(dropped + lost);
}

// Fragments that waited, or were on their way from one worker to another, are in no worker's count, only in those of
// the ports.
void book_fragments_lost(const shm::State& state) {
    std::uint64_t arrived = 0;
    std::uint64_t accounted = 0;
    for (const auto& worker : state.workers()) {
        accounted += worker.received.read();
        for (const auto& port : worker.ports) arrived += port.received.read();
    }
    const std::uint64_t lost = arrived - std::min(arrived, accounted);
    shm::WorkerBlock& first = state.workers()[0];
    first.received.add(lost);
    first.dropped.add(lost);
    state.drops(WorkerIndex(0))[0].by_reason[static_cast<std::size_t>(shm::DropReason::lost_in_restart)].add(lost);
}

std::int64_t last_sign_of_life(const shm::State& state) {
    std::int64_t last = state.header().heartbeat.load(std::memory_order_relaxed);
    for (const auto& worker : state.workers()) {
        last = std::max(last, static_cast<std::int64_t>(worker.heartbeat.read()));
    }
    return last;
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

std::string path_of(const std::string& directory, std::uint64_t number) {
    return directory + "/" + std::string(prefix) + std::to_string(number);
}

Status put_in_force(const std::string& directory, std::uint64_t number) {
    const std::string fresh = directory + "/state.new";
    std::error_code error;
    fs::remove(fresh, error);
    fs::create_hard_link(path_of(directory, number), fresh, error);
    if (!error) fs::rename(fresh, directory + "/state", error);
    if (error)
        return Error{.message = "cannot give the region its name: " + error.message(), .file = directory + "/state"};
    return Done{};
}

// Is there room for a new region? Asked before the file grows: a full tmpfs or an empty machine is worse than a
// refusal.
Status require_room(const std::string& directory, std::uint64_t bytes, const StateNeeds& needs) {
    struct statfs filesystem {};
    if (::statfs(directory.c_str(), &filesystem) != 0) return Done{};
    const bool huge = filesystem.f_type == HUGETLBFS_MAGIC;
    std::uint64_t room = huge ? needs.huge_memory_available : needs.memory_available;
    // hugetlbfs without a limit of its own says that it has no blocks.
    const auto blocks = static_cast<std::uint64_t>(filesystem.f_bavail);
    if (filesystem.f_blocks != 0) room = std::min(room, blocks * static_cast<std::uint64_t>(filesystem.f_bsize));
    if (bytes <= room) return Done{};
    const auto mebibytes = [](std::uint64_t n) { return std::to_string(n >> 20) + " MiB"; };
    return Error{
        .message = "too little memory for flows and counters: " + mebibytes(bytes) + " are needed, " + mebibytes(room) +
                   " are there",
        .remedy = std::string(huge ? "raise vm.nr_hugepages (sysctl -w vm.nr_hugepages=N)"
                                   : "free some memory, or enlarge the file system (mount -o remount,size=N)") +
                  ", or lower dataplane.flows",
        .file = directory};
}

Error served_by_other(const shm::Region& region) {
    const bool readable = region.file_bytes() >= sizeof(shm::StateHeader);
    const std::uint32_t pid = readable ? region.at<shm::StateHeader>(0).pid.load(std::memory_order_relaxed) : 0;
    return {.message = "another shunt-dataplane (pid " + std::to_string(pid) + ") serves this region",
            .remedy = "stop that one first, or give this one another --run-dir",
            .file = region.path()};
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
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) return Error{.message = "cannot make the directory: " + error.message(), .file = directory};
    if (!fs::exists(directory + "/state", error)) return make(directory, needs, "a new state region");
    auto region = shm::Region::open(directory + "/state", shm::Region::Access::read_write);
    if (!region) return make(directory, needs, "a new state region: " + region.error().text());
    if (needs.lock >= 0) region->inherit_lock(needs.lock);
    if (!region->try_lock()) return served_by_other(*region);
    if (is_newer(*region)) {
        return Error{.message = "the state region has a newer layout than this program understands",
                     .remedy = "start the version that made it, or remove the file to give up the flows it remembers",
                     .file = region->path()};
    }
    if (const auto reason = mismatch(*region, needs)) {
        return make(directory, needs, "a new state region; the flows of the old one are given up: " + *reason);
    }
    StateRegion result(*std::move(region), true, "");
    result.adopt(needs.now);
    return result;
}

Result<StateRegion> StateRegion::make(const std::string& directory, const StateNeeds& needs, std::string remark) {
    const auto others = numbers_in(directory);
    const std::uint64_t number = others.empty() ? 1 : *std::max_element(others.begin(), others.end()) + 1;
    const std::uint64_t bytes = shm::StateLayout::of(needs.shape).total;
    if (auto room = require_room(directory, bytes, needs); !room) return room.error();
    auto region = shm::Region::create(path_of(directory, number), bytes, bytes);
    if (!region) return region.error();
    if (!region->try_lock()) return served_by_other(*region);

    auto& header = region->at<shm::StateHeader>(0);
    needs.boot_id.copy(header.boot_id.data(), header.boot_id.size() - 1);
    header.incarnation = number;
    header.starts = 1;
    header.heartbeat.store(needs.now.nanoseconds, std::memory_order_relaxed);
    header.started_at.store(needs.now.nanoseconds, std::memory_order_relaxed);
    header.pid.store(static_cast<std::uint32_t>(getpid()), std::memory_order_relaxed);
    shm::format_state(region->data(), needs.shape, needs.flow_seed);

    if (auto done = put_in_force(directory, number); !done) return done.error();
    for (const auto old : others) {
        std::error_code ignored;
        fs::remove(path_of(directory, old), ignored);
    }
    return StateRegion(*std::move(region), false, std::move(remark));
}

void StateRegion::adopt(Instant now) noexcept {
    const shm::State state(region_.data());
    shm::StateHeader& header = state.header();
    const std::int64_t downtime = std::max<std::int64_t>(0, now.nanoseconds - last_sign_of_life(state));
    // What is published is validated again before anybody uses it.
    header.accepted.store(0, std::memory_order_seq_cst);
    header.steered.store(0, std::memory_order_relaxed);
    header.ready.store(0, std::memory_order_relaxed);
    for (std::uint16_t i = 0; i < state.shape().workers; ++i) {
        state.workers()[i].online.store(0, std::memory_order_relaxed);
        state.workers()[i].passed.store(0, std::memory_order_relaxed);
        book_lost(state, WorkerIndex(i));
        clear_counts_of_flows(state, WorkerIndex(i));
    }
    book_fragments_lost(state);
    // In this order: a death in between makes flows a little older, never younger than now.
    header.heartbeat.store(now.nanoseconds, std::memory_order_relaxed);
    header.downtime_nanoseconds += downtime;
    header.started_at.store(now.nanoseconds, std::memory_order_relaxed);
    header.pid.store(static_cast<std::uint32_t>(getpid()), std::memory_order_relaxed);
    ++header.starts;
    remark_ = "adopted state." + std::to_string(header.incarnation) + " and its flows after " +
              std::to_string(downtime / 1'000'000) + " ms";
}

bool StateRegion::bind_tables(std::uint64_t identity) noexcept {
    const shm::State state(region_.data());
    const std::uint64_t before = std::exchange(state.header().tables_identity, identity);
    if (before == 0 || before == identity) return true;
    for (std::uint16_t i = 0; i < state.shape().workers; ++i) {
        clear(state.flows(WorkerIndex(i)));
        clear(state.backends(WorkerIndex(i)));
        clear_counts_of_flows(state, WorkerIndex(i));
    }
    clear(state.links());
    return false;
}

}  // namespace shunt::dataplane
