// Mode gre: generic routing encapsulation, with a key if the service has one (RFC 2784, RFC 2890).
#pragma once

#include "dataplane/modes/outer.h"

namespace shunt::dataplane {

struct Gre {
    static constexpr ForwardingMode id = ForwardingMode::gre;
    static constexpr std::uint32_t headroom = sizeof(Ipv6Header) + sizeof(GreHeader) + sizeof(Be32);
    static constexpr bool names_backend = true;

    static std::uint32_t overhead(const Target& target) noexcept { return outer_size(target) + size(target); }

    static void to_backend(Lane& lane, const Target& target) noexcept {
        const Be16 protocol = inner_ethertype(lane);
        const std::uint32_t offset = wrap(lane, target, protocol_gre, size(target));
        lane.header_at<GreHeader>(offset) = {has_key(target) ? key_present : Be16{}, protocol};
        if (has_key(target)) lane.header_at<Be32>(offset + sizeof(GreHeader)) = target.listener.mode_settings.key;
    }

  private:
    static constexpr Be16 key_present{0x2000};

    static bool has_key(const Target& target) noexcept {
        return (target.listener.mode_settings.flags & shm::ModeSettings::has_key) != 0;
    }
    static std::uint32_t size(const Target& target) noexcept {
        return static_cast<std::uint32_t>(sizeof(GreHeader) + (has_key(target) ? sizeof(Be32) : 0));
    }
};
static_assert(Mode<Gre>);

}  // namespace shunt::dataplane
