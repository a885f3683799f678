// The guard: a small nftables table that keeps the kernel from answering for our services, and untranslated replies
// from leaving, whenever no data plane takes the packets away (DESIGN section 7).
//
//  * `input` drops (VIP, protocol, service port or ports): the kernel owns the VIP and would send a RST.
//  * `forward` drops what comes from (NAT backend, protocol, port) and arrived on a port itself, not on the punt
//    device: so what the data plane punted is routed.
// Replies to our own health checks come from the same endpoints, but to an address of this host that is no VIP: they
// pass `input`, and never see `forward`.
//
// The table outlives this process on purpose; only `remove` takes it away.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"
#include "src/net/vip.h"

namespace shunt::controlplane {

// Sets: order and repetition mean nothing to Guard and the scripts.
struct GuardRules {
    std::vector<Vip> listeners{};
    std::vector<Vip> nat_backends{};        // with the port on the wire, or all where packets keep theirs
    std::vector<std::string> interfaces{};  // of the ports; may not exist yet
    bool operator==(const GuardRules&) const = default;
};

// Text for `nft -f -`, each one transaction. Pure.
std::string guard_table_name(std::string_view instance);  // injective: "lb-1" gives "shunt_lb_2d1"
std::string guard_replace_script(std::string_view instance, GuardRules rules);
std::string guard_change_script(std::string_view instance, GuardRules from, GuardRules to);  // "" if nothing changes
std::string guard_remove_script(std::string_view instance);

class Guard {
  public:
    explicit Guard(std::string instance);

    // Makes the kernel's table match: nothing if it already does as far as we know, else only the difference, else
    // (first time, or somebody else touched the table) the whole table; each atomically. Blocks while nft runs: some
    // milliseconds, half a second to write 100,000 endpoints anew. An error leaves the kernel's table as it was.
    Status apply(GuardRules rules);
    // Whether the table is still there: a firewall that is reloaded with `flush ruleset` takes it away in silence.
    // If it is gone the next `apply` puts all of it back.
    Result<bool> present();
    Status remove();

  private:
    std::string instance_;
    std::optional<GuardRules> applied_{};  // what the kernel has, as far as we know
};

}  // namespace shunt::controlplane
