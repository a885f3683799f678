// What the sender of a dropped packet is told: that it was too big, or that its time was over (RFC 792, RFC 1191
// section 4, RFC 4443 sections 3.2 and 3.3).
#pragma once

#include "dataplane/path/batch.h"
#include "src/base/time.h"

namespace shunt::dataplane {

// The most that answers put before a packet.
constexpr std::uint32_t answer_headroom = sizeof(Ipv6Header) + sizeof(IcmpHeader);

// Turns the packet, which is as it came, into the answer that `lane.answer` asks for: from `source` to its sender, back
// to the link address it came from, with `port_mac` as that of its own.
void write_answer(Lane& lane, const IpAddress& source, const MacAddress& port_mac) noexcept;

// How many answers of one kind a worker may give (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 (f)): 1,000 a second,
// 100 at once. One limit for each kind: a flood of packets whose time is over must not silence what path-MTU discovery
// waits for.
class AnswerLimit {
  public:
    static constexpr std::int64_t burst = 100;
    static constexpr Duration each = Duration::milliseconds(1);

    bool take(Instant now) noexcept {
        const Instant full_at = now - each * burst;
        if (spent_until_ < full_at) spent_until_ = full_at;
        if (spent_until_ + each > now) return false;
        spent_until_ = spent_until_ + each;
        return true;
    }

  private:
    Instant spent_until_{-each.nanoseconds * burst};
};

}  // namespace shunt::dataplane
