#include "tests/bench/traffic.h"

#include <algorithm>
#include <stdexcept>

namespace shunt::bench {
namespace {

template <class T>
T load(const std::byte* from) noexcept {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

std::uint32_t last_word(const IpAddress& address) {
    const auto word = load<std::uint32_t>(reinterpret_cast<const std::byte*>(address.bytes().data()) + 12);
    if (word >> 16 != 0) throw std::invalid_argument("the first address ends in zeros");
    return word;
}

}  // namespace

Template Template::of(const test::Packet& packet, std::uint32_t frame_length) {
    test::Packet padded = packet;
    padded.payload.clear();
    padded.payload.assign(frame_length - padded.build().size(), 'x');
    const test::Bytes frame = padded.build();
    const bool v4 = packet.source.is_v4();
    constexpr auto l3 = sizeof(EthernetHeader);

    Template made;
    std::copy_n(frame.begin(), std::min(frame.size(), bytes), made.head.begin());
    made.length = frame_length;
    made.client = last_word(packet.source);
    made.service = last_word(packet.destination) | std::uint64_t{Be16(packet.destination_port).raw} << 48;
    made.ports = 0xffff;
    made.source_at = static_cast<std::uint16_t>(v4 ? l3 + offsetof(Ipv4Header, source) : l3 + 20);
    made.destination_at = static_cast<std::uint16_t>(v4 ? l3 + offsetof(Ipv4Header, destination) : l3 + 36);
    made.checksum_at = static_cast<std::uint16_t>(v4 ? l3 + offsetof(Ipv4Header, checksum) : made.destination_at + 4U);
    if (v4) {
        made.checksum = load<Ipv4Header>(made.head.data() + l3).checksum;
    }
    return made;
}

Template Template::to_many_services() const {
    Template made = *this;
    made.service_host = byte_swap(std::uint32_t{0xff});
    made.ports |= std::uint32_t{Be16(0xf).raw} << 16;
    return made;
}

std::uint32_t Traffic::longest() const noexcept {
    std::uint32_t longest = 0;
    for (const Template& t : templates) longest = std::max(longest, t.length);
    return longest;
}

Traffic small_packets(const test::Packet& packet, std::uint32_t flows) {
    return {.templates = {Template::of(packet, packet.source.is_v4() ? 64 : 78)}, .flows = flows};
}

}  // namespace shunt::bench
