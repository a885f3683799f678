// How much memory DPDK needs here, and what the machine has: decided before EAL starts, so that too little is a
// sentence and not a half-started process.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.h"

namespace shunt::dataplane::dpdk {

struct SystemMemory {
    std::uint64_t huge_pages{};       // of 2 MiB: vm.nr_hugepages
    std::uint64_t huge_pages_free{};  // neither used nor promised to anybody
    std::uint64_t available{};        // bytes of ordinary memory

    std::uint64_t huge_bytes_free() const noexcept { return huge_pages_free << 21; }
};

// What the kernel says now.
SystemMemory system_memory();

// What the packet buffers of one worker are made for.
struct PoolSize {
    std::uint32_t buffers{};
    std::uint32_t data_room{};  // bytes of a buffer, headroom included
    std::uint64_t bytes() const noexcept;
};
// `queues` receive and as many transmit queues of `descriptors` each may hold buffers at the same time, and besides
// them `kept_elsewhere` packets are not done with.
PoolSize pool_size(std::uint32_t queues, std::uint32_t descriptors, std::uint32_t mtu,
                   std::uint32_t kept_elsewhere) noexcept;

struct MemoryPlan {
    bool huge_pages{};
    std::uint64_t bytes{};
    std::string warning{};  // the price of ordinary memory, and the command that avoids it
};

// Huge pages if enough are there, else ordinary memory if enough of that is there.
Result<MemoryPlan> plan_memory(std::uint64_t pool_bytes, const SystemMemory& memory);

}  // namespace shunt::dataplane::dpdk
