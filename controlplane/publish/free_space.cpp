#include "controlplane/publish/free_space.h"

#include <algorithm>
#include <iterator>

#include "src/base/assert.h"

namespace shunt::controlplane {

void FreeSpace::add(Extent extent) {
    if (extent.bytes == 0) return;
    bytes_ += extent.bytes;
    auto next = by_offset_.lower_bound(extent.offset);
    SHUNT_ASSERT(next == by_offset_.end() || extent.offset + extent.bytes <= next->first);
    if (next != by_offset_.begin()) {
        const auto before = std::prev(next);
        SHUNT_ASSERT(before->first + before->second <= extent.offset);
        if (before->first + before->second == extent.offset) {
            extent = {before->first, before->second + extent.bytes};
            by_offset_.erase(before);
        }
    }
    if (next != by_offset_.end() && extent.offset + extent.bytes == next->first) {
        extent.bytes += next->second;
        by_offset_.erase(next);
    }
    by_offset_.emplace(extent.offset, extent.bytes);
}

std::optional<std::uint64_t> FreeSpace::take(std::uint64_t bytes) {
    const auto found =
        std::find_if(by_offset_.begin(), by_offset_.end(), [&](const auto& free) { return free.second >= bytes; });
    if (found == by_offset_.end()) return std::nullopt;
    const Extent extent{found->first, found->second};
    by_offset_.erase(found);
    if (extent.bytes > bytes) by_offset_.emplace(extent.offset + bytes, extent.bytes - bytes);
    bytes_ -= bytes;
    return extent.offset;
}

}  // namespace shunt::controlplane
