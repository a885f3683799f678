// Which neighbours of the kernel matter to the workers, and where their link addresses are written: those of listed
// next hops into their words, everybody else on a port's link into the neighbour slots (shm/layout.h). No netlink here:
// what the kernel knows is handed in.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "dataplane/neighbours/neighbour.h"
#include "dataplane/tables/link_addresses.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

class LinkBook {
  public:
    // `interfaces`: the kernel's index of the interface under each port, by PortIndex; 0: there is none.
    LinkBook(LinkAddresses links, std::vector<int> interfaces) : links_(links), interfaces_(std::move(interfaces)) {}

    // A link address appeared, changed or went.
    void hear(const Neighbour& neighbour, const std::optional<MacAddress>& mac);

    // Before workers get a generation with these next hops: writes the addresses of those that `find` knows. True: the
    // neighbours to keep resolved are others than before.
    using Find = std::function<std::optional<MacAddress>(const Neighbour&)>;
    bool prepare(std::span<const shm::NextHopRecord> next_hops, const Find& find);
    std::vector<Neighbour> watched() const;

    // The kernel's name for what a worker asks for; nothing if the port has no kernel interface.
    std::optional<Neighbour> neighbour_of(const IpAddress& address, PortIndex port) const;

    // The hosts on connected subnets that were sent to lately, a part of all at each call: their addresses are to be
    // renewed. Everybody has been looked at after `renewal_parts` calls.
    static constexpr std::size_t renewal_parts = 64;
    std::vector<Neighbour> next_used();

  private:
    struct Hop {
        NextHopIndex index;
        std::uint16_t version;
    };

    LinkAddresses links_;
    std::vector<int> interfaces_;
    std::vector<shm::NextHopRecord> next_hops_;  // as prepared last
    std::map<Neighbour, Hop> hops_;
    std::size_t next_slot_{};
};

}  // namespace shunt::dataplane
