// One queue of a DPDK device, or of a kernel interface, as a port of one worker.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "dataplane/path/batch.h"
#include "dataplane/ports/dpdk_xdp_queue.h"
#include "dataplane/ports/port.h"
#include "dataplane/punt/punt_device.h"
#include "src/net/address.h"

struct rte_mempool;

namespace shunt::dataplane {

struct DeviceQueue {
    std::uint16_t device{};
    std::uint16_t number{};

    std::uint16_t receive(std::span<rte_mbuf*> mbufs) const noexcept;
    std::uint16_t transmit(std::span<rte_mbuf*> mbufs) const noexcept;
};

class DpdkPort {
  public:
    using Queue = std::variant<DeviceQueue, XdpQueue*>;

    // `pool` is what it makes packets from.
    DpdkPort(Queue queue, const MacAddress& mac, rte_mempool* pool, const PuntQueue& punt) noexcept
        : queue_(queue), mac_(mac), pool_(pool), punt_(punt) {}

    void receive(Batch& batch) noexcept;
    // Lanes may come from any device, and their bytes may have moved within the buffer.
    std::size_t transmit(std::span<Lane* const> lanes) noexcept;
    // A segmented packet, too, whose first segment alone is in the lane.
    bool punt(Lane& lane) noexcept;
    void drop(Lane& lane) noexcept;
    bool make(Lane& lane, std::uint32_t length) noexcept;
    MacAddress mac() const noexcept { return mac_; }

  private:
    std::uint16_t receive(std::span<rte_mbuf*> mbufs) noexcept;
    std::uint16_t transmit(std::span<rte_mbuf*> mbufs) noexcept;

    Queue queue_;
    MacAddress mac_;
    rte_mempool* pool_;
    PuntQueue punt_;
};

static_assert(Port<DpdkPort>);

}  // namespace shunt::dataplane
