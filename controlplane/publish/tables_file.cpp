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

// What is wrong with a generation of the ring; nothing if it is sound or was never completed.
std::optional<std::string> damage_of(const shm::TablesHeader& header, shm::Validator& validator, Generation generation,
                                     bool is_newest) {
    const auto root = shm::find_root(header, generation);
    if (!root && is_newest) return "its newest generation cannot be found";
    if (!root || !validator.check(generation, *root)) return std::nullopt;
    return "generation " + std::to_string(generation.value) + " is damaged";
}

std::optional<std::string> damage_of(const shm::Region& region, std::uint64_t file_bytes, const TablesInUse& in_use) {
    const shm::TablesHeader& header = header_of(region);
    const std::uint64_t bytes = header.file_bytes.load(std::memory_order_relaxed);
    if (bytes < shm::first_block_offset || bytes > file_bytes || bytes > region.reserved()) {
        return "its length is wrong";
    }
    const std::uint64_t newest = header.published.load(std::memory_order_relaxed);
    if (in_use.accepted && in_use.identity == shm::identity_of(header)) {
        if (in_use.accepted.value > newest) return "it does not know the generation that the data plane had accepted";
        const bool found = shm::find_root(header, in_use.accepted).has_value();
        if (in_use.alive && !found) return "it has lost the generation that the data plane uses";
    }
    shm::Validator validator(region.data(), bytes);
    const std::uint64_t oldest = newest >= shm::root_ring ? newest - shm::root_ring + 1 : 1;
    for (std::uint64_t g = oldest; newest != 0 && g <= newest; ++g) {
        if (auto damage = damage_of(header, validator, Generation(g), g == newest)) return damage;
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

// What a new file begins with.
struct Beginning {
    HashSeed random_seed{};
    std::uint64_t requested{};
    std::optional<shm::Region> copy{};  // whose newest generation is sound; nothing: without a generation
};

void stored(const NewTables& options) {
    if (options.after_store) options.after_store();
}

// The data plane's copy, if it is sound and goes with its flows. An older generation is of no use: it does not know
// all ids that flows may have.
std::optional<shm::Region> sound_copy(const std::string& path, const TablesInUse& in_use) {
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
    if (shm::Validator(region->data(), bytes).check(newest, *root)) return std::nullopt;
    return *std::move(region);
}

Status copy_newest(const shm::Region& from, shm::Region& to, const NewTables& options) {
    const Generation newest(header_of(from).published.load(std::memory_order_relaxed));
    const shm::BlockOffset root = *shm::find_root(header_of(from), newest);
    const std::vector<Extent> blocks = reachable(from.data(), root);
    if (auto grown = to.grow(blocks.back().offset + blocks.back().bytes); !grown) return grown.error();
    for (const Extent& block : blocks) {
        std::memcpy(to.data() + block.offset, from.data() + block.offset, block.bytes);
        stored(options);
    }
    auto& header = to.at<shm::TablesHeader>(0);
    header.file_bytes.store(to.allocated(), std::memory_order_relaxed);
    shm::RootRef& ref = header.roots[newest.value % shm::root_ring];
    ref.offset.store(root, std::memory_order_relaxed);
    ref.checksum.store(to.at<shm::BlockHeader>(root).checksum, std::memory_order_relaxed);
    ref.generation.store(newest.value, std::memory_order_relaxed);
    header.published.store(newest.value, std::memory_order_release);
    stored(options);
    return Done{};
}

// Nothing: somebody else made the file meanwhile.
Result<std::optional<shm::Region>> make(const std::string& path, const NewTables& options, const Beginning& beginning,
                                        bool replace) {
    const std::string draft = path + ".new." + std::to_string(getpid());
    unlink(draft.c_str());  // left by a process that had this number and died here
    auto region = shm::Region::create(draft, first_bytes, options.reserve_bytes);
    if (!region) return region.error();
    format_tables(*region, beginning.random_seed);
    region->at<shm::TablesHeader>(0).requested.store(beginning.requested, std::memory_order_relaxed);
    const Status filled = beginning.copy ? copy_newest(*beginning.copy, *region, options) : Status(Done{});
    if (!filled) {
        unlink(draft.c_str());
        return filled.error();
    }
    const bool locked = region->try_lock();
    const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    stored(options);
    if (locked && renameat2(AT_FDCWD, draft.c_str(), AT_FDCWD, path.c_str(), flags) == 0) {
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
    std::string damage{};  // empty: none
};

// The file with its lock, and what is wrong with it.
Result<Existing> open_existing(const std::string& path, const Glance& seen, const TablesInUse& in_use) {
    if (seen.ours && seen.version > shm::layout_version) {
        return Error{.message = "the tables have layout " + std::to_string(seen.version) +
                                ", newer than the one this program knows (" + std::to_string(shm::layout_version) + ")",
                     .remedy = "start the newer release, or stop its data plane and remove the file",
                     .file = path};
    }
    if (seen.bytes == 0) return Existing{{}, "it is empty"};
    const bool plausible = seen.reserved >= seen.bytes && seen.reserved <= max_reserved_bytes;
    auto region =
        shm::Region::open(path, shm::Region::Access::read_write, seen.ours && plausible ? seen.reserved : seen.bytes);
    if (!region) return region.error();
    if (!region->try_lock()) return locked(path);
    Existing existing{*std::move(region), {}};
    if (!seen.ours) {
        existing.damage = "it is not a file of tables";
    } else if (!shm::reads_layout(seen.version)) {
        existing.damage = "it was never completed, or has an older layout";
    } else if (!plausible) {
        existing.damage = "its header is damaged";
    } else {
        existing.damage = damage_of(*existing.region, seen.bytes, in_use).value_or("");
        if (existing.damage.empty()) {
            existing.region->at<shm::TablesHeader>(0).version.store(shm::layout_version, std::memory_order_release);
        }
    }
    return existing;
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

Result<TablesFile> open_tables(const std::string& path, const NewTables& options, const TablesInUse& in_use) {
    for (int attempt = 0; attempt < 3; ++attempt) {
        const auto seen = glance(path);
        if (!seen) return seen.error();
        Existing existing{.damage = "it was gone"};  // holds the lock of a file that is about to be replaced
        if (seen->exists) {
            auto opened = open_existing(path, *seen, in_use);
            if (!opened) return opened.error();
            existing = *std::move(opened);
            if (existing.damage.empty()) return TablesFile{*std::move(existing.region), {}};
        }
        Beginning beginning{.random_seed = options.random_seed, .requested = in_use.answered};
        beginning.copy = sound_copy(shm::TablesCopy::path_of(path), in_use);
        if (beginning.copy) beginning.random_seed = header_of(*beginning.copy).random_seed;
        auto made = make(path, options, beginning, seen->exists);
        if (!made) return made.error();
        const bool restored = beginning.copy.has_value();
        if (!*made) continue;
        const bool missed = seen->exists || restored || in_use.identity != 0;
        return TablesFile{**std::move(made), missed ? existing.damage : "", restored};
    }
    return Error{.message = "the file is made and removed again by somebody else", .file = path};
}

}  // namespace shunt::controlplane
