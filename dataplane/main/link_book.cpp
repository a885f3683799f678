#include "dataplane/main/link_book.h"

#include <algorithm>
#include <cstring>

namespace shunt::dataplane {
namespace {

bool same(std::span<const shm::NextHopRecord> a, std::span<const shm::NextHopRecord> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// One address of its own, which only the kernel knows.
bool is_resolved_here(const shm::NextHopRecord& record) {
    constexpr auto others = shm::NextHopRecord::on_link | shm::NextHopRecord::has_static | shm::NextHopRecord::local;
    return record.version != 0 && record.retired_at == 0 && !(record.flags & others);
}

}  // namespace

void LinkBook::hear(const Neighbour& neighbour, const std::optional<MacAddress>& mac) {
    if (const auto hop = hops_.find(neighbour); hop != hops_.end()) {
        links_.set_next_hop(hop->second.index, hop->second.version, mac);
    }
    for (std::size_t port = 0; port < interfaces_.size(); ++port) {
        if (interfaces_[port] != neighbour.interface) continue;
        links_.set_neighbour(neighbour.address, PortIndex(static_cast<std::uint8_t>(port)), mac);
    }
}

bool LinkBook::prepare(std::span<const shm::NextHopRecord> next_hops, const Find& find) {
    if (same(next_hops, next_hops_)) return false;
    next_hops_.assign(next_hops.begin(), next_hops.end());
    hops_.clear();
    for (std::size_t i = 1; i < next_hops.size(); ++i) {
        const shm::NextHopRecord& record = next_hops[i];
        const auto neighbour = neighbour_of(record.address, record.port);
        if (!neighbour || !is_resolved_here(record)) continue;
        const Hop hop{NextHopIndex(static_cast<std::uint16_t>(i)), record.version};
        hops_.insert_or_assign(*neighbour, hop);
        links_.set_next_hop(hop.index, hop.version, find(*neighbour));
    }
    return true;
}

std::vector<Neighbour> LinkBook::watched() const {
    std::vector<Neighbour> all;
    for (const auto& [neighbour, hop] : hops_) all.push_back(neighbour);
    return all;
}

std::optional<Neighbour> LinkBook::neighbour_of(const IpAddress& address, PortIndex port) const {
    if (port.value >= interfaces_.size() || interfaces_[port.value] == 0) return std::nullopt;
    return Neighbour{address, interfaces_[port.value]};
}

std::vector<Neighbour> LinkBook::next_used() {
    std::vector<Neighbour> used;
    next_slot_ = links_.for_each_used(next_slot_, shm::neighbour_slots / renewal_parts,
                                      [&](const IpAddress& address, PortIndex port) {
                                          if (const auto neighbour = neighbour_of(address, port))
                                              used.push_back(*neighbour);
                                      });
    return used;
}

}  // namespace shunt::dataplane
