// One reading of the kernel's tables over rtnetlink: links, addresses, routes and rules, each dumped whole. Does not
// block.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "controlplane/network/best_routes.h"
#include "controlplane/network/snapshot.h"
#include "src/base/result.h"

struct nl_object;
struct nl_sock;

namespace shunt::controlplane {

class KernelReading {
  public:
    // Asks for the first table.
    static Result<std::unique_ptr<KernelReading>> start(std::size_t route_limit);
    ~KernelReading();
    KernelReading(const KernelReading&) = delete;
    KernelReading& operator=(const KernelReading&) = delete;

    int fd() const noexcept;  // readable: call `advance`
    // Takes a bounded number of answers. True once everything is read; then `take` has it.
    Result<bool> advance();
    NetworkSnapshot take();
    // A table changed while it was dumped: what was read may be of two minds.
    bool was_interrupted() const noexcept { return interrupted_; }

  private:
    KernelReading(std::size_t route_limit, nl_sock* socket) noexcept;
    Status request();                                   // asks for the table of `step_`
    Result<bool> take_message(const nlmsghdr& header);  // true: the table is complete
    void take_object(nl_object* object);
    void take_link(nl_object* object);
    void take_address(nl_object* object);
    void take_route(nl_object* object);
    void take_rule(nl_object* object);

    std::size_t route_limit_;
    nl_sock* socket_;
    std::size_t step_{};
    bool interrupted_{};
    NetworkSnapshot snapshot_{};
    std::vector<CandidateRoute> candidates_{};
    std::vector<std::uint8_t> buffer_;
};

}  // namespace shunt::controlplane
