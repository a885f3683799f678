#include "src/shm/generation.h"

#include "src/base/assert.h"

namespace shunt::shm {

std::optional<BlockOffset> find_root(const TablesHeader& header, Generation generation) noexcept {
    const RootRef& ref = header.roots[generation.value % root_ring];
    if (generation.value == 0 || ref.generation.load(std::memory_order_acquire) != generation.value) return {};
    const BlockOffset offset = ref.offset.load(std::memory_order_acquire);
    // The ring may have come round while we read.
    if (ref.generation.load(std::memory_order_acquire) != generation.value) return {};
    return offset;
}

Acceptor::Acceptor(const std::byte* tables, std::uint64_t readable, StateHeader& state, TablesCopy* copy) noexcept
    : region_(tables), state_(state), copy_(copy), validator_(tables, readable, copy) {}

void Acceptor::refuse(Generation generation, RefusalReason reason) noexcept {
    if (state_.refused_generation.exchange(generation.value, std::memory_order_relaxed) == generation.value) return;
    state_.refusals[static_cast<std::size_t>(reason)].add(1);
}

std::optional<Tables> Acceptor::validate_newest() {
    const Generation accepted(state_.accepted.load(std::memory_order_relaxed));
    // A generation in force keeps the ring from coming round meanwhile; where there is none the announcement does.
    if (!accepted) announce();
    const auto tables = validate_newer_than(accepted);
    if (!tables) state_.attaching.store(0, std::memory_order_release);
    return tables;
}

std::optional<Tables> Acceptor::validate_newer_than(Generation accepted) {
    const Generation published(header().published.load(std::memory_order_seq_cst));
    if (published == accepted) return std::nullopt;
    if (published < accepted) {
        refuse(published, RefusalReason::generation);
        return std::nullopt;
    }
    const auto offset = find_root(header(), published);
    if (!offset) return std::nullopt;  // a newer one is being written: look again
    if (const auto reason = validator_.check(published, *offset)) {
        refuse(published, *reason);
        return std::nullopt;
    }
    root_ = *offset;
    const std::byte* checked = validator_.checked();
    return Tables(checked, *reinterpret_cast<const Root*>(checked + root_ + sizeof(BlockHeader)));
}

void Acceptor::accept(const Tables& tables) noexcept {
    if (copy_ != nullptr) copy_->enter(tables.generation(), root_);
    state_.accepted.store(tables.generation().value, std::memory_order_seq_cst);
    state_.attaching.store(0, std::memory_order_release);
    state_.generations_accepted.add(1);
}

void GenerationReader::switch_to(Generation generation) noexcept {
    const auto& header = *reinterpret_cast<const TablesHeader*>(region_);
    const auto offset = find_root(header, generation);
    // The writer keeps what `accepted` names; anything else is a broken treaty, and a successor must start over.
    SHUNT_ASSERT(offset.has_value());
    tables_ = Tables(region_, *reinterpret_cast<const Root*>(region_ + *offset + sizeof(BlockHeader)));
}

}  // namespace shunt::shm
