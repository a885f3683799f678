// The maps of a generation (shm/layout.h, EndpointMapRef) on their way there. What the pages hold is a function of the
// entries alone, not of the order in which they came: so a restarted control plane makes the same pages, and a change
// touches the page of its endpoint only.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "src/net/address.h"
#include "src/shm/layout.h"
#include "src/shm/tables.h"

namespace shunt::controlplane {

class EndpointTable {
  public:
    using Page = std::array<shm::EndpointSlot, shm::slots_per_page>;

    // A value of 0 removes the entry.
    void set(const Endpoint& endpoint, std::uint32_t value);
    std::uint32_t find(const Endpoint& endpoint) const noexcept;  // 0: not there

    // An endpoint and, under (address, any_port, any_protocol), how many there are of its address.
    void add_counted(const Endpoint& endpoint, std::uint32_t value);
    void remove_counted(const Endpoint& endpoint);
    // Only how many there are of an address.
    void count_up(const IpAddress& address);
    void count_down(const IpAddress& address);

    const std::vector<Page>& pages() const noexcept { return pages_; }  // 2^bits; none if there are no entries
    std::uint32_t bits() const noexcept { return bits_; }
    std::uint32_t entries() const noexcept { return entries_; }

  private:
    void settle_size(bool overfull);
    bool fits(std::uint32_t bits) const;
    void resize(std::uint32_t bits);

    std::vector<Page> pages_{};
    std::vector<std::uint32_t> used_{};  // slots, by page
    std::uint32_t bits_{};
    std::uint32_t entries_{};
};

}  // namespace shunt::controlplane
