// The way out: routes and static next hops as tries, and the next hops they lead to.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "controlplane/compile/book.h"
#include "controlplane/compile/image.h"
#include "controlplane/compile/network_view.h"
#include "src/base/result.h"
#include "src/config/desired_state.h"

namespace shunt::controlplane {

class NextHops {
  public:
    // Takes the numbers of the next hops that routes lead to. A static next hop has a route to itself and to its
    // prefixes; it wins over the kernel's route to the same prefix, and an address of this host over both.
    static Result<NextHops> make(const std::shared_ptr<const NetworkView>& view, const config::DesiredState& state,
                                 Book& book, Instant now);
    bool made_of(const std::shared_ptr<const NetworkView>& view, const config::DesiredState& state) const;

    // The next hop of a backend: its own where it is on-link, so that its link address is followed; 0 if no route
    // leads there.
    Result<NextHopIndex> to_backend(const IpAddress& backend, Book& book, Instant now) const;

    shm::NextHopRecord record(const Hop& hop, std::uint16_t version) const;
    // Those that routes lead to.
    const std::unordered_map<std::uint32_t, Hop>& of_routes() const noexcept { return of_routes_; }
    const SharedVector<shm::TrieNode>& trie(Family family) const noexcept { return family == Family::ipv4 ? v4_ : v6_; }
    const NetworkView& view() const noexcept;

  private:
    struct Draft;

    // As the kernel, or the configuration of a capture port, says.
    std::optional<std::uint16_t> known_mtu(PortIndex port) const;

    std::shared_ptr<const NetworkView> view_{};
    std::vector<config::Port> ports_{};
    std::vector<config::NextHop> statics_{};
    std::vector<Hop> static_hops_{};  // of statics_
    std::unordered_map<std::uint32_t, Hop> of_routes_{};
    SharedVector<shm::TrieNode> v4_{}, v6_{};
};

}  // namespace shunt::controlplane
