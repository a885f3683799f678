#include "dataplane/ports/dpdk_xdp_queue.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/path/batch.h"

namespace shunt::dataplane {
namespace {

using Mbufs = std::array<rte_mbuf*, burst_size>;

// The kernel sends some 32 packets at a call, and says that it wants another; one that never ends is not waited for.
constexpr int most_calls = 8;

}  // namespace

// Every frame that the kernel filled is replaced before its packet is taken: with no buffer left, packets stay in the
// ring, and the kernel counts those that find no room there.
std::uint16_t XdpQueue::receive(std::span<rte_mbuf*> mbufs) noexcept {
    const auto& ring = socket_.received();
    const std::uint32_t first = ring.consumed();
    const auto count = static_cast<std::uint16_t>(std::min<std::size_t>(ring.produced() - first, mbufs.size()));
    if (count == 0) {
        socket_.look();
        return 0;
    }
    if (!refill(count)) return 0;
    for (std::uint16_t i = 0; i < count; ++i) {
        const xdp_desc& packet = ring.at(first + i);
        rte_mbuf& mbuf = *(mbufs[i] = pool_.mbuf_at(packet.addr));
        mbuf.data_off = static_cast<std::uint16_t>(packet.addr & (pool_.frames().shape().bytes - 1));
        mbuf.data_len = static_cast<std::uint16_t>(packet.len);
        mbuf.pkt_len = packet.len;
    }
    ring.consume(first + count);
    return count;
}

bool XdpQueue::refill(std::uint16_t count) noexcept {
    Mbufs fresh;
    const auto& ring = socket_.fill();
    if (ring.room() < count || rte_pktmbuf_alloc_bulk(pool_.get(), fresh.data(), count) != 0) return false;
    const std::uint32_t next = ring.produced();
    for (std::uint16_t i = 0; i < count; ++i) {
        ring.at(next + i) = pool_.address_of(static_cast<const std::byte*>(fresh[i]->buf_addr));
    }
    ring.produce(next + count);
    return true;
}

std::uint16_t XdpQueue::transmit(std::span<rte_mbuf* const> mbufs) noexcept {
    take_back();
    const auto& ring = socket_.sending();
    const std::uint32_t next = ring.produced();
    const auto room = static_cast<std::uint16_t>(std::min<std::size_t>(ring.room(), mbufs.size()));
    std::uint16_t count = 0;
    for (; count < room; ++count) {
        rte_mbuf* mbuf = own(*mbufs[count]);
        if (mbuf == nullptr) break;
        ring.at(next + count) = {
            .addr = pool_.address_of(rte_pktmbuf_mtod(mbuf, const std::byte*)), .len = mbuf->data_len, .options = 0};
    }
    ring.produce(next + count);
    have_sent();
    return count;
}

// Fragments may come from another worker, and the kernel sends from our frames only.
rte_mbuf* XdpQueue::own(rte_mbuf& mbuf) noexcept {
    if (mbuf.pool == pool_.get()) return &mbuf;
    rte_mbuf* copy = rte_pktmbuf_alloc(pool_.get());
    if (copy == nullptr) return nullptr;
    char* bytes = rte_pktmbuf_append(copy, mbuf.data_len);
    if (bytes == nullptr) {
        rte_pktmbuf_free(copy);
        return nullptr;
    }
    std::memcpy(bytes, rte_pktmbuf_mtod(&mbuf, const void*), mbuf.data_len);
    rte_pktmbuf_free(&mbuf);
    return copy;
}

void XdpQueue::have_sent() noexcept {
    for (int calls = 0; calls < most_calls && !socket_.send(); ++calls) take_back();
}

void XdpQueue::take_back() noexcept {
    const auto& ring = socket_.sent();
    const std::uint32_t first = ring.consumed(), end = ring.produced();
    for (std::uint32_t i = first; i != end; ++i) rte_pktmbuf_free(pool_.mbuf_at(ring.at(i)));
    ring.consume(end);
}

void XdpQueue::fill() noexcept {
    while (socket_.fill().room() >= burst_size && refill(burst_size)) {
    }
}

bool XdpQueue::settle() noexcept {
    have_sent();
    take_back();
    return socket_.in_flight() == 0;
}

void XdpQueue::mark(std::vector<bool>& frames) const {
    const std::uint32_t bytes = pool_.frames().shape().bytes;
    const auto mark = [&](std::uint64_t address) {
        if (address / bytes < frames.size()) frames[address / bytes] = true;
    };
    socket_.fill().for_each(mark);
    socket_.sent().for_each(mark);
    socket_.received().for_each([&](const xdp_desc& packet) { mark(packet.addr); });
    socket_.sending().for_each([&](const xdp_desc& packet) { mark(packet.addr); });
}

dpdk::DeviceCounters XdpQueue::count() noexcept {
    const std::uint32_t now = socket_.received().produced();
    received_ += now - counted_;  // 32 bits, asked often enough
    counted_ = now;
    return {.received = received_, .missed = socket_.missed()};
}

}  // namespace shunt::dataplane
