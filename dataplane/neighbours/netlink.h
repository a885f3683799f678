// The few netlink messages that Neighbours speaks and hears, through libnl. Messages are built by hand where libnl 3.7
// does not know the attribute (NDA_FLAGS_EXT, NDA_PROTOCOL).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <variant>

#include "dataplane/neighbours/neighbour.h"
#include "src/base/result.h"
#include "src/net/address.h"

struct nl_sock;

namespace shunt::dataplane {

// Flags of the kernel's, as one word: ndm_flags below, NDA_FLAGS_EXT << 8 above (the kernel's own way).
constexpr std::uint32_t neighbour_use = 1U << 0;      // NTF_USE: resolve now
constexpr std::uint32_t neighbour_managed = 1U << 8;  // NTF_EXT_MANAGED: keep resolved

// What the kernel says about one neighbour.
struct NeighbourReport {
    Neighbour neighbour;
    bool gone{};
    bool fixed{};                   // by its administrator or by its kind (PERMANENT, NOARP): never resolved
    bool managed{};                 // the kernel keeps it resolved
    bool ours{};                    // we asked for that, or a predecessor did
    std::optional<MacAddress> mac;  // only in a usable state
};

struct LinkReport {
    int interface {};
    bool up{};  // the other end is there
};

using Report = std::variant<NeighbourReport, LinkReport>;
using Heard = std::function<void(const Report&)>;

class Netlink {
  public:
    static Result<Netlink> open();

    int fd() const noexcept;  // readable when there is something to hear

    enum class Hearing { all, overrun };  // overrun: the kernel had more to say than fitted, and threw some away
    // Everything said since the last call.
    Result<Hearing> hear(const Heard& heard);
    // Every neighbour there is now.
    Status list(const Heard& heard);
    // Asks the kernel for one thing about one neighbour, and waits for its answer, which comes at once.
    Status set(const Neighbour& neighbour, std::uint32_t flags, bool create);
    // Has the kernel give up what it knows of a neighbour, or tries to find out.
    Status forget(const Neighbour& neighbour);

  private:
    struct Close {
        void operator()(nl_sock* socket) const noexcept;
    };
    using Socket = std::unique_ptr<nl_sock, Close>;

    Netlink(Socket events, Socket requests) : events_(std::move(events)), requests_(std::move(requests)) {}

    // RTM_NEWNEIGH or RTM_DELNEIGH; an NLE_* number, negative, if it was refused.
    int request(const Neighbour& neighbour, int type, int how, std::uint32_t flags);

    Socket events_;    // non-blocking
    Socket requests_;  // blocking
};

}  // namespace shunt::dataplane
