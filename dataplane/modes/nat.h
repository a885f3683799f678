// Mode nat: the destination becomes the backend, and the source of replies becomes the VIP again (RFC 3022). The
// backend sees the client's address; its replies must be routed through this host.
#pragma once

#include "dataplane/modes/forwarding_mode.h"
#include "dataplane/modes/quote.h"

namespace shunt::dataplane {

struct Nat {
    static constexpr ForwardingMode id = ForwardingMode::nat;
    static constexpr std::uint32_t headroom = 0;
    static constexpr bool names_backend = true;

    static std::uint32_t overhead(const Target&) noexcept { return 0; }

    static void to_backend(Lane& lane, const Target& target) noexcept {
        const shm::BackendRecord& backend = target.backend;
        const Be16 port = backend.port == Be16{} ? lane.service_port : backend.port;
        if (lane.is_quote()) return translate_error(lane, End::destination, backend.address, port);
        rewrite(lane, End::destination, backend.address, port);
    }
    static void to_client(Lane& lane, const Target& target) noexcept {
        const shm::ListenerRecord& listener = target.listener;
        const Be16 port = listener.has_many_ports() ? lane.service_port : listener.port;
        if (lane.is_quote()) return translate_error(lane, End::source, listener.address, port);
        rewrite(lane, End::source, listener.address, port);
    }

    // The destination of a plain packet is the listener's own, so all that changes is known beforehand.
    static void prepare(ForwardingEntry& entry, const Target& target) noexcept {
        ChecksumDelta delta;
        delta.replace(target.listener.address, target.backend.address);
        ChecksumDelta with_hop = delta;
        with_hop.replace(Be16(0x0200), Be16(0x0100));  // one less in the first of two bytes, whatever it was
        entry.ip_delta = with_hop.folded();
        delta.replace(target.listener.port, target.backend.port);
        entry.transport_delta = delta.folded();
    }
    template <class F>
    static void to_backend(Lane& lane, typename F::Header& ip, const ForwardingEntry& entry) noexcept {
        F::set_destination(ip, entry.address, entry.ip_delta);
        auto& ports = lane.header_at<UdpHeader>(lane.l4_offset);  // they lie alike in TCP
        ports.destination_port = entry.port;
        update_plain_transport(lane, entry.transport_delta);
    }

  private:
    static void rewrite(Lane& lane, End end, const IpAddress& address, Be16 port) noexcept {
        ChecksumDelta delta;
        set_address(lane, end, address, delta);
        if (lane.part == Part::later) [[unlikely]]
            return;
        auto& ports = lane.header_at<UdpHeader>(lane.l4_offset);  // they lie alike in TCP
        Be16& field = end == End::source ? ports.source_port : ports.destination_port;
        delta.replace(field, port);
        field = port;
        update_transport(lane, delta);
    }

    // What the error quotes went the other way: its other end is the one to translate. A router on the way keeps its
    // own address, so that traceroute shows it.
    static void translate_error(Lane& lane, End end, const IpAddress& address, Be16 port) noexcept {
        const bool from_router = end == End::source && source_of(lane) != lane.tuple.source;
        ChecksumDelta message =
            translate_quote(lane, end == End::source ? End::destination : End::source, address, port);
        ChecksumDelta outer;
        if (!from_router) set_address(lane, end, address, outer);
        if (covers_addresses(lane)) message.add(outer);
        update_transport(lane, message);
    }
    static IpAddress source_of(Lane& lane) noexcept {
        return with_family(lane,
                           [](auto family, auto& header) { return decltype(family)::address(header, End::source); });
    }
};
static_assert(TranslatingMode<Nat>);

}  // namespace shunt::dataplane
