#include "dataplane/dpdk/memory.h"

#include <algorithm>
#include <bit>
#include <fstream>

namespace shunt::dataplane::dpdk {
namespace {

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
constexpr std::uint64_t huge_page = 2 * mebibyte;
constexpr std::uint64_t own_needs = 32 * mebibyte;  // of EAL, devices and queues, generously

std::uint64_t read_number(const std::string& path) {
    std::ifstream file(path);
    std::uint64_t number = 0;
    file >> number;
    return number;
}

std::uint64_t available_memory() {
    std::ifstream file("/proc/meminfo");
    std::string key;
    std::uint64_t kibibytes = 0;
    while (file >> key >> kibibytes) {
        if (key == "MemAvailable:") return kibibytes << 10;
        std::getline(file, key);
    }
    return 0;
}

std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) { return (n + unit - 1) / unit; }

std::string in_mebibytes(std::uint64_t bytes) { return std::to_string(round_up(bytes, mebibyte)) + " MiB"; }

}  // namespace

SystemMemory system_memory() {
    const std::string directory = "/sys/kernel/mm/hugepages/hugepages-2048kB/";
    const std::uint64_t free = read_number(directory + "free_hugepages");
    const std::uint64_t promised = read_number(directory + "resv_hugepages");
    return {.huge_pages = read_number(directory + "nr_hugepages"),
            .huge_pages_free = free - std::min(free, promised),
            .available = available_memory()};
}

std::uint64_t PoolSize::dpdk_bytes() const noexcept {
    // Object header, mbuf, what stands behind it, padding, its places in the ring.
    constexpr std::uint64_t per_buffer = 64 + 128 + 64 + 64 + 16;
    return buffers * per_buffer + 2 * mebibyte;
}

PoolSize pool_size(std::uint32_t queues, std::uint32_t descriptors, std::uint32_t mtu,
                   std::uint32_t kept_elsewhere) noexcept {
    // Filled for receiving, waiting to be sent, sent but not yet taken back; bursts and the cache of the worker.
    const std::uint32_t buffers = queues * 3 * descriptors + 1024 + kept_elsewhere;
    // Headroom, Ethernet header, VLAN tags; never below the usual size.
    const std::uint32_t data_room = xdp::Frames::headroom + 14 + 8 + mtu;
    return {.buffers = buffers, .data_room = std::bit_ceil(std::max(data_room, 2048U))};
}

Result<MemoryPlan> plan_memory(const PoolSize& size, std::uint32_t pools, const SystemMemory& memory) {
    const std::uint64_t of_dpdk = pools * size.dpdk_bytes() + own_needs;
    const std::uint64_t needed = pools * size.frame_bytes() + of_dpdk;
    const std::uint64_t pages = pools * round_up(size.frame_bytes(), huge_page) + round_up(of_dpdk, huge_page);
    if (memory.huge_pages_free >= pages) return MemoryPlan{.huge_pages = true, .bytes = of_dpdk};
    if (memory.available < needed) {
        return Error{.message = "too little memory for packet buffers: " + in_mebibytes(needed) + " are needed, " +
                                in_mebibytes(memory.available) + " are available, and of the " + std::to_string(pages) +
                                " huge pages that would do " + std::to_string(memory.huge_pages_free) + " are free",
                     .remedy = "free some memory, or use fewer workers or ports"};
    }
    return MemoryPlan{.huge_pages = false,
                      .bytes = of_dpdk,
                      .warning = "ordinary memory is used for packet buffers, which can double the work per packet: " +
                                 std::to_string(pages) + " huge pages of 2 MiB are needed, " +
                                 std::to_string(memory.huge_pages_free) +
                                 " are free; before the next start: sysctl -w vm.nr_hugepages=" +
                                 std::to_string(memory.huge_pages + pages - memory.huge_pages_free)};
}

}  // namespace shunt::dataplane::dpdk
