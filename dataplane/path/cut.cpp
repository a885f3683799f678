#include "dataplane/path/cut.h"

#include <array>
#include <cstring>

#include "src/net/checksum.h"

namespace shunt::dataplane {
namespace {

constexpr std::uint8_t copied_option = 0x80;  // RFC 791 section 3.1, "Options"
constexpr std::uint8_t end_of_options = 0;
constexpr std::uint8_t no_operation = 1;
constexpr std::size_t longest_header = 60;

std::uint32_t header_length(const Lane& lane) noexcept {
    return (lane.header_at<Ipv4Header>(lane.l3_offset).version_and_length & 0x0f) * 4U;
}

void finish(Lane& piece, std::uint32_t header, std::uint32_t data, std::uint16_t fragment) noexcept {
    auto& ip = piece.header_at<Ipv4Header>(piece.l3_offset);
    piece.ip_length = static_cast<std::uint16_t>(header + data);
    piece.length = piece.l3_offset + header + data;
    ip.version_and_length = static_cast<std::uint8_t>(0x40 | header / 4);
    ip.total_length = Be16(piece.ip_length);
    ip.flags_and_offset = Be16(fragment);
    ip.checksum = 0;
    ip.checksum = internet_checksum(&ip, header);
}

// Copies the fixed header and those options that every fragment carries, padded to whole words. Returns its length.
std::uint32_t copy_header(const Lane& whole, std::byte* to) noexcept {
    const auto* from = reinterpret_cast<const std::uint8_t*>(whole.bytes + whole.l3_offset);
    const std::uint32_t end = header_length(whole);
    std::memcpy(to, from, sizeof(Ipv4Header));
    std::uint32_t length = sizeof(Ipv4Header);
    for (std::uint32_t at = sizeof(Ipv4Header); at < end && from[at] != end_of_options;) {
        const bool single = from[at] == no_operation;
        const std::uint32_t size = single ? 1 : at + 1 < end ? from[at + 1] : 0;
        if ((!single && size < 2) || at + size > end) break;  // damaged: what follows cannot be read
        if (from[at] & copied_option) {
            std::memcpy(to + length, from + at, size);
            length += size;
        }
        at += size;
    }
    for (; length % 4 != 0; ++length) to[length] = std::byte{end_of_options};
    return length;
}

// Bytes of data in the pieces. All but the last hold a multiple of 8; later ones may have a shorter header.
struct Portions {
    std::uint32_t first;
    std::uint32_t middle;
    std::uint32_t longest_last;

    std::uint32_t begin_of(std::uint32_t piece) const noexcept { return piece == 0 ? 0 : first + (piece - 1) * middle; }
};

Portions portions_of(const Lane& lane) noexcept {
    std::array<std::byte, longest_header> later_header;
    const auto room_behind = [&lane](std::uint32_t header) { return lane.room > header ? lane.room - header : 0U; };
    const std::uint32_t first = room_behind(header_length(lane));
    const std::uint32_t later = room_behind(copy_header(lane, later_header.data()));
    return {first & ~7U, later & ~7U, later};
}

}  // namespace

std::uint32_t count_pieces(const Lane& lane) noexcept {
    const Portions portions = portions_of(lane);
    if (portions.first == 0) return 0;
    const std::uint32_t left = lane.ip_length - header_length(lane) - portions.first;
    if (left <= portions.longest_last) return 2;
    return 2 + (left - portions.longest_last + portions.middle - 1) / portions.middle;
}

void write_piece(const Lane& whole, std::uint32_t number, Lane& piece) noexcept {
    void* const buffer = piece.buffer;
    std::byte* const bytes = piece.bytes;
    piece = whole;
    piece.buffer = buffer;
    piece.bytes = bytes;
    piece.part = Part::later;
    piece.plain = false;
    piece.tcp_flags = 0;  // its header is in the first piece
    piece.verdict = Verdict::keep();

    const std::uint32_t whole_header = header_length(whole);
    const Portions portions = portions_of(whole);
    const std::uint32_t begin = portions.begin_of(number);
    const std::uint32_t left = whole.ip_length - whole_header - begin;
    const bool last = left <= portions.longest_last;
    const std::uint32_t data = last ? left : portions.middle;
    std::memcpy(bytes, whole.bytes, whole.l3_offset);
    const std::uint32_t header = copy_header(whole, bytes + whole.l3_offset);
    std::memcpy(bytes + whole.l3_offset + header, whole.bytes + whole.l3_offset + whole_header + begin, data);

    const std::uint16_t before = whole.header_at<Ipv4Header>(whole.l3_offset).flags_and_offset.host();
    const std::uint32_t offset = (before & ipv4_fragment_offset) + begin / 8;
    const std::uint32_t more = last ? before & ipv4_more_fragments : ipv4_more_fragments;
    finish(piece, header, data, static_cast<std::uint16_t>(offset | more));
}

void keep_first_piece(Lane& lane) noexcept {
    if (lane.part == Part::whole) lane.part = Part::first;
    lane.plain = false;
    lane.verdict = Verdict::keep();
    const std::uint16_t before = lane.header_at<Ipv4Header>(lane.l3_offset).flags_and_offset.host();
    finish(lane, header_length(lane), portions_of(lane).first,
           static_cast<std::uint16_t>((before & ipv4_fragment_offset) | ipv4_more_fragments));
}

}  // namespace shunt::dataplane
