#include "dataplane/main/port_set.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <utility>

#include "dataplane/hand_over.h"
#include "dataplane/xdp/descriptor.h"

namespace shunt::dataplane {
namespace {

// One page of the kernel's, less the headers DPDK and XDP put in front of a packet.
constexpr std::uint32_t largest_af_xdp_mtu = 3502;
constexpr auto longest_settling = std::chrono::milliseconds(5);

Error about(const config::Port& port, Error error) {
    error.message = "port " + port.name + ": " + error.message;
    return error;
}

Status about(const config::Port& port, const Status& status) {
    if (status) return Done{};
    return about(port, status.error());
}

template <std::size_t N>
void write_text(std::array<char, N>& field, const std::string& text) {
    field = {};
    text.copy(field.data(), N - 1);
}

bool is_running(const std::string& device) {
    const xdp::Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    device.copy(request.ifr_name, sizeof request.ifr_name - 1);
    return ::ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0 && (request.ifr_flags & IFF_RUNNING) != 0;
}

}  // namespace

Result<PortSet::OpenPort> PortSet::check(const config::Port& settings, std::uint16_t workers) {
    OpenPort port{.settings = settings};
    if (std::holds_alternative<config::CapturePort>(settings.kind)) {
        return Error{
            .message = "port " + settings.name + " is a pair of capture files, which this program does not serve",
            .remedy = "use `shunt replay` for capture files"};
    }
    const auto* af_xdp = std::get_if<config::AfXdpPort>(&settings.kind);
    if (af_xdp == nullptr) return port;
    auto interface = xdp::find_interface(af_xdp->device);
    if (!interface) return about(settings, interface.error());
    if (const auto enough = xdp::require_queues(*interface, workers); !enough) return about(settings, enough.error());
    if (interface->mtu > largest_af_xdp_mtu) {
        return Error{.message = "port " + settings.name + ": interface " + interface->name + " has an MTU of " +
                                std::to_string(interface->mtu) + ", and AF_XDP takes at most " +
                                std::to_string(largest_af_xdp_mtu),
                     .remedy = "ip link set dev " + interface->name + " mtu 1500"};
    }
    port.interface = *interface;
    return port;
}

Status PortSet::steer(OpenPort& port) {
    const auto& af_xdp = std::get<config::AfXdpPort>(port.settings.kind);
    if (auto done = xdp::prepare_offloads(*port.interface); !done) return done;
    auto steering = xdp::Steering::attach(*port.interface, af_xdp.generic ? xdp::Mode::generic : xdp::Mode::native);
    if (!steering) return steering.error();
    port.steering = *std::move(steering);
    return port.steering->set_port(port.interface->mac, port.settings.virtual_mac);
}

Status PortSet::open_punt(OpenPort& port, const MacAddress& mac, std::uint32_t mtu) const {
    PuntSettings settings{.name = punt_device_name(directory_, port.settings.name),
                          .mac = mac,
                          .virtual_macs = port.settings.virtual_mac,
                          .mtu = mtu,
                          .queues = port.settings.queues};
    auto punt = succeeds_ ? PuntDevice::join(std::move(settings)) : PuntDevice::create(std::move(settings));
    if (!punt) return punt.error();
    port.punt = *std::move(punt);
    return Done{};
}

Result<PortSet> PortSet::claim(const config::Dataplane& settings, const std::string& directory, Inheritance* from) {
    PortSet set;
    set.succeeds_ = from != nullptr;
    set.directory_ = std::filesystem::weakly_canonical(directory);
    for (const auto& wanted : settings.ports) {
        auto port = check(wanted, settings.workers);
        if (!port) return port.error();
        set.ports_.push_back(*std::move(port));
    }
    for (auto& port : set.ports_) {
        if (!port.interface) continue;
        const auto punt = set.open_punt(port, port.interface->mac, port.interface->mtu);
        if (!punt) return about(port.settings, punt.error());
        if (from != nullptr) {
            const auto lock = from->interface_locks.find(port.interface->index);
            if (lock != from->interface_locks.end()) port.inherited.emplace(std::move(lock->second));
        }
        if (port.inherited) continue;
        if (const auto done = steer(port); !done) return about(port.settings, done.error());
    }
    return set;
}

bool PortSet::can_inherit(const Inheritance& from, const dpdk::PoolSize& size) const {
    std::vector<int> served;
    for (const auto& port : ports_) {
        if (port.interface) served.push_back(port.interface->index);
    }
    const std::uint16_t workers = ports_.empty() ? std::uint16_t{0} : ports_.front().settings.queues;
    return !served.empty() && from.fits(served, workers, size.frames());
}

Status PortSet::prepare_sockets(Inheritance& from) {
    for (auto& port : ports_) {
        if (!port.interface) continue;
        for (std::uint32_t queue = 0; queue < port.settings.queues; ++queue) {
            auto& descriptor = from.sockets[{port.interface->index, queue}];
            auto socket = xdp::Socket::adopt(*port.interface, std::move(descriptor), ring_descriptors);
            if (!socket) return about(port.settings, socket.error());
            port.prepared.push_back(*std::move(socket));
        }
    }
    return Done{};
}

void PortSet::forsake_sockets() {
    for (auto& port : ports_) port.prepared.clear();
}

void PortSet::bequeath(std::vector<Bequest>& bequests) const {
    for (const auto& port : ports_) {
        if (!port.interface) continue;
        const auto& lock = port.inherited ? *port.inherited : port.steering->lock();
        const int index = port.interface->index;
        bequests.push_back({{.kind = Message::Kind::interface_lock, .interface = index}, lock.descriptor()});
        for (std::uint32_t queue = 0; queue < port.sockets.size(); ++queue) {
            bequests.push_back(
                {{.kind = Message::Kind::socket, .interface = index, .worker = queue}, port.sockets[queue]->socket()});
        }
    }
}

bool PortSet::settle() noexcept {
    const auto deadline = std::chrono::steady_clock::now() + longest_settling;
    bool settled = false;
    while (!settled && std::chrono::steady_clock::now() < deadline) {
        settled = true;
        for (auto& port : ports_) {
            for (auto& socket : port.sockets) settled &= socket->settle();
        }
    }
    return settled;
}

void PortSet::close_sockets() noexcept {
    for (auto& port : ports_) port.sockets.clear();
}

Status PortSet::detach(const config::Dataplane& settings) {
    for (const auto& port : settings.ports) {
        const auto* af_xdp = std::get_if<config::AfXdpPort>(&port.kind);
        if (af_xdp == nullptr) continue;
        const auto interface = xdp::find_interface(af_xdp->device);
        if (!interface) return about(port, interface.error());
        if (const auto done = xdp::Steering::detach(*interface); !done) return about(port, done);
    }
    return Done{};
}

dpdk::PoolSize PortSet::pool_size(std::uint16_t workers) const noexcept {
    std::uint32_t mtu = 1500;
    for (const auto& port : ports_) {
        if (port.interface) mtu = std::max(mtu, port.interface->mtu);
    }
    return dpdk::pool_size(static_cast<std::uint32_t>(ports_.size()), ring_descriptors, mtu,
                           HandOver::most_packets(workers));
}

Status PortSet::open(std::vector<dpdk::PacketPool>& pools) {
    for (auto& port : ports_) {
        const auto opened = port.interface ? open_af_xdp(port, pools) : open_vdev(port, pools);
        if (!opened) return about(port.settings, opened);
    }
    if (succeeds_) reclaim_buffers(pools);
    return Done{};
}

// What a predecessor's packets lay in is free, unless a socket that we work on has it.
void PortSet::reclaim_buffers(std::vector<dpdk::PacketPool>& pools) const {
    for (std::size_t worker = 0; worker < pools.size(); ++worker) {
        std::vector<bool> kept(std::size_t{pools[worker].frames().shape().count});
        for (const auto& port : ports_) {
            if (port.interface) port.sockets[worker]->mark(kept);
        }
        pools[worker].reclaim(kept);
    }
}

Status PortSet::open_af_xdp(OpenPort& port, const std::vector<dpdk::PacketPool>& pools) {
    for (auto& socket : port.prepared) {
        const dpdk::PacketPool& pool = pools[port.sockets.size()];
        port.sockets.push_back(std::make_unique<XdpQueue>(std::move(socket), pool));
    }
    port.prepared.clear();
    if (!port.sockets.empty()) return Done{};
    if (port.inherited) {
        if (auto done = take_over_steering(port); !done) return done;
    }
    for (std::uint32_t i = 0; i < pools.size(); ++i) {
        auto socket = xdp::Socket::open(*port.interface, i, pools[i].frames(), ring_descriptors);
        if (!socket) return socket.error();
        auto& queue = port.sockets.emplace_back(std::make_unique<XdpQueue>(*std::move(socket), pools[i]));
        queue->fill();
        if (auto done = port.steering->connect(i, queue->socket()); !done) return done;
    }
    return Done{};
}

// What the predecessor let through stays: it is read, and so may only be once nobody else writes there.
Status PortSet::take_over_steering(OpenPort& port) {
    const auto& af_xdp = std::get<config::AfXdpPort>(port.settings.kind);
    xdp::InterfaceLock lock(xdp::Descriptor::copy_of(port.inherited->descriptor()));  // it is ours after a failure, too
    auto steering = xdp::Steering::succeed(*port.interface, af_xdp.generic ? xdp::Mode::generic : xdp::Mode::native,
                                           std::move(lock));
    if (!steering) return steering.error();
    port.inherited.reset();
    port.steering = *std::move(steering);
    for (std::uint32_t i = 0; i < port.sockets.size(); ++i) {
        if (auto done = port.steering->connect(i, port.sockets[i]->socket()); !done) return done;
    }
    return port.steering->set_port(port.interface->mac, port.settings.virtual_mac);
}

Status PortSet::open_vdev(OpenPort& port, const std::vector<dpdk::PacketPool>& pools) const {
    const std::string& all = std::get<config::VdevPort>(port.settings.kind).arguments;
    const std::size_t comma = all.find(',');
    auto device = dpdk::Device::add(all.substr(0, comma), comma == std::string::npos ? "" : all.substr(comma + 1));
    if (!device) return device.error();
    if (auto started = device->start(pools, ring_descriptors); !started) return started;
    port.device = *std::move(device);
    return open_punt(port, port.mac(), port.mtu());
}

std::vector<DpdkPort> PortSet::queues_of(WorkerIndex worker, const dpdk::PacketPool& pool) const {
    std::vector<DpdkPort> queues;
    for (const auto& port : ports_) {
        const auto queue = port.interface ? DpdkPort::Queue(port.sockets[worker.value].get())
                                          : DpdkPort::Queue(DeviceQueue{port.device->id(), worker.value});
        queues.emplace_back(queue, port.mac(), pool.get(), port.punt->queue(worker.value));
    }
    return queues;
}

std::vector<int> PortSet::interfaces() const {
    std::vector<int> all;
    for (const auto& port : ports_) all.push_back(port.interface ? port.interface->index : 0);
    return all;
}

void PortSet::close() noexcept {
    for (auto& port : ports_) {
        if (port.device) port.device->close();
    }
}

Status PortSet::follow(const shm::Tables& tables) {
    const SteeringView view = steering_view(tables);
    for (auto& port : ports_) {
        Status done = port.inherited ? take_over_steering(port) : Done{};
        if (!done) return about(port.settings, done);
        if (!port.steering) continue;
        done = port.steering->set_local_addresses(view.local_addresses);
        if (done) done = port.steering->admit(view.endpoints);
        if (done) done = port.steering->put_in_place();
        if (done) done = port.steering->retire(view.endpoints);
        if (!done) return about(port.settings, done);
    }
    return Done{};
}

Status PortSet::keep_punting() const {
    for (const auto& port : ports_) {
        if (const auto kept = port.punt->keep(); !kept) return about(port.settings, kept);
    }
    return Done{};
}

void PortSet::describe(const shm::State& state) {
    state.header().port_count.store(static_cast<std::uint32_t>(ports_.size()), std::memory_order_relaxed);
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        OpenPort& port = ports_[i];
        shm::PortBlock& block = state.ports()[i];
        write_text(block.name, port.settings.name);
        write_text(block.device, port.interface ? port.interface->name : "");
        block.mac = port.mac();
        block.mtu = static_cast<std::uint16_t>(port.mtu());
        block.interface_index = port.interface ? static_cast<std::uint32_t>(port.interface->index) : 0;
        port.received_before = 0;
        for (const auto& worker : state.workers()) port.received_before += worker.ports[i].received.read();
        port.missed_before = block.driver_missed.read();
    }
}

dpdk::DeviceCounters PortSet::OpenPort::count() {
    if (device) return device->counters();
    dpdk::DeviceCounters sum;
    for (const auto& socket : sockets) {
        const dpdk::DeviceCounters counters = socket->count();
        sum.received += counters.received;
        sum.missed += counters.missed;
    }
    return sum;
}

Status PortSet::count(const shm::State& state) {
    for (std::size_t i = 0; i < ports_.size(); ++i) {
        OpenPort& port = ports_[i];
        shm::PortBlock& block = state.ports()[i];
        const dpdk::DeviceCounters sum = port.count();
        block.driver_received.set(port.received_before + sum.received);
        block.driver_missed.set(port.missed_before + sum.missed);
        block.link_up.store(port.interface ? is_running(port.interface->name) : port.device->link_up(),
                            std::memory_order_relaxed);
        if (!port.steering) continue;
        const auto steered = port.steering->counters();
        if (!steered) return about(port.settings, steered.error());
        block.steered.set(steered->redirected());
        block.steered_unattached.set(steered->dropped());
    }
    return Done{};
}

SteeringView steering_view(const shm::Tables& tables) {
    SteeringView view;
    const auto is_endpoint = [](const shm::EndpointSlot& slot) { return slot.protocol != shm::any_protocol; };
    const auto endpoint = [](const shm::EndpointSlot& slot) {
        return Endpoint{slot.address, slot.port, slot.protocol};
    };
    tables.listener_map.for_each([&](const shm::EndpointSlot& slot) {
        if (is_endpoint(slot)) view.endpoints.listeners.push_back(endpoint(slot));
    });
    for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
        const shm::ListenerRecord& listener = tables.listeners[i];
        if (listener.in_use && listener.has_many_ports()) {
            view.endpoints.ranges.push_back({listener.address, listener.ports(), listener.protocol});
        }
    }
    tables.source_map.for_each([&](const shm::EndpointSlot& slot) {
        if (is_endpoint(slot)) view.endpoints.backends.push_back(endpoint(slot));
    });
    tables.tunnel_map.for_each(
        [&](const shm::EndpointSlot& slot) { view.endpoints.tunnel_ends.push_back(slot.address); });
    tables.local_map.for_each([&](const shm::EndpointSlot& slot) { view.local_addresses.push_back(slot.address); });
    return view;
}

}  // namespace shunt::dataplane
