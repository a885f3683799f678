// Step 2: bytes to a flow key, offsets and flags; or punt, or a drop reason. Reads no byte beyond the packet.
#pragma once

#include "dataplane/path/batch.h"
#include "src/base/prefetch.h"

namespace shunt::dataplane {

// What is neither TCP nor UDP over IP, nor an ICMP error that may be about such a packet, is the kernel's: ARP, ND,
// echo, routing protocols. Up to two VLAN tags, IPv4 options and eight IPv6 extension headers are read over. Packets
// that are damaged are dropped whoever they are for.
Verdict parse(Lane& lane) noexcept;

struct Parse {
    void prefetch(Lane& lane) noexcept { shunt::prefetch(lane.bytes); }
    Verdict apply(Lane& lane) noexcept { return parse(lane); }
};

}  // namespace shunt::dataplane
