// Changing addresses and ports in place. Checksums follow by RFC 1624: a wrong one stays wrong, so no damaged payload
// is made to look whole.
#pragma once

#include "dataplane/path/batch.h"
#include "dataplane/path/families.h"
#include "src/net/checksum.h"

namespace shunt::dataplane {

// RFC 768: zero says there is none, and stays; a sum that comes out as zero is sent as all ones.
template <class Delta>
std::uint16_t update_udp(std::uint16_t checksum, const Delta& delta) noexcept {
    if (checksum == 0) return 0;
    const std::uint16_t updated = delta.apply(checksum);
    return updated == 0 ? std::uint16_t{0xffff} : updated;
}

// What changed under the checksum of the packet's own transport header; below: or of its ICMP header.
template <class Delta>
void update_plain_transport(Lane& lane, const Delta& delta) noexcept {
    if (lane.is_tcp()) {
        auto& tcp = lane.header_at<TcpHeader>(lane.l4_offset);
        tcp.checksum = delta.apply(tcp.checksum);
    } else {
        auto& udp = lane.header_at<UdpHeader>(lane.l4_offset);
        udp.checksum = update_udp(udp.checksum, delta);
    }
}
inline void update_transport(Lane& lane, const ChecksumDelta& delta) noexcept {
    if (lane.part == Part::later) return;  // it stands in the first fragment
    if (!lane.is_quote()) return update_plain_transport(lane, delta);
    auto& icmp = lane.header_at<IcmpHeader>(lane.l4_offset);
    icmp.checksum = delta.apply(icmp.checksum);
}

// The address of the packet itself. `pseudo` takes what the change means for a checksum over the pseudo header.
inline void set_address(Lane& lane, End end, const IpAddress& address, ChecksumDelta& pseudo) noexcept {
    pseudo.add(with_family(lane, [&](auto family, auto& header) { return family.set_address(header, end, address); }));
}

// RFC 792's checksum covers the message alone, RFC 4443's the pseudo header as well.
inline bool covers_addresses(const Lane& lane) noexcept { return !lane.is_quote() || lane.family == Family::ipv6; }

}  // namespace shunt::dataplane
