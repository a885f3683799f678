// Step 6: the backend's mode writes the headers; hop limit and link addresses for the next hop.
#pragma once

#include <span>

#include "dataplane/modes/list.h"
#include "dataplane/neighbour_requests.h"
#include "dataplane/path/batch.h"
#include "dataplane/tables/link_addresses.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

struct Forward {
    const shm::Tables& tables;
    const LinkAddresses& links;
    std::span<const MacAddress> port_macs;  // by PortIndex
    NeighbourRequests& requests;

    void prefetch(Lane& lane) noexcept { tables.backends.prefetch(lane.handle.index()); }

    Verdict apply(Lane& lane) noexcept {
        const shm::ListenerRecord& listener = tables.listeners[lane.listener.value];
        const shm::BackendRecord& backend = tables.backend(lane.handle);
        const bool to_backend = lane.direction == Direction::to_backend;

        const bool last_hop = with_family(lane, [](auto family, auto& ip) { return family.hop_limit(ip) <= 1; });
        if (last_hop) return Verdict::drop(shm::DropReason::hop_limit_exceeded);
        const NextHopIndex index = to_backend ? backend.next_hop : tables.route(lane.tuple.destination);
        const shm::NextHopRecord& next_hop = tables.next_hop(index);
        if (!index || next_hop.port.value >= port_macs.size()) return Verdict::drop(shm::DropReason::no_route);

        const Verdict written = Modes::with(listener.mode, [&](auto mode) {
            using M = typename decltype(mode)::type;
            return to_backend ? M::to_backend(lane, backend) : M::to_client(lane, listener);
        });
        if (!written.keeps()) return written;
        with_family(lane, [](auto family, auto& ip) { family.decrement_hop_limit(ip); });
        lane.out_port = next_hop.port;
        return address_frame(lane, index, next_hop, to_backend ? backend.address : lane.tuple.destination);
    }

  private:
    // Until the link address is known the translated packet is the kernel's to send.
    Verdict address_frame(Lane& lane, NextHopIndex index, const shm::NextHopRecord& next_hop,
                          const IpAddress& destination) noexcept {
        const auto mac = links.resolve(index, next_hop, destination);
        if (!mac) {
            const bool on_link = next_hop.flags & shm::NextHopRecord::on_link;
            if (on_link) requests.push({destination, next_hop.port});
            return Verdict::punt();
        }
        auto& ethernet = lane.header_at<EthernetHeader>(0);
        ethernet.destination = mac->bytes;
        ethernet.source = port_macs[next_hop.port.value].bytes;
        return Verdict::keep();
    }
};

}  // namespace shunt::dataplane
