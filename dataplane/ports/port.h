// What a port is to a worker: bursts in, bursts out, a way back to the kernel, and the end of a packet. A port object
// belongs to one worker (one queue); it never blocks and never allocates after start.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>

#include "dataplane/path/batch.h"
#include "src/net/address.h"

namespace shunt::dataplane {

// What steps may put before a packet: a port leaves at least as much.
constexpr std::uint32_t packet_headroom = 128;

// clang-format 14 does not know requirements.
// clang-format off
template <class P>
concept Port = requires(P& port, const P& readable, Batch& batch, std::span<Lane* const> lanes, Lane& lane,
                        std::uint32_t length) {
    // Adds up to batch.room() lanes: bytes, length and the flags of the port.
    { port.receive(batch) } noexcept -> std::same_as<void>;
    // Sends in order; returns how many it took. The others still belong to the caller.
    { port.transmit(lanes) } noexcept -> std::same_as<std::size_t>;
    // Hands the packet to the kernel. False: there is no way back, the packet still belongs to the caller.
    { port.punt(lane) } noexcept -> std::same_as<bool>;
    // Frees the packet.
    { port.drop(lane) } noexcept -> std::same_as<void>;
    // Gives the lane a buffer of its own for a packet of `length` bytes, with headroom before it, and sets `bytes`. False:
    // there is none.
    { port.make(lane, length) } noexcept -> std::same_as<bool>;
    // Source of the frames it sends.
    { readable.mac() } noexcept -> std::same_as<MacAddress>;
};
// clang-format on

}  // namespace shunt::dataplane
