// Mode nat: the destination becomes the backend, and the source of replies becomes the VIP again (RFC 3022). The
// backend sees the client's address; its replies must be routed through this host.
#pragma once

#include "dataplane/modes/forwarding_mode.h"
#include "dataplane/path/families.h"

namespace shunt::dataplane {

struct Nat {
    static constexpr ForwardingMode id = ForwardingMode::nat;
    static constexpr std::size_t headroom = 0;

    static Verdict to_backend(Lane& lane, const shm::BackendRecord& backend) noexcept {
        return rewrite(lane, End::destination, backend.address, backend.port);
    }
    static Verdict to_client(Lane& lane, const shm::ListenerRecord& listener) noexcept {
        return rewrite(lane, End::source, listener.address, listener.port);
    }

  private:
    // Checksums follow by RFC 1624: a wrong one stays wrong, so no damaged payload is made to look whole.
    static Verdict rewrite(Lane& lane, End end, const IpAddress& address, Be16 port) noexcept {
        const bool source = end == End::source;
        ChecksumDelta delta;
        delta.replace(source ? lane.tuple.source : lane.tuple.destination, address);
        delta.replace(source ? lane.tuple.source_port : lane.tuple.destination_port, port);
        with_family(lane, [&](auto family, auto& header) { decltype(family)::set_address(header, end, address); });
        if (lane.is_tcp()) {
            auto& tcp = lane.header_at<TcpHeader>(lane.l4_offset);
            (source ? tcp.source_port : tcp.destination_port) = port;
            tcp.checksum = delta.apply(tcp.checksum);
        } else {
            auto& udp = lane.header_at<UdpHeader>(lane.l4_offset);
            (source ? udp.source_port : udp.destination_port) = port;
            udp.checksum = update_udp(udp.checksum, delta);
        }
        return Verdict::keep();
    }

    // RFC 768: zero says there is none, and stays; a sum that comes out as zero is sent as all ones.
    static std::uint16_t update_udp(std::uint16_t checksum, const ChecksumDelta& delta) noexcept {
        if (checksum == 0) return 0;
        const std::uint16_t updated = delta.apply(checksum);
        return updated == 0 ? std::uint16_t{0xffff} : updated;
    }
};
static_assert(Mode<Nat>);

}  // namespace shunt::dataplane
