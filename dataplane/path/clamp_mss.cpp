#include "dataplane/path/clamp_mss.h"

#include "src/net/checksum.h"

namespace shunt::dataplane {
namespace {

constexpr std::uint8_t end_of_options = 0;
constexpr std::uint8_t no_operation = 1;
constexpr std::uint8_t segment_size = 2;
constexpr std::uint32_t segment_size_length = 4;

// Where the announced size stands, from the TCP header; 0 if it is not announced, or the options are damaged.
std::uint32_t find_segment_size(const Lane& lane, std::uint32_t end) noexcept {
    const auto byte = [&](std::uint32_t at) { return lane.header_at<std::uint8_t>(lane.l4_offset + at); };
    for (std::uint32_t at = sizeof(TcpHeader); at + 1 < end;) {
        const std::uint8_t kind = byte(at);
        if (kind == end_of_options) return 0;
        if (kind == no_operation) {
            ++at;
            continue;
        }
        const std::uint8_t length = byte(at + 1);
        if (length < 2 || at + length > end) return 0;
        if (kind == segment_size) return length == segment_size_length ? at + 2 : 0;
        at += length;
    }
    return 0;
}

}  // namespace

void clamp_mss(Lane& lane, std::uint16_t limit) noexcept {
    auto& tcp = lane.header_at<TcpHeader>(lane.l4_offset);
    const std::uint32_t at = find_segment_size(lane, (tcp.data_offset >> 4) * 4U);
    if (at == 0) return;
    auto& announced = lane.header_at<Be16>(lane.l4_offset + at);
    if (announced.host() <= limit) return;
    const Be16 clamped(limit);
    ChecksumDelta delta;
    // At an odd place its bytes stand in the other halves of the words that are summed.
    const auto as_summed = [at](Be16 word) { return at % 2 == 0 ? word.raw : byte_swap(word.raw); };
    delta.replace(as_summed(announced), as_summed(clamped));
    tcp.checksum = delta.apply(tcp.checksum);
    announced = clamped;
}

}  // namespace shunt::dataplane
