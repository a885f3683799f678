// How much the way to a tunnel's far end takes, where a too-big error said that it is less than the next hop does (RFC
// 1191 section 6.3, RFC 8201 section 4). In the state region: workers read, the main thread alone writes; what was
// learnt is forgotten after ten minutes.
#pragma once

#include <optional>
#include <span>

#include "src/base/time.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

class PathMtus {
  public:
    static constexpr Duration memory = Duration::seconds(600);
    // What no error is believed below: Linux's bound for IPv4, RFC 8200 section 5 for IPv6.
    static constexpr std::uint16_t least(Family family) noexcept { return family == Family::ipv4 ? 552 : 1280; }

    PathMtus() = default;
    PathMtus(std::span<shm::PathMtuSlot> slots, shm::Counter& known) noexcept : slots_(slots), known_(&known) {}

    bool any_known() const noexcept { return known_->read() != 0; }
    // Nothing: no less than the next hop takes, as far as is known.
    std::optional<std::uint16_t> find(const IpAddress& address, Tick now) const noexcept;
    // The main thread's side. An error never raises what is known. When there is no room it is not remembered.
    void lower(const IpAddress& address, std::uint16_t mtu, Tick now) noexcept;
    // Clears what is forgotten: workers need not look when nothing is known, and a tick comes again after 48 days.
    void tidy(Tick now) noexcept;

  private:
    shm::PathMtuSlot& slot(const IpAddress& address, std::uint32_t probe) const noexcept;
    std::span<shm::PathMtuSlot> slots_;
    shm::Counter* known_{};  // how many slots are in use, or more
};

}  // namespace shunt::dataplane
