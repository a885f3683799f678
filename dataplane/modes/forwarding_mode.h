// What a forwarding mode is. One mode per file; the closed list of them is in list.h. The names operators use, and the
// numbers that stand in shared memory, are in src/net/forwarding_mode.h.
#pragma once

#include <concepts>
#include <cstddef>

#include "dataplane/path/batch.h"
#include "src/net/forwarding_mode.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

// clang-format 14 does not know requirements.
// clang-format off
template <class M>
concept Mode = requires(Lane& lane, const shm::BackendRecord& backend, const shm::ListenerRecord& listener) {
    { M::id } -> std::convertible_to<ForwardingMode>;
    { M::headroom } -> std::convertible_to<std::size_t>;  // bytes it may put before the packet
    // Writes what the packet needs to reach the backend, except hop limit and link addresses.
    { M::to_backend(lane, backend) } noexcept -> std::same_as<Verdict>;
    // The same for a reply on its way to the client.
    { M::to_client(lane, listener) } noexcept -> std::same_as<Verdict>;
};
// clang-format on

}  // namespace shunt::dataplane
