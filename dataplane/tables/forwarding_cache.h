// What forwarding to a backend takes, worked out once: a worker's own cache of what listener, backend, mode, next hop
// and link address say together. The tables stay the truth. An entry is made after a packet was forwarded by them
// (forward.h), holds for one generation and one link address, and serves plain packets; whatever else is the case, a
// packet goes by the tables.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "src/base/assert.h"
#include "src/base/prefetch.h"
#include "src/net/checksum.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"

namespace shunt::dataplane {

// The first line has what all packets ask, but for their link addresses.
struct alignas(shm::cache_line_bytes) ForwardingEntry {
    shm::Handle handle;
    shm::Handle flow_handle;  // `handle`, if the generation says that it keeps flows of this listener; else 0
    std::uint32_t epoch;      // of the cache when it was made
    ListenerIndex listener;
    std::uint16_t longest;  // IP packet, before the mode adds to it, of which nothing more need be asked
    ForwardingMode mode;
    PortIndex out_port;
    Be16 port;                    // of the backend, on the wire
    FoldedDelta ip_delta;         // of NAT: what one hop less and the address change under the IPv4 header's checksum
    FoldedDelta transport_delta;  // of NAT: what address and port change under TCP's or UDP's
    IpAddress address;            // of the backend
    const std::atomic<std::uint64_t>* link;  // the word that says the link address
    std::uint64_t link_word;                 // what it said
    shm::Traffic* traffic;                   // to the backend

    std::array<MacAddress, 2> link_addresses;  // destination and source, as a frame has them
    std::uint32_t out_port_bit;
    SourceNumber source;
    shm::FlowTimeouts timeouts;
    const shm::ListenerRecord* listener_record;
    const shm::BackendRecord* backend_record;

    static constexpr std::atomic<std::uint64_t> no_link{};  // says 0, always

    bool link_holds() const noexcept { return link->load(std::memory_order_relaxed) == link_word; }
};
static_assert(sizeof(ForwardingEntry) == 2 * shm::cache_line_bytes);
static_assert(offsetof(ForwardingEntry, link_addresses) == shm::cache_line_bytes);

class ForwardingCache {
  public:
    // For so many handles. Not 0.
    explicit ForwardingCache(std::uint32_t handles)
        : memory_(shm::Region::anonymous(std::uint64_t{std::bit_ceil(handles)} * places * sizeof(ForwardingEntry))),
          entries_(&memory_.at<ForwardingEntry>(0)),
          mask_(std::bit_ceil(handles) - 1) {
        SHUNT_ASSERT(memory_.data() != nullptr);
    }

    // Once per burst. Generations never repeat, so nothing of an older one holds any more; nor what was made while no
    // path MTU was known, once there is one.
    void use(Generation generation, bool path_mtus_known) noexcept {
        epoch_ = static_cast<std::uint32_t>(generation.value << 1) | std::uint32_t{path_mtus_known};
    }

    // Where the entry of these would be. A handle has places for a few listeners, so that the VIPs of a service seldom
    // push each other out.
    ForwardingEntry& at(shm::Handle handle, ListenerIndex listener) const noexcept {
        return entries_[std::size_t{handle.index() & mask_} * places + listener.value % places];
    }
    void prefetch(shm::Handle handle, ListenerIndex listener) const noexcept {
        const auto* const lines = reinterpret_cast<const std::byte*>(&at(handle, listener));
        shunt::prefetch(lines);
        shunt::prefetch(lines + shm::cache_line_bytes);
    }
    bool holds(const ForwardingEntry& entry, shm::Handle handle, ListenerIndex listener) const noexcept {
        return entry.handle == handle && entry.listener == listener && entry.epoch == epoch_;
    }
    // The same, of the entry of a flow that the flow table knows: does its backend still serve and keep it?
    bool keeps_flow(const ForwardingEntry& entry, shm::Handle handle, ListenerIndex listener) const noexcept {
        return entry.flow_handle == handle && entry.listener == listener && entry.epoch == epoch_;
    }
    std::uint32_t epoch() const noexcept { return epoch_; }
    bool path_mtus_known() const noexcept { return (epoch_ & 1) != 0; }

  private:
    static constexpr std::uint32_t places = 2;

    shm::Region memory_;  // address space; memory where there are backends
    ForwardingEntry* entries_;
    std::uint32_t mask_;  // of a handle's index
    std::uint32_t epoch_{};
};

}  // namespace shunt::dataplane
