#include "dataplane/main/tables_region.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "src/shm/generation.h"
#include "src/shm/validate.h"

namespace shunt::dataplane {
namespace {

std::uint64_t inode_of(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

}  // namespace

Result<bool> TablesRegion::map_file(const std::string& path) {
    const std::uint64_t inode = inode_of(path);
    if (inode == 0) return false;
    auto peek = shm::Region::open(path, shm::Region::Access::read_only);
    if (!peek) return peek.error();
    if (peek->file_bytes() < shm::first_block_offset) return false;
    const auto& header = peek->at<shm::TablesHeader>(0);
    const std::uint32_t version = header.version.load(std::memory_order_acquire);
    if (version == 0) return false;
    if (header.magic != shm::tables_magic) {
        return Error{.message = "this is no tables region", .remedy = "remove the file", .file = path};
    }
    newer_ = version > shm::layout_version;
    if (!shm::reads_layout(version)) {
        return Error{.message = "the tables region has layout version " + std::to_string(version) +
                                ", this program understands " + std::to_string(shm::oldest_layout_read) + " to " +
                                std::to_string(shm::layout_version),
                     .remedy = "upgrade shunt-dataplane first, then shunt-controlplane",
                     .file = path};
    }
    auto region = shm::Region::open(path, shm::Region::Access::read_only, header.reserved_bytes);
    if (!region) return region.error();
    // Replaced between the two looks: look again later.
    if (inode_of(path) != inode || region->at<shm::TablesHeader>(0).version.load() != version) return false;
    region->survive_truncation();
    region_ = *std::move(region);
    inode_ = inode;
    return true;
}

bool TablesRegion::is_sound() const {
    const Generation newest(header().published.load(std::memory_order_acquire));
    const auto root = shm::find_root(header(), newest);
    return root && !shm::Validator(data(), readable()).check(newest, *root);
}

std::uint64_t TablesRegion::readable() const noexcept {
    return std::min({region_.file_bytes(), header().file_bytes.load(std::memory_order_acquire), region_.reserved()});
}

bool TablesRegion::replaced() const {
    const std::uint64_t inode = inode_of(path_);
    return inode != 0 && inode != inode_;
}

}  // namespace shunt::dataplane
