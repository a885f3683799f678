// What a root names: every block of its generation.
#pragma once

#include <cstddef>
#include <vector>

#include "controlplane/publish/free_space.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

// The bytes a block with this much payload takes.
constexpr std::uint64_t block_bytes(std::uint64_t payload) noexcept {
    return (sizeof(shm::BlockHeader) + payload + shm::cache_line_bytes - 1) / shm::cache_line_bytes *
           shm::cache_line_bytes;
}

// In order of offset, each once; the root's own block included. The generation was validated.
std::vector<Extent> reachable(const std::byte* region, shm::BlockOffset root);

}  // namespace shunt::controlplane
