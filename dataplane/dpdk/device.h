// A DPDK port, called device here because a port of ours is more than that; and the buffers of packets.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/dpdk/memory.h"
#include "dataplane/xdp/frames.h"
#include "src/base/index.h"
#include "src/base/result.h"
#include "src/net/address.h"

struct rte_mbuf;
struct rte_mempool;

namespace shunt::dataplane::dpdk {

// The packet buffers of one worker, for all its queues: a packet received on one device leaves through another without
// being copied. The bytes are in frames that the kernel and a successor can see, the mbufs are this process's. A view
// of something that is never freed: the kernel may still write into it.
class PacketPool {
  public:
    static Result<PacketPool> create(WorkerIndex worker, xdp::Frames frames);
    rte_mempool* get() const noexcept { return held_->pool; }
    const xdp::Frames& frames() const noexcept { return held_->frames; }
    // Of an address in the frames, which is an offset.
    rte_mbuf* mbuf_at(std::uint64_t address) const noexcept { return held_->mbufs[address >> held_->frame_bits]; }
    std::uint64_t address_of(const std::byte* byte) const noexcept {
        return static_cast<std::uint64_t>(byte - held_->frames.data());
    }
    std::uint32_t in_use() const noexcept;
    // Makes every buffer free whose frame is not marked here, whoever had it. No worker may run.
    void reclaim(const std::vector<bool>& kept);

  private:
    struct Held {
        xdp::Frames frames;
        rte_mempool* pool{};
        std::uint32_t frame_bits{};
        std::vector<rte_mbuf*> mbufs{};  // by frame
    };
    explicit PacketPool(Held* held) noexcept : held_(held) {}
    static void note_frame(rte_mempool* pool, void* held, void* mbuf, unsigned number);
    Held* held_;
};

struct DeviceCounters {
    std::uint64_t received{};
    std::uint64_t missed{};  // the driver had no room
};

class Device {
  public:
    // `name` and `arguments` as EAL takes them in --vdev: "net_af_packet0", "iface=eth1".
    static Result<Device> add(const std::string& name, const std::string& arguments);

    // One receive and one transmit queue per pool.
    Status start(const std::vector<PacketPool>& pools, std::uint16_t descriptors);
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
