#include "dataplane/path/cut.h"

#include <cstring>

#include "src/net/checksum.h"

namespace shunt::dataplane {
namespace {

constexpr std::uint8_t copied_option = 0x80;  // RFC 791 section 3.1, "Options"
constexpr std::uint8_t end_of_options = 0;
constexpr std::uint8_t no_operation = 1;

std::uint32_t header_length(const Lane& lane) noexcept {
    return (lane.header_at<Ipv4Header>(lane.l3_offset).version_and_length & 0x0f) * 4U;
}

// Data bytes in every piece but the last. Later pieces have a header no longer than the first one's.
std::uint32_t data_per_piece(const Lane& lane) noexcept {
    const std::uint32_t header = header_length(lane);
    return lane.room > header ? (lane.room - header) & ~7U : 0;
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
        const std::uint32_t size = from[at] == no_operation || at + 1 == end ? 1 : from[at + 1];
        if (size == 0 || at + size > end) break;  // damaged: what follows cannot be read
        if (from[at] & copied_option) {
            std::memcpy(to + length, from + at, size);
            length += size;
        }
        at += size;
    }
    for (; length % 4 != 0; ++length) to[length] = std::byte{end_of_options};
    return length;
}

}  // namespace

std::uint32_t count_pieces(const Lane& lane) noexcept {
    const std::uint32_t data = lane.ip_length - header_length(lane);
    const std::uint32_t each = data_per_piece(lane);
    return each == 0 ? 0 : (data + each - 1) / each;
}

void write_piece(const Lane& whole, std::uint32_t number, Lane& piece) noexcept {
    void* const buffer = piece.buffer;
    std::byte* const bytes = piece.bytes;
    piece = whole;
    piece.buffer = buffer;
    piece.bytes = bytes;
    piece.part = Part::later;
    piece.verdict = Verdict::keep();

    const std::uint32_t whole_header = header_length(whole);
    const std::uint32_t each = data_per_piece(whole);
    const std::uint32_t begin = number * each;
    const std::uint32_t left = whole.ip_length - whole_header - begin;
    const bool last = left <= each;
    const std::uint32_t data = last ? left : each;
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
    lane.verdict = Verdict::keep();
    const std::uint16_t before = lane.header_at<Ipv4Header>(lane.l3_offset).flags_and_offset.host();
    finish(lane, header_length(lane), data_per_piece(lane),
           static_cast<std::uint16_t>((before & ipv4_fragment_offset) | ipv4_more_fragments));
}

}  // namespace shunt::dataplane
