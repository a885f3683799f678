// Step 3: whose packet is it? A listener's (destination), or a reply of a backend (source), or the kernel's.
#pragma once

#include "dataplane/news.h"
#include "dataplane/path/batch.h"
#include "dataplane/tables/path_mtus.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

struct FindService {
    const shm::Tables& tables;
    const HashSeed& flow_seed;
    News& news;

    void prefetch(Lane& lane) noexcept {
        tables.listener_map.prefetch(lane.tuple.destination, lane.tuple.destination_port, lane.tuple.protocol);
    }

    Verdict apply(Lane& lane) noexcept {
        if (lane.handle) return Verdict::keep();  // a later fragment: decided with its first
        const FiveTuple& t = lane.tuple;
        if (lane.unsupported != shm::DropReason::not_dropped) return judge_unsupported(lane);
        if (lane.is_quote() && is_of_tunnel(t)) return take_note(lane);
        // Without ports there is no flow to ask about; (address, 0, 0) is how the maps count endpoints.
        if (lane.is_quote() && !has_ports(t.protocol)) return Verdict::punt();
        if (const auto found = tables.listener_of(t.destination, t.destination_port, t.protocol)) {
            return to_backend(lane, found);
        }
        // Replies to health checks come from the same endpoints as replies to clients; they go to this host.
        if (tables.is_local(t.destination)) return Verdict::punt();
        if (const auto found = tables.source_of(t.source, t.source_port, t.protocol)) {
            lane.direction = Direction::to_client;
            lane.source = found;
            lane.bucket_hash = hash_peer(flow_seed, t.destination, t.destination_port);
            return Verdict::keep();
        }
        return Verdict::punt();
    }

  private:
    Verdict to_backend(Lane& lane, ListenerIndex listener) noexcept {
        lane.direction = Direction::to_backend;
        lane.listener = listener;
        const shm::ListenerRecord& record = tables.listeners[listener.value];
        lane.service = record.service;
        const FiveTuple& t = lane.tuple;
        if (record.has_many_ports()) lane.service_port = t.destination_port;
        // From the VIP itself: no client, and a loop between backends that answer each other.
        if (!can_be_a_source(t.source) || t.source == t.destination) {
            return Verdict::drop(shm::DropReason::source_invalid);
        }
        lane.bucket_hash = hash_peer(flow_seed, lane.tuple.source, lane.tuple.source_port);
        return Verdict::keep();
    }

    // Without ports only the addresses can say that it would have been for a service.
    Verdict judge_unsupported(const Lane& lane) const noexcept {
        const bool ours = tables.may_be_a_services(lane.tuple.source, lane.tuple.destination);
        return ours ? Verdict::drop(lane.unsupported) : Verdict::punt();
    }

    static bool has_ports(Protocol protocol) noexcept { return protocol == Protocol::tcp || protocol == Protocol::udp; }

    // An error about our own outer header: from our source address to the far end of a tunnel. `turned` is the quoted
    // tuple turned round.
    bool is_of_tunnel(const FiveTuple& turned) const noexcept {
        const IpAddress& source = tables.tunnel_source(turned.destination.family());
        return !source.is_unspecified() && turned.destination == source && is_tunnel(turned.protocol) &&
               tables.is_tunnel_end(turned.source);
    }
    static bool is_tunnel(Protocol protocol) noexcept {
        const auto number = static_cast<std::uint8_t>(protocol);
        return number == protocol_ipv4 || number == protocol_ipv6 || number == protocol_gre ||
               protocol == Protocol::udp;
    }

    // The kernel gets it as well: it keeps path MTUs of its own.
    Verdict take_note(const Lane& lane) noexcept {
        const auto& icmp = lane.header_at<IcmpHeader>(lane.l4_offset);
        const bool v4 = lane.family == Family::ipv4;
        const bool too_big = v4 ? icmp.type == 3 && icmp.code == 4 : icmp.type == 2;
        const std::uint32_t mtu = v4 ? icmp.rest.host() & 0xffff : icmp.rest.host();
        // What no IPv6 path may have is not believed (RFC 8201 section 4); a router that says 0 is older than RFC 1191.
        const bool possible = v4 || mtu >= PathMtus::least(Family::ipv6);
        if (too_big && possible && mtu <= 0xffff) {
            news.path_mtus.push({lane.tuple.source, static_cast<std::uint16_t>(mtu)});
        }
        return Verdict::punt();
    }

    static constexpr IpAddress loopback_v6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});

    // RFC 1122 section 3.2.1.3, RFC 4291 section 2.7: what no packet on a wire may come from; nor what may not be
    // routed (RFC 3927 section 2.7, RFC 4291 section 2.5.6).
    static bool can_be_a_source(const IpAddress& address) noexcept {
        const IpAddress::Bytes b = address.bytes();
        if (!address.is_v4()) {
            const bool link_local = b[0] == 0xfe && (b[1] & 0xc0) == 0x80;
            return b[0] != 0xff && !link_local && !address.is_unspecified() && address != loopback_v6;
        }
        const bool link_local = b[12] == 169 && b[13] == 254;
        return b[12] != 0 && b[12] != 127 && b[12] < 224 && !link_local;
    }
};

}  // namespace shunt::dataplane
