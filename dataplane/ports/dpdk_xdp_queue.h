// One queue of a kernel interface through an AF_XDP socket of ours, with DPDK's packet buffers: what rte_eth_rx_burst
// and rte_eth_tx_burst are to a DPDK device. DPDK's own driver does the same, but its sockets cannot be handed to a
// successor, and its close takes the steering program off (docs/decisions/upgrade.md).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/dpdk/device.h"
#include "dataplane/xdp/socket.h"

struct rte_mbuf;

namespace shunt::dataplane {

class XdpQueue {
  public:
    // `socket` receives into and sends from the frames of `pool`. Nothing is received before fill().
    XdpQueue(xdp::Socket socket, dpdk::PacketPool pool) noexcept
        : socket_(std::move(socket)), pool_(pool), counted_(socket_.received().consumed()) {}

    // The worker's.
    std::uint16_t receive(std::span<rte_mbuf*> mbufs) noexcept;
    // How many of them it took, the first ones; the others are still the caller's.
    std::uint16_t transmit(std::span<rte_mbuf* const> mbufs) noexcept;

    // When no worker runs. Gives the kernel frames to receive into, as many as its ring holds.
    void fill() noexcept;
    // Takes back what was sent; true: the kernel has nothing more to send.
    bool settle() noexcept;
    // Marks the frames that the rings hold.
    void mark(std::vector<bool>& frames) const;
    int socket() const noexcept { return socket_.get(); }

    // The main thread's: since this object was made.
    dpdk::DeviceCounters count() noexcept;

  private:
    bool refill(std::uint16_t count) noexcept;
    rte_mbuf* own(rte_mbuf& mbuf) noexcept;
    void take_back() noexcept;
    void have_sent() noexcept;

    xdp::Socket socket_;
    dpdk::PacketPool pool_;
    std::uint32_t counted_;     // up to this position of the ring of received packets
    std::uint64_t received_{};  // until then
};

}  // namespace shunt::dataplane
