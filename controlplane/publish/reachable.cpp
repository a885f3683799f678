#include "controlplane/publish/reachable.h"

#include <algorithm>

namespace shunt::controlplane {
namespace {

using shm::BlockOffset;

class Walk {
  public:
    explicit Walk(const std::byte* region) : region_(region) {}

    // Sizes follow from what names the block: its own header need not be touched.
    template <class T>
    const T* block(BlockOffset offset, std::uint64_t count) {
        if (offset == 0) return nullptr;
        extents_.push_back({offset, block_bytes(count * sizeof(T))});
        return reinterpret_cast<const T*>(region_ + offset + sizeof(shm::BlockHeader));
    }
    template <class T, class F>
    void pages(BlockOffset table, std::uint64_t count, F&& each) {
        const auto* offsets = block<BlockOffset>(table, count);
        for (std::uint64_t p = 0; offsets != nullptr && p < count; ++p) {
            if (const T* page = block<T>(offsets[p], shm::records_per_page)) each(page);
        }
    }
    template <class Record, class F>
    void array(const shm::PagedArrayRef& ref, F&& each) {
        pages<Record>(ref.page_table, (ref.count + shm::records_per_page - 1) / shm::records_per_page, each);
    }
    template <class Record>
    void array(const shm::PagedArrayRef& ref) {
        array<Record>(ref, [](const Record*) {});
    }
    void map(const shm::EndpointMapRef& ref) {
        static_assert(shm::slots_per_page == shm::records_per_page);
        pages<shm::EndpointSlot>(ref.page_table, std::uint64_t{1} << ref.bits, [](const shm::EndpointSlot*) {});
    }
    std::vector<Extent> take() {
        std::sort(extents_.begin(), extents_.end());
        extents_.erase(std::unique(extents_.begin(), extents_.end()), extents_.end());
        return std::move(extents_);
    }

  private:
    const std::byte* region_;
    std::vector<Extent> extents_{};
};

}  // namespace

std::vector<Extent> reachable(const std::byte* region, BlockOffset root_offset) {
    Walk walk(region);
    const shm::Root& root = *walk.block<shm::Root>(root_offset, 1);
    walk.array<shm::ServiceRecord>(root.services);
    walk.array<shm::BackendRecord>(root.backends);
    walk.array<shm::SourceRecord>(root.sources);
    walk.array<shm::ListenerRecord>(root.listeners, [&](const shm::ListenerRecord* listeners) {
        for (std::uint32_t i = 0; i < shm::records_per_page; ++i) {
            if (!listeners[i].in_use) continue;
            walk.block<std::uint16_t>(listeners[i].slots, listeners[i].table_size);
            walk.block<shm::Handle>(listeners[i].handles, listeners[i].backends);
            walk.block<std::uint16_t>(listeners[i].numbers, listeners[i].number_count);
        }
    });
    walk.map(root.listener_map);
    walk.map(root.range_map);
    walk.map(root.source_map);
    walk.map(root.local_map);
    walk.map(root.tunnel_map);
    walk.block<shm::TrieNode>(root.routes_v4.nodes, root.routes_v4.count);
    walk.block<shm::TrieNode>(root.routes_v6.nodes, root.routes_v6.count);
    walk.block<shm::NextHopRecord>(root.next_hops, root.next_hop_count);
    return walk.take();
}

}  // namespace shunt::controlplane
