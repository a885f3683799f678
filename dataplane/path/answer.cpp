#include "dataplane/path/answer.h"

#include <algorithm>
#include <cstring>

#include "dataplane/path/families.h"
#include "src/net/checksum.h"

namespace shunt::dataplane {
namespace {

constexpr std::uint8_t hop_limit = 64;

// RFC 1812 section 4.3.2.3 and RFC 4443 section 2.4 (c): as much of the packet as the answer holds within this.
constexpr std::uint32_t longest(Family family) noexcept { return family == Family::ipv4 ? 576 : 1280; }

IcmpHeader message(const Lane& lane) noexcept {
    const bool v4 = lane.family == Family::ipv4;
    if (lane.answer == Answer::time_exceeded) return {static_cast<std::uint8_t>(v4 ? 11 : 3), 0, 0, Be32{}};
    // RFC 8200 section 5: no IPv6 link takes less than 1280.
    if (!v4) return {2, 0, 0, Be32(std::max<std::uint32_t>(lane.room, 1280))};
    return {3, 4, 0, Be32(lane.room)};
}

// Each returns what the header adds to the checksum of the message behind it (RFC 792: nothing; RFC 8200 section 8.1).
std::uint64_t write_header(Ipv4Header& ip, const IpAddress& source, const IpAddress& sender,
                           std::uint32_t message_size) noexcept {
    ip = {.version_and_length = 0x45,
          .dscp_and_ecn = 0,
          .total_length = Be16(static_cast<std::uint16_t>(sizeof ip + message_size)),
          .identification = Be16{},
          .flags_and_offset = Be16{},
          .hop_limit = hop_limit,
          .protocol = protocol_icmp,
          .checksum = 0,
          .source = source.as_v4(),
          .destination = sender.as_v4()};
    ip.checksum = internet_checksum(&ip, sizeof ip);
    return 0;
}

std::uint64_t write_header(Ipv6Header& ip, const IpAddress& source, const IpAddress& sender,
                           std::uint32_t message_size) noexcept {
    ip = {.version_class_label = Be32(6U << 28),
          .payload_length = Be16(static_cast<std::uint16_t>(message_size)),
          .next_header = protocol_icmpv6,
          .hop_limit = hop_limit,
          .source = source.bytes(),
          .destination = sender.bytes()};
    return sum_bytes(ip.source.data(), 2 * sizeof ip.source) + ip.payload_length.raw + Be16(protocol_icmpv6).raw;
}

}  // namespace

void write_answer(Lane& lane, const IpAddress& source, const MacAddress& port_mac) noexcept {
    const std::uint32_t ip_size = lane.family == Family::ipv4 ? sizeof(Ipv4Header) : sizeof(Ipv6Header);
    const std::uint32_t added = ip_size + static_cast<std::uint32_t>(sizeof(IcmpHeader));
    const std::uint32_t quoted = std::min<std::uint32_t>(lane.ip_length, longest(lane.family) - added);
    const IcmpHeader icmp = message(lane);

    std::byte* const front = lane.bytes - added;
    std::memmove(front, lane.bytes, lane.l3_offset);
    lane.bytes = front;
    lane.ip_length = static_cast<std::uint16_t>(added + quoted);
    lane.length = std::uint32_t{lane.l3_offset} + lane.ip_length;
    auto& ethernet = lane.header_at<EthernetHeader>(0);
    ethernet.destination = ethernet.source;
    ethernet.source = port_mac.bytes;

    const auto message_size = static_cast<std::uint32_t>(sizeof(IcmpHeader)) + quoted;
    const std::uint64_t pseudo = with_family(
        lane, [&](auto, auto& header) { return write_header(header, source, lane.tuple.source, message_size); });
    auto& written = lane.header_at<IcmpHeader>(lane.l3_offset + ip_size);
    written = icmp;
    written.checksum = internet_checksum(&written, message_size, pseudo);
}

}  // namespace shunt::dataplane
