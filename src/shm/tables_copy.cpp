#include "src/shm/tables_copy.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "src/shm/region_files.h"
#include "src/shm/validate.h"

namespace shunt::shm {
namespace {

constexpr std::uint64_t growth = 2 << 20;

bool same(const BlockHeader& a, const BlockHeader& b) noexcept {
    return a.magic == b.magic && a.kind == b.kind && a.size == b.size && a.serial == b.serial &&
           a.checksum == b.checksum;
}

}  // namespace

Result<TablesCopy> TablesCopy::make(const std::string& path, const TablesHeader& original) {
    const std::string own = path + "." + std::to_string(getpid());
    remove_unheld(path + ".", own);  // `path` itself is what the last of them is known by
    auto region = Region::create(own, growth, std::max(original.reserved_bytes, growth));
    if (!region) return region.error();
    region->try_lock();
    region->survive_truncation();
    TablesCopy copy(*std::move(region), path);
    copy.format(original);
    return copy;
}

TablesCopy TablesCopy::in_memory(Region memory, const TablesHeader& original) {
    TablesCopy copy(std::move(memory), "");
    copy.format(original);
    return copy;
}

void TablesCopy::format(const TablesHeader& original) noexcept {
    TablesHeader& header = this->header();
    header.magic = tables_magic;
    header.reserved_bytes = region_.reserved();
    header.random_seed = original.random_seed;
    header.file_bytes.store(region_.allocated(), std::memory_order_relaxed);
    header.version.store(layout_version, std::memory_order_release);
}

bool TablesCopy::has(BlockOffset offset, const BlockHeader& header) const noexcept {
    const std::uint64_t payload = offset + sizeof header;
    return payload + header.size <= bytes() && same(region_.at<BlockHeader>(offset), header) &&
           block_checksum(header, data() + payload) == header.checksum;
}

bool TablesCopy::put(BlockOffset offset, const BlockHeader& header, const std::byte* payload) noexcept {
    const std::uint64_t at = offset + sizeof header;
    if (!reach(at + header.size)) return false;
    std::memcpy(region_.data() + at, payload, header.size);
    region_.at<BlockHeader>(offset) = header;
    return true;
}

bool TablesCopy::reach(std::uint64_t end) noexcept {
    if (end <= bytes()) return true;
    const std::uint64_t ample = std::min((end + growth - 1) / growth * growth, region_.reserved());
    if (!region_.grow(ample) && !region_.grow(end)) return false;
    header().file_bytes.store(bytes(), std::memory_order_release);
    return true;
}

void TablesCopy::enter(Generation generation, BlockOffset root) noexcept {
    RootRef& ref = header().roots[generation.value % root_ring];
    ref.generation.store(0, std::memory_order_release);
    ref.offset.store(root, std::memory_order_relaxed);
    ref.checksum.store(region_.at<BlockHeader>(root).checksum, std::memory_order_relaxed);
    ref.generation.store(generation.value, std::memory_order_release);
    header().published.store(generation.value, std::memory_order_seq_cst);
}

Status TablesCopy::take_name() {
    if (path_.empty() || region_.is_at(path_)) return Done{};
    const std::string draft = region_.path() + ".new";
    unlink(draft.c_str());
    if (link(region_.path().c_str(), draft.c_str()) == 0 && std::rename(draft.c_str(), path_.c_str()) == 0)
        return Done{};
    const int error = errno;
    unlink(path_.c_str());
    return Error{.message = std::string("cannot give the copy of the tables its name: ") + std::strerror(error),
                 .remedy = "look at the directory; until then a damaged tables file costs the flows",
                 .file = path_};
}

}  // namespace shunt::shm
