// The bounds of everything two processes share, each with its reason. Relations between them are asserted in layout.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace shunt::shm {

constexpr std::size_t cache_line_bytes = 64;

constexpr std::uint32_t max_workers = 64;        // one per core; look-aside visits every other worker's table
constexpr std::uint32_t max_ports = 16;          // ports of one instance
constexpr std::uint32_t max_services = 16'384;   // 4,096 are normal; index 0 means none
constexpr std::uint32_t max_listeners = 65'536;  // 16 bits in a flow entry; index 0 means none
constexpr std::uint32_t max_handles = 131'072;   // backends of all services, once per port on the wire; index 0: none
constexpr std::uint32_t max_sources = max_handles;
constexpr std::uint32_t max_next_hops = 65'536;    // backends on connected subnets have one each; index 0 means none
constexpr std::uint32_t max_slots = 655'373;       // the largest table size
constexpr std::uint32_t max_drop_reasons = 64;     // one cache line holds eight counters; room to grow in place
constexpr std::uint32_t listeners_per_source = 8;  // of one backend endpoint, tried for a reply without a known flow
constexpr std::uint32_t neighbour_slots = 65'536;  // clients on connected subnets
constexpr std::uint32_t path_mtu_slots = 4'096;    // tunnels whose path takes less than the next hop; forgotten in time

constexpr std::uint32_t root_ring = 8;       // roots outstanding before changes coalesce (DESIGN section 3)
constexpr std::size_t max_predecessors = 4;  // state regions a data plane looks aside into
constexpr std::uint32_t request_ring = 8;    // requests of the control plane that wait for the data plane's answer

}  // namespace shunt::shm
