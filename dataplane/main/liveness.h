// Whether this node can serve: the workers' signs of life, what the ports receive, their links, and the tables in use,
// judged every few milliseconds. Pure: time and the state region's blocks are handed in.
//
// A fault counts at once; that it is over only after `hold` without any. What is judged by the clock is judged by the
// time in which this thread ran: if the machine gave neither it nor a worker the time to run, no worker is at fault.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "src/base/index.h"
#include "src/base/stillness.h"
#include "src/base/time.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

struct Signs {
    std::span<const shm::WorkerBlock> workers{};  // those that run; empty before there are any
    std::span<const shm::PortBlock> ports{};
    Generation accepted{};
    bool steered{};  // the ports let through what it serves
};

class Liveness {
  public:
    // A worker that stands still for so long is a fault: so that a stall of 100 ms never is one, and a wedged worker
    // always within 250 ms.
    static constexpr Duration still_limit = Duration::milliseconds(150);
    // When the process ends over it, so that a successor serves its flows (DESIGN section 3).
    static constexpr Duration stall_limit = Duration::seconds(2);
    // The most that one look adds to either.
    static constexpr Duration longest_step = Duration::milliseconds(20);
    // From count to count: packets were steered to a port and none was received. So often in a row is a fault.
    static constexpr std::uint32_t counts_in_vain = 2;
    static constexpr Duration longest_takeover = Duration::seconds(1);

    explicit Liveness(Duration hold) noexcept : hold_(hold) {}

    // Call it every few milliseconds.
    void look(Instant now, const Signs& signs);
    // After the ports were counted, ten times a second.
    void counted(const Signs& signs);
    // The process ends, and serves no more.
    void stop() noexcept { health_ = {.state = shm::NodeHealth::State::unfit, .fault = shm::NodeFault::stopping}; }
    // From now on we take the place of a predecessor that was fit, as planned: so are we, unless a fault shows itself
    // or we do not come to serve in time.
    void inherit(Instant now) noexcept {
        inherited_until_ = now + longest_takeover;
        health_ = {.state = shm::NodeHealth::State::fit, .fault = shm::NodeFault::none};
    }

    const shm::NodeHealth& health() const noexcept { return health_; }
    // The worker that has stood still for longer than `stall_limit`.
    std::optional<WorkerIndex> stalled() const noexcept { return still_for(stall_limit); }

  private:
    struct Worker {
        std::uint64_t heartbeat{};
        Stillness stillness{longest_step};
    };
    struct Port {
        std::uint64_t offered{};
        std::uint64_t taken{};
        std::uint32_t in_vain{};
    };
    struct Fault {
        shm::NodeFault kind{};
        std::uint16_t place{};  // a worker or a port
    };

    std::optional<WorkerIndex> still_for(Duration limit) const noexcept;
    void look_at_workers(Duration since, const Signs& signs);
    Fault find_fault(const Signs& signs) const noexcept;

    Duration hold_;
    Instant last_look_{};
    std::vector<Worker> workers_{};
    std::array<Port, shm::max_ports> ports_{};
    std::optional<Instant> sound_since_{};
    Instant inherited_until_{};
    shm::NodeHealth health_{.state = shm::NodeHealth::State::unfit, .fault = shm::NodeFault::starting};
};

}  // namespace shunt::dataplane
