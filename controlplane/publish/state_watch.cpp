#include "controlplane/publish/state_watch.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "src/shm/state.h"

namespace shunt::controlplane {
namespace {

struct FileId {
    std::uint64_t device{}, inode{};
    bool operator==(const FileId&) const = default;
};

std::optional<FileId> file_at(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0 || status.st_size == 0) return std::nullopt;
    return FileId{status.st_dev, status.st_ino};
}

bool is_unfinished(const std::optional<shm::StateFlaw>& flaw, const shm::Region& region) {
    return flaw && (flaw->kind == shm::StateFlaw::Kind::unfinished || region.reserved() < shm::first_worker_offset);
}

// What is mapped of a file that was cut short must not be touched; its holder cannot live either.
bool was_cut(const shm::Region& region) { return region.file_bytes() < region.reserved(); }

std::string text_in(const std::array<char, 16>& field) { return {field.data(), strnlen(field.data(), field.size())}; }

// Before it is ready the region may still tell of a predecessor's.
std::vector<RunningPort> running_ports(const shm::StateReader& state) {
    std::vector<RunningPort> ports;
    if (state.header().ready.load(std::memory_order_acquire) == 0) return ports;
    const auto count = std::min<std::size_t>(state.header().port_count.load(std::memory_order_relaxed), shm::max_ports);
    for (const shm::PortBlock& block : state.ports().first(count)) {
        ports.push_back({text_in(block.name), text_in(block.device)});
    }
    return ports;
}

bool holds(const std::byte* region, Generation generation) {
    const shm::StateReader state(region);
    const std::uint64_t accepted = state.header().accepted.load(std::memory_order_seq_cst);
    if (accepted == 0) return false;  // nothing to hold yet
    if (accepted <= generation.value) return true;
    const auto workers = state.workers();
    return std::any_of(workers.begin(), workers.end(), [&](const shm::WorkerBlock& worker) {
        return worker.online.load(std::memory_order_seq_cst) != 0 &&
               worker.passed.load(std::memory_order_acquire) <= generation.value;
    });
}

}  // namespace

std::size_t Progress::workers_past(Generation generation) const noexcept {
    if (accepted < generation) return 0;
    return static_cast<std::size_t>(std::count_if(workers.begin(), workers.end(), [&](const WorkerProgress& worker) {
        return !worker.online || worker.passed >= generation;
    }));
}

bool Progress::passed_by_all(Generation generation) const noexcept {
    return !alive || (accepted >= generation && workers_past(generation) == workers.size());
}

Status StateWatch::refresh() {
    std::erase_if(regions_, [](const Watched& watched) { return was_cut(watched.region); });
    while (regions_.size() > 1 && !regions_.front().region.locked_by_other()) regions_.erase(regions_.begin());
    const auto file = path_.empty() ? std::nullopt : file_at(path_);
    const bool is_known =
        !file || (!regions_.empty() && FileId{regions_.back().device, regions_.back().inode} == *file);
    if (is_known) return Done{};
    auto region = shm::Region::open(path_, shm::Region::Access::read_only);
    if (file_at(path_) != file) return Done{};  // it is just being replaced: the next look sees the new one
    if (!region) return region.error();
    const auto flaw = shm::flaw_of_state(region->data(), std::min(region->file_bytes(), region->reserved()));
    if (is_unfinished(flaw, *region)) return Done{};
    if (flaw) {
        return Error{.message = "the data plane's state cannot be read: " + flaw->text +
                                "; this control plane reads layouts " + std::to_string(shm::oldest_layout_read) +
                                " to " + std::to_string(shm::layout_version),
                     .remedy = "run both programs from the same release",
                     .file = path_};
    }
    regions_.push_back({*std::move(region), file->device, file->inode});
    return Done{};
}

template <class F>
bool StateWatch::any_held(F&& f) const {
    const bool in_file = std::any_of(regions_.begin(), regions_.end(), [&](const Watched& watched) {
        return watched.region.locked_by_other() && f(watched.region.data());
    });
    return in_file || (followed_ != nullptr && f(followed_));
}

bool StateWatch::attaching() const noexcept {
    return any_held([](const std::byte* region) {
        return shm::StateReader(region).header().attaching.load(std::memory_order_seq_cst) != 0;
    });
}

bool StateWatch::holds_at_or_before(Generation generation) const noexcept {
    return any_held([&](const std::byte* region) { return holds(region, generation); });
}

TablesInUse StateWatch::tables_in_use() const noexcept {
    if (regions_.empty()) return {};
    const shm::Region& region = regions_.back().region;
    const shm::StateHeader& header = shm::StateReader(region.data()).header();
    return {header.tables_identity, Generation(header.accepted.load(std::memory_order_acquire)),
            region.locked_by_other(), header.answered.load(std::memory_order_acquire)};
}

const std::byte* StateWatch::served() const noexcept {
    if (followed_ != nullptr) return followed_;
    const bool held = !regions_.empty() && regions_.back().region.locked_by_other();
    return held ? regions_.back().region.data() : nullptr;
}

const shm::StateHeader* StateWatch::serving() const noexcept {
    const std::byte* region = served();
    return region == nullptr ? nullptr : &shm::StateReader(region).header();
}

Progress StateWatch::progress() const {
    Progress progress;
    const std::byte* region = served();
    if (region == nullptr) return progress;
    const shm::StateReader state(region);
    const shm::StateHeader& header = state.header();
    progress.alive = true;
    progress.health = header.health.load(std::memory_order_relaxed);
    progress.heartbeat = Instant{header.heartbeat.load(std::memory_order_relaxed)};
    progress.accepted = Generation(header.accepted.load(std::memory_order_acquire));
    progress.attaching = header.attaching.load(std::memory_order_acquire) != 0;
    progress.steered = Generation(header.steered.load(std::memory_order_acquire));
    progress.refused = Generation(header.refused_generation.load(std::memory_order_acquire));
    for (std::size_t i = 0; i < progress.refusals.size(); ++i) progress.refusals[i] = header.refusals[i].read();
    for (const shm::WorkerBlock& worker : state.workers()) {
        progress.workers.push_back({worker.online.load(std::memory_order_acquire) != 0,
                                    Generation(worker.passed.load(std::memory_order_acquire))});
    }
    progress.buckets_per_worker = state.shape().buckets_per_worker;
    progress.ports = running_ports(state);
    return progress;
}

}  // namespace shunt::controlplane
