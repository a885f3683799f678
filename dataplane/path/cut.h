// Cutting an IPv4 packet that is too long for its way and may be fragmented (RFC 791 section 3.2).
#pragma once

#include <cstdint>

#include "dataplane/path/batch.h"

namespace shunt::dataplane {

// What a packet of `lane.ip_length` bytes becomes where `lane.room` bytes fit: 0 if that is not even a header and 8
// bytes.
std::uint32_t count_pieces(const Lane& lane) noexcept;

// Writes piece `number` (from 0) of `whole` to the buffer that `piece.bytes` points to, which has room for it.
// Everything that was decided for the whole packet is the piece's.
void write_piece(const Lane& whole, std::uint32_t number, Lane& piece) noexcept;

// Cuts `lane` itself down to its first piece; after the others were written.
void keep_first_piece(Lane& lane) noexcept;

}  // namespace shunt::dataplane
