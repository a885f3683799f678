// What the balancer of a benchmark is configured to do.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "src/config/desired_state.h"
#include "tests/bench/traffic.h"

namespace shunt::bench {

// The mode and family of a case: "nat4", "nat6", "ipip4", …
struct Kind {
    std::string_view mode;
    Family family{Family::ipv4};
};

inline constexpr std::array<std::pair<const char*, Kind>, 5> kinds{{{"nat4", {"nat", Family::ipv4}},
                                                                    {"nat6", {"nat", Family::ipv6}},
                                                                    {"ipip4", {"ipip", Family::ipv4}},
                                                                    {"gue4", {"gue", Family::ipv4}},
                                                                    {"direct4", {"direct", Family::ipv4}}}};

// One service of 20 backends, and what its clients send.
config::DesiredState one_service(const Kind& kind);
Traffic established(const Kind& kind, std::uint32_t flows);
// The same, every packet a SYN.
Traffic opening(const Kind& kind, std::uint32_t flows);

// 4,096 services on 256 addresses and 16 ports, ten backends each, UDP without flows.
config::DesiredState stateless_services();
Traffic stateless_packets();

// Ten services of 20 backends: 80 % TCP and 20 % UDP, IPv4 and IPv6 half and half.
config::DesiredState mixed_services();
// Frames of 64 (78), 590 and 1514 bytes, 7 : 4 : 1.
Traffic mixed_packets(std::uint32_t flows);

}  // namespace shunt::bench
