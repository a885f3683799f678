// Step 2: bytes to a flow key, offsets and flags; or punt, or a drop reason. Reads no byte beyond the packet.
#pragma once

#include "dataplane/path/batch.h"

namespace shunt::dataplane {

// What is neither TCP nor UDP over IP is the kernel's: ARP, ND, ICMP, VLANs, routing protocols. Packets that are
// damaged are dropped whoever they are for.
Verdict parse(Lane& lane) noexcept;

struct Parse {
    void prefetch(Lane& lane) noexcept { __builtin_prefetch(lane.bytes); }
    Verdict apply(Lane& lane) noexcept { return parse(lane); }
};

}  // namespace shunt::dataplane
