// The old one's side of a planned upgrade: the process that is to take over, from its start until it is ready or given
// up. While it prepares, nothing here stands still.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "dataplane/main/channel.h"
#include "src/base/result.h"
#include "src/base/time.h"

namespace shunt::dataplane {

// What is handed over: each message with its descriptor, which stays ours.
struct Bequest {
    Message message{};
    int descriptor{-1};
};

// The program of this process; the one that took its place in the file system, if it was replaced.
std::string own_program();

class Successor {
  public:
    // Starts `program` with `arguments` and the option that tells it the channel; it may run where the calling thread
    // may. A program that cannot be executed is an error here.
    static Result<Successor> start(const std::string& program, std::vector<std::string> arguments,
                                   const std::vector<Bequest>& bequests, Instant deadline);

    Successor(Successor&&) noexcept = default;
    Successor& operator=(Successor&&) noexcept = default;

    enum class Progress : std::uint8_t { preparing, ready, failed };
    // Looks what it has said meanwhile; one that ends must be waited for first.
    Progress look(Instant now);
    // Once it is ready: it works on with our sockets, or wants them closed.
    bool wants_sockets() const noexcept { return wants_sockets_; }
    // Once it failed; a sentence.
    const std::string& failure() const noexcept { return failure_; }

    // Our workers stand still: waits until its workers run. False: they do not.
    bool hand_over(const Message& stopped);
    // Ends it, if it lives. It is gone a little later.
    void kill() noexcept;
    bool is_gone() noexcept;
    void wait_until_gone() noexcept;
    pid_t pid() const noexcept { return pid_; }

  private:
    Successor(pid_t pid, std::string program, Channel channel, Instant deadline)
        : pid_(pid), program_(std::move(program)), channel_(std::move(channel)), deadline_(deadline) {}
    Progress fail(std::string sentence);
    std::string how_it_ended() const;

    pid_t pid_{-1};  // until it was reaped, nobody else has this number
    std::optional<int> status_{};
    std::string program_;
    Channel channel_;
    Instant deadline_;
    bool wants_sockets_{};
    std::string failure_{};
};

}  // namespace shunt::dataplane
