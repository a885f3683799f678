// Steering: which packets of a kernel interface reach the workers. The loader's side of steer.bpf.c, which has the
// rules.
//
// The program and its maps belong to the interface, not to the process: they stay when the process ends, clean or not,
// and then drop (and count) what is ours, so that the kernel, which owns the VIPs, does not answer in our place. A
// successor adopts them with all they hold. A Steering holds the interface's lock for as long as it lives.
//
// Order: a listener must not be admitted before every worker has passed the generation that brings it, and is retired
// after every worker has passed the one that takes it away. Hence two calls instead of one: admit only adds, retire
// only removes. Both compare with what the maps hold, so a predecessor's leftovers go with the first retire.
//
// For one thread. Attaching needs the rights that interface.h names.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "dataplane/xdp/interface.h"
#include "dataplane/xdp/kernel_set.h"
#include "dataplane/xdp/program.h"
#include "dataplane/xdp/steer_maps.h"
#include "src/base/result.h"
#include "src/net/address.h"
#include "src/net/vip.h"

namespace shunt::dataplane::xdp {

struct SteeringSet {
    std::vector<Endpoint> listeners{};     // of one port
    std::vector<Vip> ranges{};             // listeners of several ports, or all
    std::vector<Endpoint> backends{};      // of NAT services: their replies are ours; port 0: from any port
    std::vector<IpAddress> tunnel_ends{};  // backends reached through tunnels: errors about these are ours, too
};

// Packets since the program was attached, over all queues and through adoptions. Each is in exactly one of the rules;
// steer_maps.h names them.
struct SteeringCounters {
    std::array<std::uint64_t, steer_counters> values{};

    std::uint64_t operator[](steer_counter counter) const noexcept { return values[counter]; }
    std::uint64_t ours() const noexcept {
        return values[steer_icmp_error] + values[steer_listener] + values[steer_listener_fragment] +
               values[steer_backend] + values[steer_backend_fragment];
    }
    // Ours, but no socket was attached to the queue: a data plane that is dead or on its way.
    std::uint64_t dropped() const noexcept { return values[steer_unattached]; }
    std::uint64_t redirected() const noexcept { return ours() - dropped(); }
};

class Steering {
  public:
    // Attaches our program or adopts the one that is there. Until set_port nothing is steered, unless a predecessor's
    // settings are adopted.
    static Result<Steering> attach(const Interface& interface, Mode mode);
    // Where a predecessor served until now, whose lock this is. A program of another build stays in force, with what it
    // lets through, until put_in_place: by then ours is to be told everything.
    static Result<Steering> succeed(const Interface& interface, Mode mode, InterfaceLock lock);
    Status put_in_place();

    // Removes our program, whichever version, and with it all maps. Refused while a data plane holds the interface.
    static Status detach(const Interface& interface);

    // Frames to these addresses are looked at, all others passed. Replaces what was set before.
    Status set_port(const MacAddress& mac, std::span<const MacAddress> virtual_macs);

    // The addresses of this host, on whichever interface. What they receive stays the kernel's, unless a listener says
    // otherwise. Replaces what was set before.
    Status set_local_addresses(std::span<const IpAddress> addresses);

    // What is steered of this receive queue reaches the AF_XDP socket from now on, until the socket is closed.
    Status connect(std::uint32_t queue, int socket) const;

    // After an error the maps hold some of the change; calling again continues.
    Status admit(const SteeringSet& wanted);
    Status retire(const SteeringSet& wanted);

    Result<SteeringCounters> counters() const;

    const Program& program() const noexcept { return program_; }
    const InterfaceLock& lock() const noexcept { return lock_; }

  private:
    struct Sets {
        KernelSet port_macs, listeners, ranges, listener_addresses, local_addresses, backends, backend_addresses,
            tunnel_ends;
    };

    static Result<Steering> open(const Interface& interface, InterfaceLock lock, Program program);
    Steering(const Interface& interface, InterfaceLock lock, Program program, Sets sets, Descriptor sockets,
             Descriptor counters)
        : interface_(interface),
          lock_(std::move(lock)),
          program_(std::move(program)),
          sets_(std::move(sets)),
          sockets_(std::move(sockets)),
          counters_(std::move(counters)) {}

    Interface interface_;
    InterfaceLock lock_;
    Program program_;
    Sets sets_;
    Descriptor sockets_;
    Descriptor counters_;
};

}  // namespace shunt::dataplane::xdp
