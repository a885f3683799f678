#include "src/shm/state.h"

#include <bit>
#include <cstddef>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace shunt::shm {
namespace {

// No sum or product of these overflows, and a table of flows is never empty.
bool is_sane(const StateShape& shape, std::uint64_t bytes) noexcept {
    const bool bounded = shape.workers >= 1 && shape.workers <= max_workers && shape.handles <= max_handles &&
                         shape.services >= 1 && shape.services <= max_services && shape.buckets_per_worker >= 1 &&
                         shape.buckets_per_worker <= bytes / sizeof(FlowBucket);
    return bounded && StateLayout::of(shape).total <= bytes;
}

}  // namespace

std::uint64_t seal_of(const StateHeader& header) noexcept {
    constexpr std::size_t fixed_bytes = offsetof(StateHeader, version);
    const std::uint64_t version = header.version.load(std::memory_order_acquire);
    const std::uint64_t fixed = XXH64(&header, fixed_bytes, version);
    const std::uint64_t sum = XXH64(header.predecessors.data(), sizeof header.predecessors, fixed);
    return sum | 1;  // 0 stands for none
}

std::optional<StateFlaw> flaw_of_state(const std::byte* region, std::uint64_t bytes) {
    using Kind = StateFlaw::Kind;
    const auto layout = [](std::uint32_t version) { return "it has layout " + std::to_string(version); };
    if (bytes < first_worker_offset) return StateFlaw{Kind::damaged, "it is too short for a state region"};
    const auto& header = *reinterpret_cast<const StateHeader*>(region);
    const std::uint32_t version = header.version.load(std::memory_order_acquire);
    if (version == 0) return StateFlaw{Kind::unfinished, "it is not complete yet"};
    if (header.magic != state_magic) return StateFlaw{Kind::damaged, "it is not a state region"};
    // A bit that flipped is damage; a number that differs in more was meant, whatever that release seals and how.
    if (version > layout_version && std::popcount(version ^ layout_version) > 1) {
        return StateFlaw{Kind::newer, layout(version)};
    }
    const std::uint64_t seal = header.seal.load(std::memory_order_acquire);
    if (seal != 0 && seal != seal_of(header)) return StateFlaw{Kind::damaged, "its header is damaged"};
    if (version > layout_version) return StateFlaw{Kind::newer, layout(version)};
    if (version < oldest_layout_read) return StateFlaw{Kind::older, layout(version)};
    if (!is_sane(header.shape, bytes)) return StateFlaw{Kind::damaged, "it is shorter than its header says"};
    return std::nullopt;
}

}  // namespace shunt::shm
