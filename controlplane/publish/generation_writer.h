// Writes what an image says and the generation before did not: pages and blocks with the same content are shared.
#pragma once

#include <map>
#include <vector>

#include "controlplane/compile/image.h"
#include "controlplane/publish/block_writer.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

// What blocks of the newest generation were made of, to recognise it without comparing.
struct Origins {
    std::vector<SharedVector<std::uint16_t>> slots{};  // by listener
    std::vector<SharedVector<shm::Handle>> handles{};
    std::vector<SharedVector<std::uint16_t>> numbers{};
    SharedVector<shm::TrieNode> routes_v4{}, routes_v6{};
};

class GenerationWriter {
  public:
    // `before`: the root of the newest generation, null if there is none; `origins` are of that one.
    GenerationWriter(BlockWriter& blocks, const std::byte* region, const shm::Root* before, const Origins& origins)
        : blocks_(blocks), region_(region), before_(before ? *before : shm::Root{}), origins_(origins) {}

    // Everything but the root's own block; its generation is left 0.
    shm::Root write(const Image& image);

  private:
    using Page = const std::byte*;

    template <class Record>
    shm::PagedArrayRef array(const shm::PagedArrayRef& before, const std::vector<Record>& records);
    template <class Record, class PageAt>
    shm::PagedArrayRef array(const shm::PagedArrayRef& before, std::size_t count, PageAt&& page_at);
    shm::EndpointMapRef map(const shm::EndpointMapRef& before, const EndpointTable& table);
    shm::PagedArrayRef listeners(const Image& image);
    void place_listener(std::uint32_t index, const ListenerImage& listener, shm::ListenerRecord& record);
    shm::TrieRef trie(const shm::TrieRef& before, const SharedVector<shm::TrieNode>& origin,
                      const SharedVector<shm::TrieNode>& nodes);
    // The offset of a block with this content: `before` if it has it.
    shm::BlockOffset share(shm::BlockOffset before, shm::BlockKind kind, const void* payload, std::uint64_t bytes);
    template <class PageAt>
    shm::BlockOffset page_table(shm::BlockOffset before, std::size_t before_pages, std::size_t pages,
                                std::uint64_t page_bytes, PageAt&& page_at);

    const shm::ListenerRecord& listener_before(std::uint32_t index) const;

    BlockWriter& blocks_;
    const std::byte* region_;
    shm::Root before_;
    const Origins& origins_;
    std::map<const void*, shm::BlockOffset> fresh_{};  // blocks of this generation by what they were made of
};

}  // namespace shunt::controlplane
