// What is checked, and what a check said: plain values between the health machine (pure), the probers (sockets) and the
// deciding core.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "src/base/index.h"
#include "src/base/time.h"
#include "src/config/desired_state.h"
#include "src/net/address.h"

namespace shunt::controlplane {

// One probe target with all that decides its verdict. Two services that ask the same of the same address share it.
struct CheckSpec {
    IpAddress address{};
    config::Check check{};  // `port` is always set: the port that is probed

    std::string text() const;  // "http 198.18.2.11:80 /healthz"
    bool operator==(const CheckSpec&) const = default;
};

// The check of a backend whose port on the wire is `wire_port`; the check's own port wins.
CheckSpec check_spec(const IpAddress& address, std::uint16_t wire_port, const config::Check& check);

using CheckId = Index<struct CheckTag, std::uint64_t>;  // from 1, never reused

enum class Outcome : std::uint8_t {
    ok,
    refused,         // RST in answer to the SYN
    timeout,         // no verdict within the deadline, whatever trickled in
    reset,           // the connection broke, or ended before the reply did
    unreachable,     // no route, or an ICMP error
    bad_status,      // a complete HTTP header with a status that is not wanted
    protocol_error,  // not HTTP, or a header over its limit
    not_run,         // our own fault (descriptors, memory, source address): says nothing about the backend
};
std::string_view to_string(Outcome outcome) noexcept;  // "ok", "refused", …

struct ProbeRequest {
    CheckId id{};
    CheckSpec spec{};
    Duration lag{};  // how much later than planned it starts
};

struct ProbeResult {
    CheckId id{};
    Outcome outcome{Outcome::ok};
    std::string text{};   // for people: "HTTP 503", "connection refused", "no answer within 800 ms"
    Instant finished{};   // when the verdict was there
    Duration duration{};  // from the first byte sent until then
};

}  // namespace shunt::controlplane
