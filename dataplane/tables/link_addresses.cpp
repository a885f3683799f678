#include "dataplane/tables/link_addresses.h"

namespace shunt::dataplane {
namespace {

std::size_t start_of(const IpAddress& address) noexcept {
    return shm::endpoint_hash(address, Be16{}, Protocol{}) % shm::neighbour_slots;
}

bool holds(const shm::NeighbourSlot& slot, const IpAddress& address) noexcept {
    return slot.high.load(std::memory_order_acquire) == address.high_word() &&
           slot.low.load(std::memory_order_acquire) == address.low_word();
}

std::uint64_t tag_of(PortIndex port) noexcept { return shm::neighbour_valid >> 48 | port.value; }

}  // namespace

std::uint64_t LinkAddresses::find(const IpAddress& address, PortIndex port) const noexcept {
    for (std::size_t i = 0; i < shm::neighbour_probes; ++i) {
        shm::NeighbourSlot& slot = neighbours_[(start_of(address) + i) % neighbours_.size()];
        const std::uint64_t link = slot.link.load(std::memory_order_acquire);
        if (link >> 48 != tag_of(port) || !holds(slot, address)) continue;
        // The same word again: the slot was not given to another host in between.
        if (slot.link.load(std::memory_order_acquire) != link) continue;
        if (slot.used.load(std::memory_order_relaxed) == 0) slot.used.store(1, std::memory_order_relaxed);
        return shm::mac_word(link);
    }
    return 0;
}

void LinkAddresses::set_next_hop(NextHopIndex index, std::uint16_t version,
                                 const std::optional<MacAddress>& mac) noexcept {
    const std::uint64_t word = mac ? std::uint64_t{version} << 48 | shm::pack_mac(*mac) : 0;
    links_[index.value].store(word, std::memory_order_release);
}

bool LinkAddresses::set_neighbour(const IpAddress& address, PortIndex port,
                                  const std::optional<MacAddress>& mac) noexcept {
    shm::NeighbourSlot* free_slot = nullptr;
    for (std::size_t i = 0; i < shm::neighbour_probes; ++i) {
        shm::NeighbourSlot& slot = neighbours_[(start_of(address) + i) % neighbours_.size()];
        const std::uint64_t link = slot.link.load(std::memory_order_relaxed);
        if (link >> 48 == tag_of(port) && holds(slot, address)) {
            slot.link.store(mac ? tag_of(port) << 48 | shm::pack_mac(*mac) : 0, std::memory_order_release);
            return true;
        }
        if (link == 0 && free_slot == nullptr) free_slot = &slot;
    }
    if (!mac) return true;
    if (free_slot == nullptr) return false;
    free_slot->high.store(address.high_word(), std::memory_order_release);
    free_slot->low.store(address.low_word(), std::memory_order_release);
    free_slot->link.store(tag_of(port) << 48 | shm::pack_mac(*mac), std::memory_order_release);
    return true;
}

}  // namespace shunt::dataplane
