#include "controlplane/publish/publisher.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "controlplane/publish/generation_writer.h"
#include "controlplane/publish/reachable.h"
#include "src/shm/generation.h"

namespace shunt::controlplane {
namespace {

constexpr Generation before_ring(Generation next) noexcept {
    return Generation(next.value > shm::root_ring ? next.value - shm::root_ring : 0);
}

// The free bytes between what is used, in order of offset.
void add_gaps(FreeSpace& free, const std::map<Extent, Generation>& used, std::uint64_t end) {
    std::uint64_t at = shm::first_block_offset;
    for (const auto& [extent, generation] : used) {
        if (extent.offset > at) free.add({at, extent.offset - at});
        at = std::max(at, extent.offset + extent.bytes);
    }
    if (end > at) free.add({at, end - at});
}

}  // namespace

Result<Publisher> Publisher::open(const std::string& directory, const std::string& state_path, NewTables options) {
    Publisher publisher;
    publisher.options_ = std::move(options);
    publisher.watch_ = StateWatch(state_path);
    if (auto seen = publisher.watch_.refresh(); !seen) return seen.error();
    publisher.path_ = directory + "/tables";
    auto file = open_tables(publisher.path_, publisher.options_, publisher.watch_.tables_in_use());
    if (!file) return file.error();
    publisher.tables_ = SharedTables(std::move(file->own), std::move(file->file));
    if (!file->replaced.empty()) {
        publisher.replaced_ = directory + "/tables could not be used (" + file->replaced + ") and was replaced by " +
                              (file->restored ? "what the data plane had kept of it: every flow keeps its backend"
                                              : "a new file with new ids: the flows of the old one are given up");
    }
    publisher.recover();
    if (file->restored) publisher.forgotten_ = Generation(publisher.newest_.value - 1);
    return publisher;
}

Publisher Publisher::in_memory(std::uint64_t bytes, NewTables options, shm::Region::Pages pages) {
    Publisher publisher;
    publisher.options_ = std::move(options);
    shm::Region region = shm::Region::anonymous(bytes, pages);
    format_tables(region, publisher.options_.random_seed);
    publisher.tables_ = SharedTables(std::move(region));
    publisher.recover();
    return publisher;
}

// What is used follows from the roots; everything else is free.
void Publisher::recover() {
    newest_ = Generation(header().published.load(std::memory_order_relaxed));
    above_ = std::max(newest_, watch_.tables_in_use().accepted);
    std::map<Extent, Generation> used;  // and the last generation that has it
    std::uint64_t serial = header().next_serial.load(std::memory_order_relaxed);
    for (std::uint64_t g = before_ring(newest_).value + 1; g <= newest_.value; ++g) {
        const auto root = shm::find_root(header(), Generation(g));
        if (!root) continue;
        for (const Extent& extent : reachable(tables_.data(), *root)) {
            used[extent] = Generation(g);
            serial = std::max(serial, tables_.own().at<const shm::BlockHeader>(extent.offset).serial + 1);
        }
    }
    tables_.change_header([&](auto& header) { header.next_serial.store(serial, std::memory_order_relaxed); });
    for (const auto& [extent, last] : used) {
        (last == newest_ ? current_ : left_behind_[last]).push_back(extent);
    }
    add_gaps(free_, used, header().file_bytes.load(std::memory_order_relaxed));
}

const shm::Root* Publisher::newest_root() const noexcept {
    const auto offset = shm::find_root(header(), newest_);
    return offset ? &tables_.own().at<const shm::Root>(*offset + sizeof(shm::BlockHeader)) : nullptr;
}

shm::Tables Publisher::tables() const noexcept {
    const shm::Root* root = newest_root();
    return root ? shm::Tables(tables_.data(), *root) : shm::Tables();
}

// A generation takes the place in the ring of the one eight before it, whose blocks become free.
bool Publisher::may_publish() {
    if (!watch_.refresh() || watch_.attaching()) return false;
    const Generation oldest = std::max(before_ring(next()), forgotten_);
    return !oldest || !watch_.holds_at_or_before(oldest);
}

Result<Generation> Publisher::publish(const Image& image) {
    if (auto understood = watch_.refresh(); !understood) return understood.error();
    if (const Status sound = damaged() ? mend() : Status(Done{}); !sound) return sound.error();
    if (!may_publish()) {
        return Error{.message = "the data plane has not taken over the generations that are out",
                     .remedy = "try again; if it lasts, look at the data plane"};
    }
    forget_before_ring();
    BlockWriter blocks(tables_, free_, options_.after_store);
    const shm::Root* before = newest_root();
    shm::Root root = GenerationWriter(blocks, tables_.data(), before, origins_).write(image);
    if (before != nullptr) {
        root.generation = before->generation;
        if (blocks.written() == 0 && std::memcmp(&root, before, sizeof root) == 0) return newest_;
    }
    root.generation = next();
    const shm::BlockOffset offset = blocks.put(shm::BlockKind::root, &root, sizeof root);
    if (blocks.failure()) {
        blocks.give_up();
        return *blocks.failure();
    }
    announce(root.generation, offset);
    settle(root.generation, offset, image);
    return newest_;
}

// First the roots, then what only they named: a reader that copies looks at the root again afterwards.
void Publisher::forget_before_ring() {
    const Generation oldest = before_ring(next());
    for (std::size_t i = 0; i < shm::root_ring; ++i) {
        const std::uint64_t generation = header().roots[i].generation.load(std::memory_order_relaxed);
        if (generation == 0 || (generation > oldest.value && generation <= newest_.value)) continue;
        tables_.change_header([i](auto& header) { header.roots[i].generation.exchange(0, std::memory_order_acq_rel); });
        stored();
    }
    const auto end = left_behind_.upper_bound(oldest);
    for (auto left = left_behind_.begin(); left != end; left = left_behind_.erase(left)) {
        for (const Extent& extent : left->second) free_.add(extent);
    }
}

void Publisher::announce(Generation generation, shm::BlockOffset offset) {
    const std::uint64_t checksum = tables_.own().at<const shm::BlockHeader>(offset).checksum;
    const auto set = [&](auto&& change) {
        tables_.change_header([&](auto& header) { change(header, header.roots[generation.value % shm::root_ring]); });
        stored();
    };
    set([&](auto&, auto& root) { root.offset.store(offset, std::memory_order_relaxed); });
    set([&](auto&, auto& root) { root.checksum.store(checksum, std::memory_order_relaxed); });
    set([&](auto&, auto& root) { root.generation.store(generation.value, std::memory_order_release); });
    set([&](auto& header, auto&) { header.published.store(generation.value, std::memory_order_seq_cst); });
}

void Publisher::settle(Generation generation, shm::BlockOffset root, const Image& image) {
    std::vector<Extent> now = reachable(tables_.data(), root);
    std::vector<Extent> gone;
    std::set_difference(current_.begin(), current_.end(), now.begin(), now.end(), std::back_inserter(gone));
    if (!gone.empty()) left_behind_[newest_] = std::move(gone);
    current_ = std::move(now);
    newest_ = generation;

    origins_.slots.resize(image.listeners.size());
    origins_.handles.resize(image.listeners.size());
    origins_.numbers.resize(image.listeners.size());
    for (std::size_t i = 0; i < image.listeners.size(); ++i) {
        if (origins_.slots[i] != image.listeners[i].slots) origins_.slots[i] = image.listeners[i].slots;
        if (origins_.handles[i] != image.listeners[i].handles) origins_.handles[i] = image.listeners[i].handles;
        if (origins_.numbers[i] != image.listeners[i].numbers) origins_.numbers[i] = image.listeners[i].numbers;
    }
    origins_.routes_v4 = image.routes_v4;
    origins_.routes_v6 = image.routes_v6;
}

// As far as it can be seen from here: by its length and name, and by what the data plane says. That it refuses a
// generation is worth one new file.
bool Publisher::damaged() const {
    if (tables_.lost()) return true;
    const Progress progress = watch_.progress();
    return !path_.empty() && progress.refused == newest_ && progress.accepted < newest_ && mended_ != newest_;
}

Status Publisher::mend() {
    auto file = make_again(path_, options_, tables_.own());
    if (!file) return file.error();
    tables_.use(*std::move(file));
    mended_ = newest_;
    return Done{};
}

Progress Publisher::progress() {
    const Status understood = watch_.refresh();
    Progress progress = watch_.progress();
    progress.file_damaged = damaged();
    if (!understood) progress.problem = understood.error().text();
    progress.published = newest_;
    return progress;
}

Result<std::uint64_t> Publisher::ask(const Asked& asked) {
    if (auto understood = watch_.refresh(); !understood) return understood.error();
    return controlplane::ask(tables_.shared_header(), watch_.serving(), asked);
}

std::optional<RequestEnd> Publisher::end_of(std::uint64_t request) {
    if (!watch_.refresh()) return RequestEnd{};
    return controlplane::end_of(request, watch_.serving());
}

}  // namespace shunt::controlplane
