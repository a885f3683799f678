// Mode vxlan: an Ethernet frame in UDP (RFC 7348).
#pragma once

#include "dataplane/modes/outer.h"

namespace shunt::dataplane {

struct Vxlan {
    static constexpr ForwardingMode id = ForwardingMode::vxlan;
    static constexpr std::uint32_t size = sizeof(VxlanHeader) + sizeof(EthernetHeader);
    static constexpr std::uint32_t headroom = UdpTunnel::headroom + size;
    static constexpr bool names_backend = true;

    static std::uint32_t overhead(const Target& target) noexcept { return UdpTunnel::overhead(target) + size; }

    static void to_backend(Lane& lane, const Target& target) noexcept {
        const shm::ModeSettings& settings = target.listener.mode_settings;
        const Be16 type = inner_ethertype(lane);
        const std::uint32_t offset = UdpTunnel::wrap(lane, target, size);
        lane.header_at<VxlanHeader>(offset) = {network_present, Be32(settings.key.host() << 8)};
        lane.header_at<EthernetHeader>(offset + sizeof(VxlanHeader)) = {settings.inner_mac.bytes, target.port_mac.bytes,
                                                                        type};
        UdpTunnel::seal(lane, target);
    }

  private:
    static constexpr Be32 network_present{0x08000000};
};
static_assert(Mode<Vxlan>);

}  // namespace shunt::dataplane
