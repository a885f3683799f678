// A host that the kernel can resolve to a link address: an address on a link.
#pragma once

#include <compare>

#include "src/net/address.h"

namespace shunt::dataplane {

struct Neighbour {
    IpAddress address;
    int interface {};  // the kernel's index

    friend auto operator<=>(const Neighbour&, const Neighbour&) noexcept = default;
};

}  // namespace shunt::dataplane
