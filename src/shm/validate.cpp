#include "src/shm/validate.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <span>

namespace shunt::shm {

std::uint64_t block_checksum(const BlockHeader& header, const void* payload) noexcept {
    return XXH64(payload, header.size, header.serial + static_cast<std::uint64_t>(header.kind));
}

const std::byte* Validator::block(BlockOffset offset, BlockKind kind, std::uint64_t size) {
    was_fresh_ = false;
    if (refusal_) return nullptr;
    const bool inside = offset % cache_line_bytes == 0 && offset >= first_block_offset && offset < readable_ &&
                        size <= readable_ && offset + sizeof(BlockHeader) + size <= readable_;
    if (!inside) {
        refuse(RefusalReason::size);
        return nullptr;
    }
    const BlockHeader header = *reinterpret_cast<const BlockHeader*>(region_ + offset);
    if (header.magic != block_magic || header.kind != kind) refuse(RefusalReason::magic);
    if (header.size != size) refuse(RefusalReason::size);
    if (refusal_) return nullptr;
    const std::byte* payload = checked() + offset + sizeof(BlockHeader);
    Known& known = known_[offset];
    if (known.seen != 0 && known.serial == header.serial && known.checksum == header.checksum) {
        known.seen = now_;
        return payload;
    }
    if (const auto reason = look_at(offset, header)) {
        known_.erase(offset);
        refuse(*reason);
        return nullptr;
    }
    known = {header.serial, header.checksum, now_, 0};
    was_fresh_ = true;
    return payload;
}

// The copy is looked at again: the region may change under our hands.
std::optional<RefusalReason> Validator::look_at(BlockOffset offset, const BlockHeader& header) {
    const std::byte* payload = region_ + offset + sizeof header;
    const auto sound = [&](const std::byte* bytes) { return block_checksum(header, bytes) == header.checksum; };
    if (copy_ != nullptr && copy_->has(offset, header)) return std::nullopt;
    if (!sound(payload)) return RefusalReason::checksum;
    if (copy_ == nullptr) return std::nullopt;
    if (!copy_->put(offset, header, payload)) return RefusalReason::size;
    return copy_->has(offset, header) ? std::nullopt : std::optional(RefusalReason::checksum);
}

template <class Record, class Check>
void Validator::check_array(const PagedArrayRef& ref, std::uint32_t limit, Check&& check) {
    if (ref.count > limit || (ref.count != 0 && ref.page_table == 0)) return refuse(RefusalReason::index);
    if (ref.count == 0) return;
    const std::uint32_t pages = (ref.count + records_per_page - 1) / records_per_page;
    const std::byte* table = block(ref.page_table, BlockKind::page_table, std::uint64_t{pages} * sizeof(BlockOffset));
    for (std::uint32_t p = 0; p < pages && table != nullptr; ++p) {
        const BlockOffset offset = reinterpret_cast<const BlockOffset*>(table)[p];
        if (offset == 0) continue;
        const std::byte* page = block(offset, BlockKind::page, records_per_page * sizeof(Record));
        if (page == nullptr) return;
        if (!was_fresh_) continue;
        for (std::uint32_t i = 0; i < records_per_page; ++i) check(reinterpret_cast<const Record*>(page)[i]);
    }
}

void Validator::check_map(const EndpointMapRef& ref) {
    if (ref.page_table == 0) return;
    if (ref.bits > 20) return refuse(RefusalReason::index);
    const std::uint64_t pages = std::uint64_t{1} << ref.bits;
    const std::byte* table = block(ref.page_table, BlockKind::page_table, pages * sizeof(BlockOffset));
    for (std::uint64_t p = 0; p < pages && table != nullptr; ++p) {
        const BlockOffset offset = reinterpret_cast<const BlockOffset*>(table)[p];
        if (offset == 0) continue;
        const std::byte* page = block(offset, BlockKind::page, slots_per_page * sizeof(EndpointSlot));
        if (page == nullptr) return;
        const auto* slots = reinterpret_cast<const EndpointSlot*>(page);
        const auto used = std::count_if(slots, slots + slots_per_page, [](const auto& s) { return s.used != 0; });
        if (used > max_used_slots_per_page) return refuse(RefusalReason::index);
    }
}

void Validator::check_slots(const ListenerRecord& listener) {
    const std::byte* slots =
        block(listener.slots, BlockKind::slots, std::uint64_t{listener.table_size} * sizeof(std::uint16_t));
    if (slots == nullptr) return;
    Known& known = known_[listener.slots];
    if (was_fresh_) {
        const auto* first = reinterpret_cast<const std::uint16_t*>(slots);
        known.greatest = *std::max_element(first, first + listener.table_size);
    }
    if (known.greatest >= listener.backends) refuse(RefusalReason::index);
}

void Validator::check_numbers(const ListenerRecord& listener) {
    const bool turns = listener.choice == Choice::in_turn;
    const bool weights = counts_flows(listener.choice);
    if (!turns && !weights) return;
    if (listener.number_count == 0 || (weights && listener.number_count != listener.backends)) {
        return refuse(RefusalReason::index);
    }
    const std::byte* payload =
        block(listener.numbers, BlockKind::numbers, std::uint64_t{listener.number_count} * sizeof(std::uint16_t));
    if (payload == nullptr || weights) return;
    const auto* first = reinterpret_cast<const std::uint16_t*>(payload);
    if (was_fresh_) known_[listener.numbers].greatest = *std::max_element(first, first + listener.number_count);
    if (known_[listener.numbers].greatest >= listener.backends) refuse(RefusalReason::index);
}

void Validator::check_listener(const ListenerRecord& listener) {
    if (!listener.in_use) return;
    const bool sane = listener.service.value < max_services && listener.table_size <= max_slots &&
                      (listener.slots == 0) == (listener.handles == 0) &&
                      (listener.slots == 0 || listener.table_size > 0) && listener.choice < Choice::count &&
                      listener.affinity < Affinity::count && listener.port <= listener.last_port &&
                      (listener.port != listener.last_port || !listener.has_many_ports());
    if (!sane) return refuse(RefusalReason::index);
    if (listener.slots == 0) return;
    check_slots(listener);
    check_numbers(listener);
    const std::byte* handles =
        block(listener.handles, BlockKind::handles, std::uint64_t{listener.backends} * sizeof(Handle));
    if (handles == nullptr || !was_fresh_) return;
    for (const Handle handle : std::span(reinterpret_cast<const Handle*>(handles), listener.backends)) {
        if (handle.index() == 0 || handle.index() >= max_handles) refuse(RefusalReason::index);
    }
}

void Validator::check_trie(const TrieRef& ref, std::uint32_t next_hops) {
    if (ref.nodes == 0) return;
    if (ref.count == 0 || ref.count > max_trie_nodes) return refuse(RefusalReason::index);
    const std::byte* nodes = block(ref.nodes, BlockKind::trie, std::uint64_t{ref.count} * sizeof(TrieNode));
    if (nodes == nullptr || !was_fresh_) return;
    for (const TrieNode& node : std::span(reinterpret_cast<const TrieNode*>(nodes), ref.count)) {
        for (const std::uint32_t entry : node.entries) {
            const bool child = entry & TrieNode::child;
            if (child ? (entry & ~TrieNode::child) >= ref.count : entry >= next_hops) refuse(RefusalReason::index);
        }
    }
}

const Root* Validator::check_root(Generation generation, BlockOffset offset) {
    const std::byte* payload = block(offset, BlockKind::root, sizeof(Root));
    if (payload == nullptr) return nullptr;
    const auto* root = reinterpret_cast<const Root*>(payload);
    if (root->generation != generation) refuse(RefusalReason::generation);
    if (root->next_hop_count > max_next_hops) refuse(RefusalReason::index);
    return refusal_ ? nullptr : root;
}

std::optional<RefusalReason> Validator::check(Generation generation, BlockOffset offset) {
    refusal_.reset();
    now_ = generation.value;
    if (const Root* root = check_root(generation, offset)) check_parts(*root);
    // What a refused generation was made of is looked at again when it comes in another one.
    if (refusal_) known_.clear();
    forget_unused(generation);
    return refusal_;
}

void Validator::check_parts(const Root& parts) {
    const Root* root = &parts;
    check_array<ServiceRecord>(root->services, max_services, [](const ServiceRecord&) {});
    check_array<ListenerRecord>(root->listeners, max_listeners, [this](const ListenerRecord& l) { check_listener(l); });
    check_array<BackendRecord>(root->backends, max_handles, [this, root](const BackendRecord& b) {
        const bool sane = b.status <= BackendStatus::maint && b.service.value < max_services &&
                          b.source.value < max_sources && b.incarnation <= Handle::incarnation_mask &&
                          (b.next_hop.value == 0 || b.next_hop.value < root->next_hop_count);
        if (!sane) refuse(RefusalReason::index);
    });
    check_array<SourceRecord>(root->sources, max_sources, [this](const SourceRecord& s) {
        if (s.count > listeners_per_source) refuse(RefusalReason::index);
    });
    check_map(root->listener_map);
    check_map(root->range_map);
    check_map(root->source_map);
    check_map(root->local_map);
    check_map(root->tunnel_map);
    check_trie(root->routes_v4, root->next_hop_count);
    check_trie(root->routes_v6, root->next_hop_count);
    if (root->next_hop_count != 0) {
        block(root->next_hops, BlockKind::next_hops, std::uint64_t{root->next_hop_count} * sizeof(NextHopRecord));
    }
}

// A block no generation used for a whole ring of roots may have been freed: its next use is checked again in any case
// (by serial); forgetting only bounds the memory.
void Validator::forget_unused(Generation generation) {
    std::erase_if(known_, [&](const auto& entry) { return entry.second.seen + root_ring < generation.value; });
}

}  // namespace shunt::shm
