#include "controlplane/publish/tables_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "controlplane/publish/reachable.h"
#include "src/shm/generation.h"
#include "src/shm/layout.h"
#include "src/shm/tables_copy.h"
#include "src/shm/validate.h"

namespace shunt::controlplane {
namespace {

constexpr std::uint64_t first_bytes = 2 << 20;
constexpr std::uint64_t max_reserved_bytes = std::uint64_t{1} << 40;  // more than anybody needs, and always to be had

const shm::TablesHeader& header_of(const shm::Region& region) { return region.at<const shm::TablesHeader>(0); }

// Takes a generation of the ring over, if it is sound; returns what is wrong with it. One that was never completed is
// passed over.
std::optional<std::string> take(const shm::TablesHeader& header, shm::Validator& validator, shm::TablesCopy& own,
                                Generation generation, bool is_newest) {
    const auto root = shm::find_root(header, generation);
    if (!root && is_newest) return "its newest generation cannot be found";
    if (!root) return std::nullopt;
    if (validator.check(generation, *root)) return "generation " + std::to_string(generation.value) + " is damaged";
    own.enter(generation, *root);
    return std::nullopt;
}

// What is wrong with the file; nothing, and `own` has all its generations, if it is sound.
std::optional<std::string> take_all(const shm::Region& region, std::uint64_t file_bytes, const TablesInUse& in_use,
                                    shm::TablesCopy& own) {
    const shm::TablesHeader& header = header_of(region);
    const std::uint64_t bytes = header.file_bytes.load(std::memory_order_relaxed);
    if (bytes < shm::first_block_offset || bytes > file_bytes || bytes > region.reserved()) {
        return "its length is wrong";
    }
    const std::uint64_t newest = header.published.load(std::memory_order_relaxed);
    const bool same_ids = in_use.identity == shm::identity_of(header);
    // Two witnesses against one: state region and copy.
    if (!same_ids && in_use.kept != 0 && in_use.kept == in_use.identity) return "its ids are not those of the flows";
    if (in_use.accepted && same_ids) {
        if (in_use.accepted.value > newest) return "it does not know the generation that the data plane had accepted";
        const bool found = shm::find_root(header, in_use.accepted).has_value();
        if (in_use.alive && !found) return "it has lost the generation that the data plane uses";
    }
    shm::Validator validator(region.data(), bytes, &own);
    const std::uint64_t oldest = newest >= shm::root_ring ? newest - shm::root_ring + 1 : 1;
    for (std::uint64_t g = oldest; newest != 0 && g <= newest; ++g) {
        if (auto damage = take(header, validator, own, Generation(g), g == newest)) return damage;
    }
    return std::nullopt;
}

// Of a file too short for a header nothing is known.
struct Glance {
    bool exists{};
    std::uint64_t bytes{};
    bool ours{};
    std::uint32_t version{};
    std::uint64_t reserved{};
    std::uint64_t identity{};
};

Result<Glance> glance(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return Glance{};
    Glance seen{.exists = true, .bytes = static_cast<std::uint64_t>(status.st_size)};
    if (seen.bytes < shm::first_block_offset) return seen;
    auto region = shm::Region::open(path, shm::Region::Access::read_only);
    if (!region) return region.error();
    const shm::TablesHeader& header = header_of(*region);
    seen.ours = header.magic == shm::tables_magic;
    seen.version = header.version.load(std::memory_order_acquire);
    seen.reserved = header.reserved_bytes;
    if (seen.ours) seen.identity = shm::identity_of(header);
    return seen;
}

Error locked(const std::string& path) {
    return {.message = "another control plane uses this file",
            .remedy = "stop it first, or choose another --run-dir",
            .file = path};
}

Error system_error(const std::string& path, const std::string& what) {
    return {
        .message = what + ": " + std::strerror(errno), .remedy = "look at the directory's permissions", .file = path};
}

void stored(const NewTables& options) {
    if (options.after_store) options.after_store();
}

Result<shm::Region> own_memory(std::uint64_t bytes) {
    shm::Region region = shm::Region::anonymous(bytes);
    if (region.data() != nullptr) return region;
    return Error{.message = "cannot reserve " + std::to_string(bytes >> 20) + " MiB of address space for the tables",
                 .remedy = "lift the limit on address space (ulimit -v)"};
}

// What the data plane kept of the tables, if it is sound and goes with its flows. An older generation is of no use: it
// does not know all ids that flows may have.
std::optional<shm::Region> from_copy(const std::string& path, const TablesInUse& in_use, std::uint64_t reserve) {
    const auto seen = glance(path);
    if (!seen || !seen->ours || !shm::reads_layout(seen->version)) return std::nullopt;
    auto region = shm::Region::open(path, shm::Region::Access::read_only);
    if (!region) return std::nullopt;
    const shm::TablesHeader& header = header_of(*region);
    const Generation newest(header.published.load(std::memory_order_acquire));
    const auto root = shm::find_root(header, newest);
    const bool of_others = in_use.identity != 0 && in_use.identity != shm::identity_of(header);
    if (!root || of_others || newest < in_use.accepted) return std::nullopt;
    const std::uint64_t bytes = std::min(seen->bytes, header.file_bytes.load(std::memory_order_acquire));
    auto memory = own_memory(reserve);
    if (!memory) return std::nullopt;
    auto own = shm::TablesCopy::in_memory(std::move(*memory), header);
    if (shm::Validator(region->data(), bytes, &own).check(newest, *root)) return std::nullopt;
    own.enter(newest, *root);
    const Extent last = reachable(own.data(), *root).back();
    shm::Region all = std::move(own).release();
    all.at<shm::TablesHeader>(0).file_bytes.store(last.offset + last.bytes, std::memory_order_relaxed);
    return all;
}

// A file that holds what `own` holds. Nothing: somebody else made one meanwhile, and it may not be replaced.
Result<std::optional<shm::Region>> make(const std::string& path, const NewTables& options, shm::Region& own,
                                        bool replace) {
    const std::string draft = path + ".new." + std::to_string(getpid());
    unlink(draft.c_str());  // left by a process that had this number and died here
    auto& header = own.at<shm::TablesHeader>(0);
    const std::uint64_t used = header.file_bytes.load(std::memory_order_relaxed);
    auto region = shm::Region::create(draft, std::max(used, first_bytes), own.reserved());
    if (!region) return region.error();
    header.file_bytes.store(region->allocated(), std::memory_order_relaxed);
    header.reserved_bytes = region->reserved();
    stored(options);
    std::memcpy(region->data(), own.data(), used);
    stored(options);
    const bool locked = region->try_lock();
    const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    if (locked && renameat2(AT_FDCWD, draft.c_str(), AT_FDCWD, path.c_str(), flags) == 0) {
        region->moved_to(path);
        stored(options);
        return std::optional(*std::move(region));
    }
    const bool lost_race = locked && errno == EEXIST;
    const Error failed = system_error(path, "cannot give the new file its name");
    unlink(draft.c_str());
    if (lost_race) return std::optional<shm::Region>{};
    return failed;
}

struct Existing {
    std::optional<shm::Region> region{};
    std::optional<shm::Region> own{};
    std::string damage{};  // empty: none
};

// What the file holds, or what is wrong with it.
Status read(Existing& existing, const Glance& seen, const TablesInUse& in_use) {
    auto memory = own_memory(existing.region->reserved());
    if (!memory) return memory.error();
    auto& header = existing.region->at<shm::TablesHeader>(0);
    auto own = shm::TablesCopy::in_memory(std::move(*memory), header);
    existing.damage = take_all(*existing.region, seen.bytes, in_use, own).value_or("");
    if (!existing.damage.empty()) return Done{};
    existing.own = std::move(own).release();
    auto& known = existing.own->at<shm::TablesHeader>(0);
    known.reserved_bytes = header.reserved_bytes;
    known.file_bytes.store(header.file_bytes.load(std::memory_order_relaxed), std::memory_order_relaxed);
    known.next_serial.store(header.next_serial.load(std::memory_order_relaxed), std::memory_order_relaxed);
    known.requested.store(header.requested.load(std::memory_order_relaxed), std::memory_order_relaxed);
    // What a predecessor left unfinished goes, and what is there is of our layout.
    std::memcpy(static_cast<void*>(&header), &known, shm::written_by_publisher);
    return Done{};
}

// The file with its lock.
Result<Existing> open_existing(const std::string& path, const Glance& seen, const TablesInUse& in_use) {
    if (seen.ours && seen.version > shm::layout_version) {
        return Error{.message = "the tables have layout " + std::to_string(seen.version) +
                                ", newer than the one this program knows (" + std::to_string(shm::layout_version) + ")",
                     .remedy = "start the newer release, or stop its data plane and remove the file",
                     .file = path};
    }
    if (seen.bytes == 0) return Existing{.damage = "it is empty"};
    const bool plausible = seen.reserved >= seen.bytes && seen.reserved <= max_reserved_bytes;
    auto region =
        shm::Region::open(path, shm::Region::Access::read_write, seen.ours && plausible ? seen.reserved : seen.bytes);
    if (!region) return region.error();
    if (!region->try_lock()) return locked(path);
    Existing existing{.region = *std::move(region)};
    existing.region->survive_truncation();
    if (!seen.ours) {
        existing.damage = "it is not a file of tables";
    } else if (!shm::reads_layout(seen.version)) {
        existing.damage = "it was never completed, or has an older layout";
    } else if (!plausible) {
        existing.damage = "its header is damaged";
    } else if (const Status done = read(existing, seen, in_use); !done) {
        return done.error();
    }
    return existing;
}

// What a new file is to hold: what the data plane kept, else no generation.
Result<TablesFile> begin(const std::string& path, const NewTables& options, const TablesInUse& in_use) {
    auto memory = own_memory(options.reserve_bytes);
    if (!memory) return memory.error();
    format_tables(*memory, options.random_seed);
    memory->at<shm::TablesHeader>(0).file_bytes.store(shm::first_block_offset, std::memory_order_relaxed);
    auto kept = from_copy(shm::TablesCopy::path_of(path), in_use, options.reserve_bytes);
    TablesFile file{.restored = kept.has_value()};
    file.own = kept ? *std::move(kept) : std::move(*memory);
    file.own.at<shm::TablesHeader>(0).requested.store(in_use.answered, std::memory_order_relaxed);
    return file;
}

}  // namespace

void format_tables(shm::Region& region, const HashSeed& random_seed) {
    auto& header = region.at<shm::TablesHeader>(0);
    header.magic = shm::tables_magic;
    header.reserved_bytes = region.reserved();
    header.random_seed = random_seed;
    header.file_bytes.store(region.allocated(), std::memory_order_relaxed);
    header.next_serial.store(1, std::memory_order_relaxed);
    header.version.store(shm::layout_version, std::memory_order_release);
}

Result<TablesFile> open_tables(const std::string& path, const NewTables& options, TablesInUse in_use) {
    if (const auto kept = glance(shm::TablesCopy::path_of(path))) in_use.kept = kept->identity;
    for (int attempt = 0; attempt < 3; ++attempt) {
        const auto seen = glance(path);
        if (!seen) return seen.error();
        Existing existing{.damage = "it was gone"};  // holds the lock of a file that is about to be replaced
        if (seen->exists) {
            auto opened = open_existing(path, *seen, in_use);
            if (!opened) return opened.error();
            existing = *std::move(opened);
            if (existing.own) return TablesFile{*std::move(existing.own), *std::move(existing.region)};
        }
        auto fresh = begin(path, options, in_use);
        if (!fresh) return fresh.error();
        auto made = make(path, options, fresh->own, seen->exists);
        if (!made) return made.error();
        if (!*made) continue;
        fresh->file = **std::move(made);
        const bool missed = seen->exists || fresh->restored || in_use.identity != 0;
        if (missed) fresh->replaced = existing.damage;
        return fresh;
    }
    return Error{.message = "the file is made and removed again by somebody else", .file = path};
}

Result<shm::Region> make_again(const std::string& path, const NewTables& options, shm::Region& own) {
    auto made = make(path, options, own, true);
    if (!made) return made.error();
    return **std::move(made);
}

}  // namespace shunt::controlplane
