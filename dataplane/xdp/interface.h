// What an af_xdp port asks of its kernel interface before anything is attached to it.
//
// Every refusal says what is wrong and which command helps. The errors carry no file and line: the caller, who has read
// the configuration, adds them. All of this looks at the network namespace of the calling thread.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/xdp/descriptor.h"
#include "src/base/result.h"
#include "src/net/address.h"

namespace shunt::dataplane::xdp {

// The remedy wherever the kernel says no. Finding an attached program's maps by their ids needs CAP_SYS_ADMIN.
inline constexpr char needed_rights[] =
    "run it as root, or with the capabilities CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF and CAP_SYS_ADMIN";

struct Interface {
    std::string name;
    int index{};
    MacAddress mac;
    std::uint32_t mtu{};  // bytes of an IP packet
};

// Fails, listing the interfaces there are, when there is none of that name, or when it is no Ethernet.
Result<Interface> find_interface(const std::string& name);

// A port owns all receive queues of its device: a packet that arrived on another queue would find no worker.
Status require_queues(const Interface& interface, std::uint32_t queues);

// Switches receive VLAN offload (XDP would lose the tag) and LRO (XDP would see frames larger than its buffers) off.
Status prepare_offloads(const Interface& interface);

// One data plane per interface, whatever its run directory: a name in the network namespace that dies with its holder.
class InterfaceLock {
  public:
    static Result<InterfaceLock> take(const Interface& interface);
    // By the descriptor of somebody who holds it.
    explicit InterfaceLock(Descriptor socket) noexcept : socket_(std::move(socket)) {}
    int descriptor() const noexcept { return socket_.get(); }

  private:
    Descriptor socket_;
};

}  // namespace shunt::dataplane::xdp
