// What a data plane and its successor say to each other while both live, over a socket of their own: messages of one
// size, some with a descriptor.
//
//   old -> new   what is handed over, a message each, and `all` at its end; nothing of it changes hands yet
//   new -> old   ready, or refused with a sentence
//   old -> new   stopped: its workers are; from here on the new one is the data plane
//   new -> old   forwarding: its workers are running
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "dataplane/xdp/descriptor.h"
#include "dataplane/xdp/frames.h"
#include "src/base/result.h"
#include "src/base/time.h"

namespace shunt::dataplane {

struct Message {
    enum class Kind : std::uint32_t {
        none = 0,
        instance_lock,
        state_lock,
        interface_lock,  // `interface`
        frames,          // `worker`, `shape`
        socket,          // `interface`, `worker`
        all,             // `number`: the version of this protocol
        ready,
        refused,     // `text`
        stopped,     // `number`: of the request; `at`: when they were told to; `keeps_sockets`, `was_fit`
        forwarding,  // `at`: when all of them were
    };
    Kind kind{};
    std::int32_t interface {};
    std::uint32_t worker{};
    xdp::FrameShape shape{};
    std::uint32_t keeps_sockets{};
    std::uint32_t was_fit{};  // keepalived was told so
    std::uint64_t number{};
    std::int64_t at{};  // CLOCK_MONOTONIC, ns
    std::array<char, 192> text{};

    void set_text(const std::string& sentence) { sentence.copy(text.data(), text.size() - 1); }
};
constexpr std::uint64_t hand_over_protocol = 1;

struct Received {
    Message message{};
    xdp::Descriptor descriptor{};
};

class Channel {
  public:
    Channel() = default;
    explicit Channel(xdp::Descriptor socket) noexcept : socket_(std::move(socket)) {}
    // Our end and the other's; both are closed in a program that is executed.
    static Result<std::pair<Channel, xdp::Descriptor>> open();

    // False: the other end is gone.
    bool send(const Message& message, int descriptor = -1) const noexcept;
    // Nothing: none came in this time, or the other end is gone.
    std::optional<Received> receive(Duration patience) noexcept;
    // The other end is gone.
    bool closed() const noexcept { return closed_; }
    int get() const noexcept { return socket_.get(); }

  private:
    xdp::Descriptor socket_{};
    bool closed_{};
};

}  // namespace shunt::dataplane
