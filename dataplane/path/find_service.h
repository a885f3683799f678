// Step 3: whose packet is it? A listener's (destination), or a reply of a backend (source), or the kernel's.
#pragma once

#include "dataplane/news.h"
#include "dataplane/path/batch.h"
#include "dataplane/tables/path_mtus.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

struct FindService {
    const shm::Tables& tables;
    const shm::EndpointMap listeners;  // the tables' own: a copy is nearer
    const HashSeed& flow_seed;
    News& news;

    void prefetch(Lane& lane) noexcept {
        const FiveTuple& t = lane.tuple;
        lane.listener_slot = listeners.first_slot(t.destination, t.destination_port, t.protocol);
        shunt::prefetch(lane.listener_slot);
    }

    Verdict apply(Lane& lane) noexcept {
        if (!lane.plain) [[unlikely]] {
            const auto [verdict, decided] = judge_special(lane);
            if (decided) return verdict;
        }
        const FiveTuple& t = lane.tuple;
        if (shm::EndpointMap::holds(*lane.listener_slot, t.destination, t.destination_port, t.protocol)) [[likely]]
            return to_backend(lane, lane.listener_slot->value);
        return look_further(lane);
    }

  private:
    [[gnu::noinline]] Verdict look_further(Lane& lane) noexcept {
        const FiveTuple& t = lane.tuple;
        const ListenerIndex found = tables.listener_of(t.destination, t.destination_port, t.protocol);
        if (!found) return to_client_or_kernel(lane);
        const Verdict verdict = to_backend(lane, found.value);
        if (tables.listeners[found.value].has_many_ports()) lane.service_port = t.destination_port;
        return verdict;
    }

    Verdict to_backend(Lane& lane, std::uint32_t listener) noexcept {
        lane.listener = ListenerIndex(static_cast<std::uint16_t>(listener));
        lane.bucket_hash = hash_peer(flow_seed, lane.tuple.source, lane.tuple.source_port);
        return Verdict::keep();
    }

    Verdict to_client_or_kernel(Lane& lane) noexcept {
        const FiveTuple& t = lane.tuple;
        // Replies to health checks come from the same endpoints as replies to clients; they go to this host.
        if (tables.is_local(t.destination)) return Verdict::punt();
        const SourceNumber found = tables.source_of(t.source, t.source_port, t.protocol);
        if (!found) return Verdict::punt();
        lane.direction = Direction::to_client;
        lane.source = found;
        lane.bucket_hash = hash_peer(flow_seed, t.destination, t.destination_port);
        return Verdict::keep();
    }

    // What is no whole packet of TCP or UDP.
    struct Judgement {
        Verdict verdict;
        bool decided;
    };
    [[gnu::noinline]] Judgement judge_special(Lane& lane) noexcept {
        const FiveTuple& t = lane.tuple;
        if (lane.handle) return {Verdict::keep(), true};  // a later fragment: decided with its first
        if (lane.unsupported != shm::DropReason::not_dropped) return {judge_unsupported(lane), true};
        if (lane.is_quote() && is_of_tunnel(t)) return {take_note(lane), true};
        // Without ports there is no flow to ask about; (address, 0, 0) is how the maps count endpoints.
        if (lane.is_quote() && !has_ports(t.protocol)) return {Verdict::punt(), true};
        return {Verdict::keep(), false};
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
};

}  // namespace shunt::dataplane
