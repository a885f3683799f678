#include "controlplane/publish/generation_writer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "src/shm/tables.h"

namespace shunt::controlplane {
namespace {

using shm::BlockKind;
using shm::BlockOffset;

std::size_t pages_for(std::size_t records) { return (records + shm::records_per_page - 1) / shm::records_per_page; }

bool is_zero(const std::byte* bytes, std::size_t count) {
    return std::all_of(bytes, bytes + count, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

BlockOffset GenerationWriter::share(BlockOffset before, BlockKind kind, const void* payload, std::uint64_t bytes) {
    if (before != 0) {
        const auto& header = *reinterpret_cast<const shm::BlockHeader*>(region_ + before);
        if (header.size == bytes && std::memcmp(region_ + before + sizeof header, payload, bytes) == 0) return before;
    }
    return blocks_.put(kind, payload, bytes);
}

template <class PageAt>
BlockOffset GenerationWriter::page_table(BlockOffset before, std::size_t before_pages, std::size_t pages,
                                         std::uint64_t page_bytes, PageAt&& page_at) {
    const auto* old = reinterpret_cast<const BlockOffset*>(region_ + before + sizeof(shm::BlockHeader));
    std::vector<BlockOffset> offsets(pages);
    for (std::size_t p = 0; p < pages; ++p) {
        const std::byte* page = page_at(p);
        const BlockOffset same_place = before != 0 && p < before_pages ? old[p] : 0;
        if (same_place == 0 && is_zero(page, page_bytes)) continue;
        offsets[p] = share(same_place, BlockKind::page, page, page_bytes);
    }
    return share(before, BlockKind::page_table, offsets.data(), offsets.size() * sizeof(BlockOffset));
}

template <class Record, class PageAt>
shm::PagedArrayRef GenerationWriter::array(const shm::PagedArrayRef& before, std::size_t count, PageAt&& page_at) {
    if (count == 0) return {};
    return {page_table(before.page_table, pages_for(before.count), pages_for(count),
                       shm::records_per_page * sizeof(Record), page_at),
            static_cast<std::uint32_t>(count), 0};
}

template <class Record>
shm::PagedArrayRef GenerationWriter::array(const shm::PagedArrayRef& before, const std::vector<Record>& records) {
    std::array<Record, shm::records_per_page> last{};  // the last page may be partly filled
    return array<Record>(before, records.size(), [&](std::size_t p) {
        const std::size_t first = p * shm::records_per_page;
        if (first + shm::records_per_page <= records.size()) return reinterpret_cast<Page>(&records[first]);
        std::copy(records.begin() + static_cast<std::ptrdiff_t>(first), records.end(), last.begin());
        return reinterpret_cast<Page>(last.data());
    });
}

const shm::ListenerRecord& GenerationWriter::listener_before(std::uint32_t index) const {
    return shm::PagedArray<shm::ListenerRecord>(region_, before_.listeners)[index];
}

void GenerationWriter::place_listener(std::uint32_t index, const ListenerImage& listener, shm::ListenerRecord& record) {
    record = listener.record;
    if (!listener.slots) return;
    const shm::ListenerRecord& old = listener_before(index);
    const auto place = [&](BlockOffset before, BlockKind kind, const auto& content, const auto& origins) {
        if (before != 0 && index < origins.size() && origins[index] == content) return before;
        BlockOffset& offset = fresh_[content.get()];  // listeners of one service have the same slots
        if (offset == 0) offset = share(before, kind, content->data(), content->size() * sizeof(content->front()));
        return offset;
    };
    record.slots = place(old.slots, BlockKind::slots, listener.slots, origins_.slots);
    record.handles = place(old.handles, BlockKind::handles, listener.handles, origins_.handles);
    if (listener.numbers) record.numbers = place(old.numbers, BlockKind::numbers, listener.numbers, origins_.numbers);
}

shm::PagedArrayRef GenerationWriter::listeners(const Image& image) {
    std::array<shm::ListenerRecord, shm::records_per_page> page;
    return array<shm::ListenerRecord>(before_.listeners, image.listeners.size(), [&](std::size_t p) {
        page = {};
        const std::size_t first = p * shm::records_per_page;
        const std::size_t end = std::min(first + shm::records_per_page, image.listeners.size());
        for (std::size_t i = first; i < end; ++i) {
            place_listener(static_cast<std::uint32_t>(i), image.listeners[i], page[i - first]);
        }
        return reinterpret_cast<Page>(page.data());
    });
}

shm::EndpointMapRef GenerationWriter::map(const shm::EndpointMapRef& before, const EndpointTable& table) {
    if (table.entries() == 0) return {};
    const bool same_size = before.page_table != 0 && before.bits == table.bits();
    const auto& pages = table.pages();
    return {page_table(same_size ? before.page_table : 0, pages.size(), pages.size(), sizeof(EndpointTable::Page),
                       [&](std::size_t p) { return reinterpret_cast<Page>(pages[p].data()); }),
            table.bits(), table.entries()};
}

shm::TrieRef GenerationWriter::trie(const shm::TrieRef& before, const SharedVector<shm::TrieNode>& origin,
                                    const SharedVector<shm::TrieNode>& nodes) {
    if (!nodes) return {};
    if (before.nodes != 0 && origin == nodes) return before;
    return {share(before.nodes, BlockKind::trie, nodes->data(), nodes->size() * sizeof(shm::TrieNode)),
            static_cast<std::uint32_t>(nodes->size()), 0};
}

shm::Root GenerationWriter::write(const Image& image) {
    shm::Root root{};
    root.site_seed = image.site_seed;
    root.services = array(before_.services, image.services);
    root.listeners = listeners(image);
    root.backends = array(before_.backends, image.backends);
    root.sources = array(before_.sources, image.sources);
    root.listener_map = map(before_.listener_map, image.listener_map);
    root.range_map = map(before_.range_map, image.range_map);
    root.source_map = map(before_.source_map, image.source_map);
    root.local_map = map(before_.local_map, image.local_map);
    root.tunnel_map = map(before_.tunnel_map, image.tunnel_map);
    root.tunnel_source = image.tunnel_source;
    root.routes_v4 = trie(before_.routes_v4, origins_.routes_v4, image.routes_v4);
    root.routes_v6 = trie(before_.routes_v6, origins_.routes_v6, image.routes_v6);
    if (!image.next_hops.empty()) {
        root.next_hops = share(before_.next_hops, BlockKind::next_hops, image.next_hops.data(),
                               image.next_hops.size() * sizeof(shm::NextHopRecord));
        root.next_hop_count = static_cast<std::uint32_t>(image.next_hops.size());
    }
    return root;
}

}  // namespace shunt::controlplane
