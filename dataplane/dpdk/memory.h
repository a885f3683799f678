// How much memory DPDK needs here, and what the machine has: decided before EAL starts, so that too little is a
// sentence and not a half-started process.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/xdp/frames.h"
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

// The packet buffers of one worker: a frame for the bytes of each, and what DPDK has to know of it.
struct PoolSize {
    std::uint32_t buffers{};
    std::uint32_t data_room{};  // bytes of a frame, headroom included; a power of two

    xdp::FrameShape frames() const noexcept { return {buffers, data_room}; }
    std::uint64_t frame_bytes() const noexcept { return std::uint64_t{buffers} * data_room; }
    std::uint64_t dpdk_bytes() const noexcept;
};
// `queues` receive and as many transmit queues of `descriptors` each may hold buffers at the same time, and besides
// them `kept_elsewhere` packets are not done with.
PoolSize pool_size(std::uint32_t queues, std::uint32_t descriptors, std::uint32_t mtu,
                   std::uint32_t kept_elsewhere) noexcept;

struct MemoryPlan {
    bool huge_pages{};      // for frames as for DPDK
    std::uint64_t bytes{};  // that DPDK needs
    std::string warning{};  // the price of ordinary memory, and the command that avoids it
};

// Huge pages if enough are there, else ordinary memory if enough of that is there: for `pools` pools of this size.
Result<MemoryPlan> plan_memory(const PoolSize& size, std::uint32_t pools, const SystemMemory& memory);

}  // namespace shunt::dataplane::dpdk
