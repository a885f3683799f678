// The ports of the configuration, opened: kernel interfaces checked, locked and steered, sockets bound, DPDK devices
// started.
//
// In two halves, because everything that can be refused is refused before anything is begun that takes memory.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/dpdk/device.h"
#include "dataplane/main/inheritance.h"
#include "dataplane/main/successor.h"
#include "dataplane/ports/dpdk_port.h"
#include "dataplane/punt/punt_device.h"
#include "dataplane/xdp/steering.h"
#include "src/base/result.h"
#include "src/config/desired_state.h"
#include "src/shm/state.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

constexpr std::uint16_t ring_descriptors = 2048;

class PortSet {
  public:
    // First half. Takes the interfaces: nobody else can serve them until we die. The directory is the instance's. What
    // a predecessor serves that hands over is its until it has stopped: `from`, null if there is none.
    static Result<PortSet> claim(const config::Dataplane& settings, const std::string& directory, Inheritance* from);
    // Takes our program off the interfaces. Refused while a data plane serves one.
    static Status detach(const config::Dataplane& settings);

    // What the pool of one worker must hold.
    dpdk::PoolSize pool_size(std::uint16_t workers) const noexcept;

    // Second half, with one pool per worker.
    Status open(std::vector<dpdk::PacketPool>& pools);

    // Of a successor, between the two: the sockets it is to work on, mapped while the predecessor still does. Without
    // them, or if they are forsaken, it opens new ones.
    bool can_inherit(const Inheritance& from, const dpdk::PoolSize& size) const;
    Status prepare_sockets(Inheritance& from);
    void forsake_sockets();
    // Of a predecessor: what it hands over; no packet of ours is under way in the kernel any more (false: it does not
    // come to an end); the sockets are given up, so that others can be opened.
    void bequeath(std::vector<Bequest>& bequests) const;
    bool settle() noexcept;
    void close_sockets() noexcept;
    // The queues of one worker, by PortIndex.
    std::vector<DpdkPort> queues_of(WorkerIndex worker, const dpdk::PacketPool& pool) const;
    // The kernel's index of the interface under each port; 0: there is none.
    std::vector<int> interfaces() const;
    // Gives DPDK's devices up; what kernel interfaces have stays as it is.
    void close() noexcept;

    // Has the steering programs let through what this generation serves, and nothing else. Every worker has passed it.
    Status follow(const shm::Tables& tables);

    // Sees to it that the kernel goes on taking what is punted.
    Status keep_punting() const;

    // The port blocks: once at the start, and what changes every now and then.
    void describe(const shm::State& state);
    Status count(const shm::State& state);

  private:
    struct OpenPort {
        config::Port settings;
        std::optional<xdp::Interface> interface {};  // of af_xdp
        std::optional<xdp::Steering> steering{};
        std::optional<PuntDevice> punt{};
        std::optional<xdp::InterfaceLock> inherited{};     // until it is steered by us
        std::vector<xdp::Socket> prepared{};               // until it is opened
        std::optional<dpdk::Device> device{};              // else
        std::vector<std::unique_ptr<XdpQueue>> sockets{};  // of the interface, by worker
        std::uint64_t received_before{};                   // by predecessors
        std::uint64_t missed_before{};

        MacAddress mac() const noexcept { return interface ? interface->mac : device->mac(); }
        std::uint32_t mtu() const noexcept { return interface ? interface->mtu : device->mtu(); }
        dpdk::DeviceCounters count();
    };

    static Result<OpenPort> check(const config::Port& settings, std::uint16_t workers);
    static Status steer(OpenPort& port);
    static Status take_over_steering(OpenPort& port);
    Status open_punt(OpenPort& port, const MacAddress& mac, std::uint32_t mtu) const;
    void reclaim_buffers(std::vector<dpdk::PacketPool>& pools) const;
    static Status open_af_xdp(OpenPort& port, const std::vector<dpdk::PacketPool>& pools);
    Status open_vdev(OpenPort& port, const std::vector<dpdk::PacketPool>& pools) const;

    std::string directory_;
    bool succeeds_{};  // a predecessor lives beside us
    std::vector<OpenPort> ports_;
};

// What a generation wants of steering.
struct SteeringView {
    xdp::SteeringSet endpoints;
    std::vector<IpAddress> local_addresses;
};
SteeringView steering_view(const shm::Tables& tables);

}  // namespace shunt::dataplane
