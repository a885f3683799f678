// What workers tell the main thread, which alone writes what all of them read. A full ring loses the news; the next
// packet brings them again.
#pragma once

#include "dataplane/ring.h"
#include "src/base/index.h"
#include "src/net/address.h"

namespace shunt::dataplane {

// The link address of a host on a connected subnet is wanted.
struct NeighbourRequest {
    IpAddress address;
    PortIndex port;
};

// The way to the far end of a tunnel takes no more than this.
struct PathMtuNews {
    IpAddress address;
    std::uint16_t mtu;
};

struct News {
    Ring<NeighbourRequest, 256> neighbours;
    Ring<PathMtuNews, 64> path_mtus;
};

}  // namespace shunt::dataplane
