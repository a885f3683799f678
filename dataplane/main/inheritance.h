// The successor's side of a planned upgrade: what the data plane that runs hands over, and the moment from which on it
// is ours.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "dataplane/main/channel.h"
#include "src/base/result.h"

namespace shunt::dataplane {

class Inheritance {
  public:
    // Reads what comes over the channel at this descriptor, and sees to it that this process does not outlive its
    // predecessor before it has taken over.
    static Result<Inheritance> read(int channel);

    xdp::Descriptor instance_lock{}, state_lock{};
    std::map<int, xdp::Descriptor> interface_locks{};  // by the kernel's index

    struct PacketMemory {
        xdp::FrameShape shape{};
        xdp::Descriptor file{};
    };
    std::vector<PacketMemory> frames{};  // by worker
    using Sockets = std::map<std::pair<int, std::uint32_t>, xdp::Descriptor>;
    Sockets sockets{};  // by interface and queue

    // Do they serve just these interfaces for so many workers, with packet memory of this shape? Else new ones are
    // opened when the predecessor has given up its own.
    bool fits(const std::vector<int>& interfaces, std::uint16_t workers, const xdp::FrameShape& shape) const;

    struct Stopped {
        std::uint64_t request{};
        Instant at{};
        bool keeps_sockets{};  // they may be worked on; else they are closed
        bool was_fit{};        // keepalived was told so
    };
    // Says that all is prepared and waits until the predecessor has stopped.
    Result<Stopped> take_over(bool wants_sockets);
    void say_forwarding(Instant at);
    void refuse(const Error& error);

  private:
    Channel channel_{};
    bool over_{};  // there is nothing to refuse any more
};

}  // namespace shunt::dataplane
