// A DPDK port, called device here because a port of ours may be several of them: net_af_xdp wants one per queue.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/dpdk/memory.h"
#include "src/base/index.h"
#include "src/base/result.h"
#include "src/net/address.h"

struct rte_mempool;

namespace shunt::dataplane::dpdk {

// The packet buffers of one worker, for all its queues: a packet received on one device leaves through another without
// being copied. Never freed: the kernel may still write into it.
class PacketPool {
  public:
    static Result<PacketPool> create(WorkerIndex worker, const PoolSize& size);
    rte_mempool* get() const noexcept { return pool_; }
    std::uint32_t in_use() const noexcept;

  private:
    explicit PacketPool(rte_mempool* pool) noexcept : pool_(pool) {}
    rte_mempool* pool_;
};

struct DeviceCounters {
    std::uint64_t received{};
    std::uint64_t missed{};  // the driver had no room
};

class Device {
  public:
    // `name` and `arguments` as EAL takes them in --vdev: "net_af_xdp0", "iface=eth1".
    static Result<Device> add(const std::string& name, const std::string& arguments);

    // One receive and one transmit queue per pool.
    Status start(const std::vector<PacketPool>& pools, std::uint16_t descriptors);
    Status start(const PacketPool& pool, std::uint16_t descriptors);
    // Gives up device and buffers. Never for net_af_xdp: it would detach the steering program.
    void close() noexcept;

    std::uint16_t id() const noexcept { return id_; }
    const MacAddress& mac() const noexcept { return mac_; }
    std::uint16_t mtu() const noexcept { return mtu_; }
    bool link_up() const noexcept;
    DeviceCounters counters() const noexcept;

  private:
    Device(std::string name, std::uint16_t id) : name_(std::move(name)), id_(id) {}
    Status configure(std::uint16_t queues);
    Status set_up_queue(std::uint16_t queue, rte_mempool* pool, std::uint16_t descriptors);
    Error failure(const std::string& what, int error) const;

    std::string name_;
    std::uint16_t id_;
    MacAddress mac_{};
    std::uint16_t mtu_{};
};

}  // namespace shunt::dataplane::dpdk
