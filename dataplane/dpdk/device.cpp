#include "dataplane/dpdk/device.h"

#include <rte_dev.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "dataplane/dpdk/environment.h"

namespace shunt::dataplane::dpdk {
namespace {

constexpr unsigned pool_cache = 256;

// The reason is a number; the sentence, if there is one, went to the log.
std::string reason(int error) {
    const std::string line = last_log_line();
    return std::string(rte_strerror(error < 0 ? -error : error)) + (line.empty() ? "" : " (" + line + ")");
}

std::string driver_of(const std::string& name) { return name.substr(0, name.find_last_not_of("0123456789") + 1); }

constexpr std::uint64_t wanted_offloads =
    RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM;

}  // namespace

Result<PacketPool> PacketPool::create(WorkerIndex worker, xdp::Frames frames) {
    const xdp::FrameShape shape = frames.shape();
    auto held = std::make_unique<Held>(Held{.frames = std::move(frames)});
    held->frame_bits = static_cast<std::uint32_t>(std::countr_zero(shape.bytes));
    const std::string name = "packets_" + std::to_string(worker.value);
    const rte_pktmbuf_extmem memory{.buf_ptr = held->frames.data(),
                                    .buf_iova = reinterpret_cast<rte_iova_t>(held->frames.data()),
                                    .buf_len = held->frames.size(),
                                    .elt_size = static_cast<std::uint16_t>(shape.bytes)};
    const auto socket = static_cast<int>(rte_lcore_to_socket_id(worker.value + 1U));
    held->pool =
        rte_pktmbuf_pool_create_extbuf(name.c_str(), shape.count, pool_cache, 0, memory.elt_size, socket, &memory, 1);
    if (held->pool == nullptr) {
        return Error{.message = "cannot get " + std::to_string(shape.count) + " packet buffers: " + reason(rte_errno),
                     .remedy = "raise vm.nr_hugepages, or use fewer workers or ports"};
    }
    held->mbufs.resize(shape.count);
    rte_mempool_obj_iter(held->pool, note_frame, held.get());
    return PacketPool(held.release());
}

void PacketPool::note_frame(rte_mempool*, void* held_, void* object, unsigned) {
    auto& held = *static_cast<Held*>(held_);
    auto* mbuf = static_cast<rte_mbuf*>(object);
    const auto offset = static_cast<std::uint64_t>(static_cast<std::byte*>(mbuf->buf_addr) - held.frames.data());
    held.mbufs[offset >> held.frame_bits] = mbuf;
}

void PacketPool::reclaim(const std::vector<bool>& kept) {
    unsigned lcore = 0;
    RTE_LCORE_FOREACH(lcore) {
        rte_mempool_cache* cache = rte_mempool_default_cache(held_->pool, lcore);
        if (cache != nullptr) rte_mempool_cache_flush(cache, held_->pool);
    }
    for (void* object = nullptr; rte_mempool_get(held_->pool, &object) == 0;) {
    }
    for (std::size_t frame = 0; frame < kept.size(); ++frame) {
        if (!kept[frame]) rte_mempool_put(held_->pool, held_->mbufs[frame]);
    }
}

std::uint32_t PacketPool::in_use() const noexcept { return rte_mempool_in_use_count(held_->pool); }

Error Device::failure(const std::string& what, int error) const {
    return {.message = "DPDK device " + name_ + ": " + what + ": " + reason(error)};
}

Result<Device> Device::add(const std::string& name, const std::string& arguments) {
    if (const int error = rte_eal_hotplug_add("vdev", name.c_str(), arguments.c_str()); error != 0) {
        const std::string driver = driver_of(name);
        Error refusal{.message = "DPDK device " + name + " cannot be made: " + reason(error)};
        refusal.remedy = "check its arguments \"" + arguments + "\", and that DPDK has a driver called " + driver;
        return refusal;
    }
    std::uint16_t id = 0;
    if (const int error = rte_eth_dev_get_port_by_name(name.c_str(), &id); error != 0) {
        return Error{.message = "DPDK device " + name + " is no network device: " + reason(error),
                     .remedy = "use a driver whose name begins with net_"};
    }
    return Device(name, id);
}

Status Device::configure(std::uint16_t queues) {
    rte_eth_dev_info info{};
    if (const int error = rte_eth_dev_info_get(id_, &info); error != 0) return failure("cannot be asked", error);
    if (queues > std::min(info.max_rx_queues, info.max_tx_queues)) {
        return Error{.message = "DPDK device " + name_ + " has " +
                                std::to_string(std::min(info.max_rx_queues, info.max_tx_queues)) +
                                " queues, and every worker needs one: " + std::to_string(queues),
                     .remedy = "set dataplane.workers to at most that"};
    }
    rte_eth_conf configuration{};
    configuration.rxmode.offloads = info.rx_offload_capa & wanted_offloads;
    if (queues > 1) {
        configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
        configuration.rx_adv_conf.rss_conf.rss_hf =
            info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);
        if (configuration.rx_adv_conf.rss_conf.rss_hf == 0) configuration.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
    }
    if (const int error = rte_eth_dev_configure(id_, queues, queues, &configuration); error != 0) {
        return failure("cannot be configured", error);
    }
    return Done{};
}

Status Device::set_up_queue(std::uint16_t queue, rte_mempool* pool, std::uint16_t descriptors) {
    std::uint16_t receive = descriptors, transmit = descriptors;
    if (const int error = rte_eth_dev_adjust_nb_rx_tx_desc(id_, &receive, &transmit); error != 0) {
        return failure("its queues have no such length", error);
    }
    const auto socket = static_cast<unsigned>(rte_eth_dev_socket_id(id_));
    if (const int error = rte_eth_rx_queue_setup(id_, queue, receive, socket, nullptr, pool); error != 0) {
        return failure("receive queue " + std::to_string(queue) + " cannot be set up", error);
    }
    if (const int error = rte_eth_tx_queue_setup(id_, queue, transmit, socket, nullptr); error != 0) {
        return failure("transmit queue " + std::to_string(queue) + " cannot be set up", error);
    }
    return Done{};
}

Status Device::start(const std::vector<PacketPool>& pools, std::uint16_t descriptors) {
    const auto queues = static_cast<std::uint16_t>(pools.size());
    if (auto done = configure(queues); !done) return done;
    for (std::uint16_t queue = 0; queue < queues; ++queue) {
        if (auto done = set_up_queue(queue, pools[queue].get(), descriptors); !done) return done;
    }
    if (const int error = rte_eth_dev_start(id_); error != 0) return failure("does not start", error);
    rte_ether_addr address{};
    if (const int error = rte_eth_macaddr_get(id_, &address); error != 0) return failure("has no address", error);
    std::copy(std::begin(address.addr_bytes), std::end(address.addr_bytes), mac_.bytes.begin());
    if (const int error = rte_eth_dev_get_mtu(id_, &mtu_); error != 0) return failure("has no MTU", error);
    return Done{};
}

void Device::close() noexcept {
    rte_eth_dev_stop(id_);
    rte_eth_dev_close(id_);
}

bool Device::link_up() const noexcept {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(id_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

DeviceCounters Device::counters() const noexcept {
    rte_eth_stats stats{};
    if (rte_eth_stats_get(id_, &stats) != 0) return {};
    return {.received = stats.ipackets, .missed = stats.imissed};
}

}  // namespace shunt::dataplane::dpdk
