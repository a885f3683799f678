// What docs/packet_path.md says of flows and of the backends that keep them, as a model for tests.
#pragma once

#include <cstdint>

#include "src/base/time.h"
#include "src/config/desired_state.h"
#include "src/net/headers.h"

namespace shunt::test {

// Of a flow, as one worker sees it.
enum class State : std::uint8_t { embryonic, established, closing, datagram };

// The state after a packet.
inline State next_state(bool tcp, std::uint8_t flags, bool to_backend, State before) {
    if (!tcp) return State::datagram;
    if (to_backend && (flags & (tcp_syn | tcp_ack)) == tcp_syn) return State::embryonic;
    if (flags & (tcp_fin | tcp_rst) || before == State::closing) return State::closing;
    return to_backend ? State::established : before;
}

// A backend as the control plane was told.
struct Machine {
    bool is_there{true};
    bool is_up{true};
    config::BackendState state{config::BackendState::ready};
    std::uint32_t weight{100};
    int incarnation{};  // how often it was removed

    bool takes_flows() const { return is_there && is_up && state == config::BackendState::ready && weight > 0; }
    bool keeps_flows(bool tcp) const {
        if (!is_there || state == config::BackendState::maint) return false;
        return is_up || tcp;
    }
    void remove() {
        is_there = false;
        ++incarnation;
    }
};

// A backend that a flow was given to. It is the flow's as long as it was not removed since.
struct Seat {
    std::size_t backend{};
    int incarnation{};

    bool operator==(const Seat&) const = default;
};

}  // namespace shunt::test
