// The segment size a SYN announces, made to fit the way (RFC 9293 section 3.7.1): only ever lowered.
#pragma once

#include "dataplane/path/batch.h"

namespace shunt::dataplane {

// `lane` is a TCP packet with its whole header.
void clamp_mss(Lane& lane, std::uint16_t limit) noexcept;

}  // namespace shunt::dataplane
