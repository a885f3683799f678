// The numbers that stand for things in shared memory: who has which, and which rest (DESIGN section 3, "Ids"). The
// published tables are the authority: a restarted control plane reads the book from them, and changes nothing.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controlplane/compile/id_pool.h"
#include "src/net/address.h"
#include "src/net/vip.h"
#include "src/shm/layout.h"
#include "src/shm/limits.h"
#include "src/shm/tables.h"

namespace shunt::controlplane {

// A backend handle of a service: address, port on the wire (0: every packet's own), protocol.
struct ServiceEndpoint {
    ServiceIndex service{};
    Endpoint endpoint{};
    bool operator==(const ServiceEndpoint&) const = default;
};

// A listener of a service. With other ports it is another listener: its flows would not know which they mean.
struct ServiceVip {
    ServiceIndex service{};
    Vip vip{};
    bool operator==(const ServiceVip&) const = default;
};

// A next hop: a neighbour's address, or unspecified for "on-link, whoever the packet is for".
struct Hop {
    IpAddress address{};
    PortIndex port{};
    bool operator==(const Hop&) const = default;
};

struct KeyHash {
    std::size_t operator()(const std::string& name) const noexcept { return std::hash<std::string>{}(name); }
    std::size_t operator()(const Endpoint& e) const noexcept {
        return shm::endpoint_hash(e.address, e.port, e.protocol);
    }
    std::size_t operator()(const ServiceEndpoint& e) const noexcept {
        return (*this)(e.endpoint) ^ e.service.value * 0x9e3779b97f4a7c15ULL;
    }
    std::size_t operator()(const ServiceVip& v) const noexcept {
        return (*this)(ServiceEndpoint{v.service, {v.vip.address, v.vip.ports.first, v.vip.protocol}}) ^
               std::size_t{v.vip.ports.last.raw} << 32;
    }
    std::size_t operator()(const Hop& hop) const noexcept {
        return shm::endpoint_hash(hop.address, Be16(hop.port.value), Protocol::tcp);
    }
};

struct Book {
    IdPool<std::string, KeyHash> services{shm::max_services, {}};
    IdPool<ServiceVip, KeyHash> listeners{shm::max_listeners, longest_memory};
    IdPool<ServiceEndpoint, KeyHash> handles{shm::max_handles, longest_memory, shm::Handle::incarnation_mask + 1};
    IdPool<Endpoint, KeyHash> sources{shm::max_sources, longest_memory};
    IdPool<Hop, KeyHash> hops{shm::max_next_hops, {}};
    std::vector<bool> awaited{};  // by handle index, see BackendRecord

    static Book read(const shm::Tables& tables);

    shm::Handle handle(std::uint32_t index) const {
        return shm::Handle::of(index, handles[index].uses & shm::Handle::incarnation_mask);
    }
    std::uint16_t hop_version(std::uint32_t index) const {
        return static_cast<std::uint16_t>(1 + hops[index].uses % 0xffff);
    }
    bool is_awaited(std::uint32_t index) const { return index < awaited.size() && awaited[index]; }

    // Between the two, numbers that were taken can be given up without a trace.
    void begin();
    void undo();
};

// A backend as the desired state names it.
struct BackendName {
    std::string service{};
    IpAddress address{};
    std::uint16_t port{};  // as configured: 0 follows the VIP's
    auto operator<=>(const BackendName&) const = default;
};

// What the checks had said when the tables were published; only backends with a verdict.
std::map<BackendName, shm::Verdict> read_verdicts(const shm::Tables& tables);

}  // namespace shunt::controlplane
