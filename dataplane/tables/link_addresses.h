// Link addresses of next hops, as the main thread keeps them in the state region (DESIGN section 7): one word per
// listed next hop, and a small hash of hosts on connected subnets. Workers read; one store changes an address.
#pragma once

#include <array>
#include <bit>
#include <optional>
#include <span>

#include "src/shm/layout.h"

namespace shunt::dataplane {

class LinkAddresses {
  public:
    LinkAddresses() = default;
    LinkAddresses(std::span<shm::LinkWord> links, std::span<shm::NeighbourSlot> neighbours) noexcept
        : links_(links), neighbours_(neighbours) {}

    // The address to send to, as MacAddress::word(); 0 while it is not known. `destination` is the packet's.
    std::uint64_t resolve(NextHopIndex index, const shm::NextHopRecord& record,
                          const IpAddress& destination) const noexcept {
        if (record.flags & shm::NextHopRecord::has_static) return record.mac.word();
        if (record.flags & shm::NextHopRecord::on_link) return find(destination, record.port);
        const std::uint64_t word = links_[index.value].load(std::memory_order_relaxed);
        return word >> 48 == record.version ? shm::mac_word(word) : 0;
    }

    // Where the address of a next hop that is not on_link comes from: a word, what it says, and what that means; as
    // long as the word says the same, it means the same.
    struct Source {
        const shm::LinkWord* word;
        std::uint64_t value;
        std::uint64_t mac;  // as resolve()
    };
    Source source(NextHopIndex index, const shm::NextHopRecord& record) const noexcept {
        static constexpr shm::LinkWord configured{};
        if (record.flags & shm::NextHopRecord::has_static) return {&configured, 0, record.mac.word()};
        const std::uint64_t word = links_[index.value].load(std::memory_order_relaxed);
        return {&links_[index.value], word, word >> 48 == record.version ? shm::mac_word(word) : 0};
    }

    // The main thread's side.
    void set_next_hop(NextHopIndex index, std::uint16_t version, const std::optional<MacAddress>& mac) noexcept;
    // False: no room within the probes of this address; it stays unknown.
    bool set_neighbour(const IpAddress& address, PortIndex port, const std::optional<MacAddress>& mac) noexcept;
    // Calls f(address, port) for the neighbours among `count` slots from `first` on that workers sent to since the last
    // call; returns where to go on.
    template <class F>
    std::size_t for_each_used(std::size_t first, std::size_t count, F&& f);

  private:
    std::uint64_t find(const IpAddress& address, PortIndex port) const noexcept;

    std::span<shm::LinkWord> links_;
    std::span<shm::NeighbourSlot> neighbours_;
};

template <class F>
std::size_t LinkAddresses::for_each_used(std::size_t first, std::size_t count, F&& f) {
    for (std::size_t i = 0; i < count; ++i) {
        shm::NeighbourSlot& slot = neighbours_[(first + i) % neighbours_.size()];
        const std::uint64_t link = slot.link.load(std::memory_order_relaxed);
        if (link == 0 || slot.used.load(std::memory_order_relaxed) == 0) continue;
        slot.used.store(0, std::memory_order_relaxed);
        const std::array words{slot.high.load(std::memory_order_relaxed), slot.low.load(std::memory_order_relaxed)};
        f(std::bit_cast<IpAddress>(words), PortIndex(static_cast<std::uint8_t>(link >> 48)));
    }
    return (first + count) % neighbours_.size();
}

}  // namespace shunt::dataplane
