// The link addresses of next hops and of clients on connected subnets, as the kernel knows them.
//
// The data plane resolves nothing itself: it asks the kernel to, and listens. Next hops are *managed* neighbours: the
// kernel resolves them and keeps them so, traffic or not. What was asked is asked again, at once or a second later,
// when the kernel forgot it (it does when a link loses its carrier, and when its table overflows) and when a link comes
// back. A predecessor's requests are known as ours (NDA_PROTOCOL) and ended if they are no longer wanted.
//
// Neighbours that the administrator fixed are never asked for: the kernel would take such a request as an order to
// forget the fixed address. In the moment between their appearance and our hearing of it, this cannot be excluded.
//
// For one thread, which polls fd() and calls process() when it is readable, once at the start, and about once a second
// besides. Nothing blocks. Needs CAP_NET_ADMIN.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "dataplane/neighbours/neighbour.h"
#include "dataplane/neighbours/netlink.h"
#include "src/base/result.h"
#include "src/base/time.h"
#include "src/net/address.h"

namespace shunt::dataplane {

class Neighbours {
  public:
    // Called by process() whenever a link address appears, changes or goes, of whichever neighbour.
    using OnChange = std::function<void(const Neighbour&, const std::optional<MacAddress>&)>;

    static Result<Neighbours> open(OnChange on_change);

    // Ends what a predecessor asked for: nothing is kept resolved for us any more.
    static Status release_all();

    int fd() const noexcept { return netlink_.fd(); }

    // Hears what changed and asks again for what was lost. An error says what could not be asked or heard; everything
    // else is done all the same, and the next call tries again.
    Status process(Instant now);

    // From the next process() on these are kept resolved, and no others: those of an earlier call no more.
    void watch(std::span<const Neighbour> wanted);

    // Has one neighbour resolved now, and once; for as long as it is used, say so again every few seconds.
    Status request(const Neighbour& neighbour);

    // What on_change said last.
    std::optional<MacAddress> find(const Neighbour& neighbour) const;

  private:
    struct Known {
        std::optional<MacAddress> mac;
        bool fixed{};
        bool managed{};
        bool ours{};
    };

    Neighbours(Netlink netlink, OnChange on_change) : netlink_(std::move(netlink)), on_change_(std::move(on_change)) {}

    Status list_all();
    void take(const NeighbourReport& report);
    void take(const LinkReport& report);
    void forget(std::map<Neighbour, Known>::iterator known);
    bool is_kept(const Neighbour& neighbour) const;
    Status ask(Instant now);
    Status release();

    static constexpr Duration ask_again_after = Duration::seconds(1);

    Netlink netlink_;
    OnChange on_change_;
    std::map<Neighbour, Known> known_;
    std::map<Neighbour, Instant> wanted_;  // not to be asked for before
    std::set<Neighbour> unasked_;          // wanted, but the kernel does not keep them
    std::set<Neighbour> afresh_;           // of these: the kernel may be waiting for what the link swallowed
    std::set<int> links_up_;
    bool stale_{true};     // known_ may differ from the kernel's table
    bool releases_{true};  // known_ may hold neighbours that are kept for us in vain
};

}  // namespace shunt::dataplane
