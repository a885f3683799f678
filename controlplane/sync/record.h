// A flow as nodes tell each other: by addresses alone. Ids mean something only where they were given.
#pragma once

#include <cstdint>

#include "src/net/address.h"
#include "src/shm/layout.h"

namespace shunt::controlplane::sync {

struct FlowRecord {
    IpAddress client{};
    IpAddress vip{};
    IpAddress backend{};  // all three of one family
    Be16 client_port{};
    Be16 vip_port{};
    Be16 backend_port{};  // on the wire; 0: the backend's packets keep their own
    Protocol protocol{};
    shm::FlowState state{};
    std::uint32_t idle{};  // ticks since its last packet
    bool operator==(const FlowRecord&) const = default;
};

}  // namespace shunt::controlplane::sync
