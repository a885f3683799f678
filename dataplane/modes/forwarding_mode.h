// What a forwarding mode is. One mode per file; the closed list of them is in list.h. The names operators use, and the
// numbers that stand in shared memory, are in src/net/forwarding_mode.h.
#pragma once

#include <concepts>
#include <cstddef>

#include "dataplane/path/batch.h"
#include "src/net/forwarding_mode.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

// Where a packet goes, as far as modes ask.
struct Target {
    const shm::ListenerRecord& listener;
    const shm::BackendRecord& backend;
    const shm::Tables& tables;
    const MacAddress& port_mac;  // of the port it leaves by

    const IpAddress& tunnel_source() const noexcept { return tables.tunnel_source(backend.address.family()); }
};

// clang-format 14 does not know requirements.
// clang-format off
template <class M>
concept Mode = requires(Lane& lane, const Target& target) {
    { M::id } -> std::convertible_to<ForwardingMode>;
    { M::headroom } -> std::convertible_to<std::uint32_t>;  // bytes it may put before the packet, at most
    { M::names_backend } -> std::convertible_to<bool>;      // the IP destination becomes the backend: others can route it
    // Bytes it adds to the IP packet.
    { M::overhead(target) } noexcept -> std::same_as<std::uint32_t>;
    // Writes what the packet needs to reach the backend, except hop limit and link addresses.
    { M::to_backend(lane, target) } noexcept -> std::same_as<void>;
};
// A mode whose replies come back through here.
template <class M>
concept TranslatingMode = Mode<M> && requires(Lane& lane, const Target& target) {
    { M::to_client(lane, target) } noexcept -> std::same_as<void>;
};
// A mode that has its part of a cached entry: what it writes into a packet is worked out beforehand. Its to_backend() is
// then told the family, and sees to the hop limit as well, with the same update of the IPv4 header's checksum.
template <class M>
concept PreparedMode = Mode<M> && requires(ForwardingEntry& entry, const Target& target) {
    { M::prepare(entry, target) } noexcept -> std::same_as<void>;
};
// clang-format on

}  // namespace shunt::dataplane
