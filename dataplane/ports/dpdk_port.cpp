#include "dataplane/ports/dpdk_port.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <array>

namespace shunt::dataplane {
namespace {

static_assert(RTE_PKTMBUF_HEADROOM >= packet_headroom);

bool is_flagged(std::uint64_t flags) noexcept {
    return (flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_BAD ||
           (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_BAD;
}

rte_mbuf* mbuf_of(const Lane& lane) noexcept { return static_cast<rte_mbuf*>(lane.buffer); }

// What the modes did to the lane: bytes moved to the front or the back, the packet grew or shrank.
void write_back(const Lane& lane, rte_mbuf& mbuf) noexcept {
    mbuf.data_off = static_cast<std::uint16_t>(lane.bytes - static_cast<std::byte*>(mbuf.buf_addr));
    mbuf.data_len = static_cast<std::uint16_t>(lane.length);
    mbuf.pkt_len = lane.length;
}

}  // namespace

std::uint16_t DeviceQueue::receive(std::span<rte_mbuf*> mbufs) const noexcept {
    return rte_eth_rx_burst(device, number, mbufs.data(), static_cast<std::uint16_t>(mbufs.size()));
}

std::uint16_t DeviceQueue::transmit(std::span<rte_mbuf*> mbufs) const noexcept {
    return rte_eth_tx_burst(device, number, mbufs.data(), static_cast<std::uint16_t>(mbufs.size()));
}

std::uint16_t DpdkPort::receive(std::span<rte_mbuf*> mbufs) noexcept {
    if (auto* const* socket = std::get_if<XdpQueue*>(&queue_)) return (*socket)->receive(mbufs);
    return std::get_if<DeviceQueue>(&queue_)->receive(mbufs);
}

std::uint16_t DpdkPort::transmit(std::span<rte_mbuf*> mbufs) noexcept {
    if (auto* const* socket = std::get_if<XdpQueue*>(&queue_)) return (*socket)->transmit(mbufs);
    return std::get_if<DeviceQueue>(&queue_)->transmit(mbufs);
}

void DpdkPort::receive(Batch& batch) noexcept {
    rte_mbuf* mbufs[burst_size];
    const std::uint16_t count = receive({mbufs, batch.room()});
    for (std::uint16_t i = 0; i < count; ++i) rte_prefetch0(rte_pktmbuf_mtod(mbufs[i], void*));
    batch.add_all(count, [&mbufs](std::size_t i) -> Arrival {
        rte_mbuf& mbuf = *mbufs[i];
        return {.bytes = rte_pktmbuf_mtod(&mbuf, std::byte*),
                .buffer = &mbuf,
                .length = mbuf.data_len,
                .segmented = mbuf.nb_segs > 1,
                .checksum_flagged = is_flagged(mbuf.ol_flags)};
    });
}

std::size_t DpdkPort::transmit(std::span<Lane* const> lanes) noexcept {
    rte_mbuf* mbufs[burst_size];
    std::uint16_t count = 0;
    for (const Lane* lane : lanes) {
        mbufs[count] = mbuf_of(*lane);
        write_back(*lane, *mbufs[count]);
        ++count;
    }
    return transmit({mbufs, count});
}

bool DpdkPort::make(Lane& lane, std::uint32_t length) noexcept {
    rte_mbuf* mbuf = rte_pktmbuf_alloc(pool_);
    if (mbuf == nullptr) return false;
    if (length > rte_pktmbuf_tailroom(mbuf)) {
        rte_pktmbuf_free(mbuf);
        return false;
    }
    lane.bytes = rte_pktmbuf_mtod(mbuf, std::byte*);
    lane.buffer = mbuf;
    return true;
}

// In one piece: what lies in several buffers is dropped before anybody asks whose it is.
bool DpdkPort::punt(Lane& lane) noexcept {
    if (!punt_.put({lane.bytes, lane.length})) return false;
    drop(lane);
    return true;
}

void DpdkPort::drop(Lane& lane) noexcept { rte_pktmbuf_free(mbuf_of(lane)); }

}  // namespace shunt::dataplane
