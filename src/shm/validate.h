// Is a published generation safe to use? Run by the data plane's main thread on what is new, before workers see it: it
// trusts nothing in the region (magic, sizes, checksums, every index). Blocks are shared between
// generations, so what was validated once is remembered by its serial number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "src/shm/layout.h"
#include "src/shm/tables.h"
#include "src/shm/tables_copy.h"

namespace shunt::shm {

std::uint64_t block_checksum(const BlockHeader& header, const void* payload) noexcept;

class Validator {
  public:
    // `readable` bytes from `region` on may be touched. With a `copy`, every block is looked at once, as it goes there:
    // what was checked is what is used, whatever becomes of the region.
    Validator(const std::byte* region, std::uint64_t readable, TablesCopy* copy = nullptr) noexcept
        : region_(region), readable_(readable), copy_(copy) {}

    // Call again when the file has grown, or another has taken its place.
    void set_source(const std::byte* region, std::uint64_t readable) noexcept {
        region_ = region;
        readable_ = readable;
    }
    // Where what was found sound is to be read.
    const std::byte* checked() const noexcept { return copy_ != nullptr ? copy_->data() : region_; }

    // Checks everything reachable from the root at `offset` that was not checked before.
    std::optional<RefusalReason> check(Generation generation, BlockOffset offset);

  private:
    struct Known {
        std::uint64_t serial;
        std::uint64_t checksum;
        std::uint64_t seen;      // the generation that used it last
        std::uint32_t greatest;  // slots: the largest position in it
    };

    // The payload of a block of this kind and size, its checksum verified; null once anything was refused.
    const std::byte* block(BlockOffset offset, BlockKind kind, std::uint64_t size);
    std::optional<RefusalReason> look_at(BlockOffset offset, const BlockHeader& header);
    const Root* check_root(Generation generation, BlockOffset offset);
    template <class Record, class Check>
    void check_array(const PagedArrayRef& ref, std::uint32_t limit, Check&& check);
    void check_map(const EndpointMapRef& ref);
    void check_listener(const ListenerRecord& listener);
    void check_slots(const ListenerRecord& listener);
    void check_numbers(const ListenerRecord& listener);
    void check_trie(const TrieRef& ref, std::uint32_t next_hops);
    void refuse(RefusalReason reason) noexcept {
        if (!refusal_) refusal_ = reason;
    }
    void check_parts(const Root& parts);
    void forget_unused(Generation generation);

    const std::byte* region_;
    std::uint64_t readable_;
    TablesCopy* copy_;
    std::unordered_map<BlockOffset, Known> known_;
    std::uint64_t now_{};  // the generation being checked
    bool was_fresh_{};     // whether the block last returned by block() was checked for the first time
    std::optional<RefusalReason> refusal_;
};

}  // namespace shunt::shm
