#include "controlplane/publish/block_writer.h"

#include <algorithm>

#include "controlplane/publish/reachable.h"
#include "src/shm/validate.h"

namespace shunt::controlplane {

shm::BlockOffset BlockWriter::put(shm::BlockKind kind, const void* payload, std::uint64_t bytes) {
    const auto offset = place(block_bytes(bytes));
    if (!offset) return 0;
    written_.push_back({*offset, block_bytes(bytes)});
    // Counted before it is used: a successor must not use the number again.
    const std::uint64_t serial = tables_.header().next_serial.load(std::memory_order_relaxed);
    tables_.change_header([&](auto& header) { header.next_serial.store(serial + 1, std::memory_order_relaxed); });
    stored();
    tables_.write(*offset + sizeof(shm::BlockHeader), payload, bytes);
    stored();
    shm::BlockHeader block{};
    block.magic = shm::block_magic;
    block.kind = kind;
    block.size = bytes;
    block.serial = serial;
    block.checksum = shm::block_checksum(block, payload);
    tables_.write(*offset, &block, sizeof block);
    stored();
    return *offset;
}

void BlockWriter::give_up() {
    for (const Extent& extent : written_) free_.add(extent);
    written_.clear();
}

std::optional<std::uint64_t> BlockWriter::place(std::uint64_t bytes) {
    if (failure_) return std::nullopt;
    if (const auto offset = free_.take(bytes)) return offset;
    if (const Status grown = grow(bytes); !grown) {
        failure_ = grown.error();
        return std::nullopt;
    }
    return free_.take(bytes);
}

// By a good piece, or if that is not to be had by what is needed.
Status BlockWriter::grow(std::uint64_t bytes) {
    constexpr std::uint64_t step = 2 << 20;
    const std::uint64_t present = tables_.header().file_bytes.load(std::memory_order_relaxed);
    const std::uint64_t wanted = present + std::max({bytes, step, present / 8});
    Status grown = tables_.grow(std::min(wanted, tables_.reserved()));
    if (!grown || tables_.allocated() < present + bytes) grown = tables_.grow(present + bytes);
    if (!grown) return grown;
    const std::uint64_t now = tables_.allocated();
    tables_.change_header([&](auto& header) { header.file_bytes.store(now, std::memory_order_release); });
    stored();
    free_.add({present, now - present});
    return Done{};
}

}  // namespace shunt::controlplane
