// VLAN tags of a frame as its next hop wants them (IEEE 802.1Q, 802.1ad).
#pragma once

#include <array>
#include <cstring>

#include "dataplane/path/batch.h"

namespace shunt::dataplane {

constexpr std::uint32_t tags_headroom = 2 * sizeof(VlanTag);

// Replaces the tags the frame came with by `tags`, outermost first, 0 for none. The priority of the old outer tag
// stays.
inline void set_tags(Lane& lane, const std::array<std::uint16_t, 2>& tags) noexcept {
    constexpr std::uint32_t addresses = offsetof(EthernetHeader, type);
    const std::uint32_t count = tags[0] == 0 ? 0 : tags[1] == 0 ? 1 : 2;
    const Be16 type = lane.header_at<Be16>(lane.l3_offset - 2U);
    const bool was_tagged = lane.l3_offset > sizeof(EthernetHeader);
    const std::uint16_t priority =
        was_tagged ? lane.header_at<VlanTag>(sizeof(EthernetHeader)).control.host() & 0xf000 : 0;
    const auto size = static_cast<std::uint16_t>(sizeof(EthernetHeader) + count * sizeof(VlanTag));

    lane.bytes += lane.l3_offset - size;
    lane.length = lane.length + size - lane.l3_offset;
    lane.l3_offset = size;
    std::uint32_t at = addresses;
    for (std::uint32_t i = 0; i < count; ++i) {
        lane.header_at<Be16>(at) = count == 2 && i == 0 ? ethertype_service : ethertype_vlan;
        lane.header_at<Be16>(at + 2) = Be16(static_cast<std::uint16_t>(tags[i] | (i == 0 ? priority : 0)));
        at += sizeof(VlanTag);
    }
    lane.header_at<Be16>(at) = type;
}

}  // namespace shunt::dataplane
