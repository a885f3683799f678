// The packet path on a capture, offline: one worker on ports whose wire is the capture, tables compiled and published
// in this process, and time as the capture tells it.
#pragma once

#include <memory>
#include <vector>

#include "controlplane/publish/in_process.h"
#include "dataplane/ports/capture_port.h"
#include "dataplane/worker.h"
#include "src/base/result.h"
#include "src/config/desired_state.h"

namespace shunt::cli {

class Replay {
  public:
    struct Files {
        std::optional<dataplane::CaptureWriter> out{};
        std::optional<dataplane::CaptureWriter> punt{};
    };

    // `state` is valid and has a port; its ports are taken as they are, whatever their kind. Backends of services with
    // a check are down if they are among `down`.
    static Result<std::unique_ptr<Replay>> make(const config::DesiredState& state, const std::vector<IpAddress>& down,
                                                const HashSeed& site_seed, Files files);

    // One packet at its time; before it, what waits gets the time that passed.
    void take(const dataplane::CaptureReader::Packet& packet);
    // After the last one: time goes on until nothing waits.
    void finish();
    Status close() { return journal_.close(); }

    const std::vector<dataplane::Fate>& fates() const noexcept { return journal_.fates(); }
    shm::Tables tables() const noexcept { return regions_.tables(); }
    std::uint64_t originated() noexcept { return regions_.state().workers()[0].originated.read(); }

  private:
    Replay(const config::DesiredState& state, Files files);
    Status publish(const config::DesiredState& state, const std::vector<IpAddress>& down, const HashSeed& site_seed);
    dataplane::CapturePort* port_of(std::span<const std::byte> packet) noexcept;
    void wait(Duration step);

    std::vector<config::Port> settings_;
    ManualClock clock_{};
    dataplane::CaptureJournal journal_;
    dataplane::MemoryPool pool_;
    std::vector<std::unique_ptr<dataplane::CapturePort>> ports_{};
    controlplane::InProcess regions_;
    dataplane::HandOver hand_over_{1};
    std::unique_ptr<dataplane::Worker<dataplane::CapturePort, ManualClock>> worker_{};
};

}  // namespace shunt::cli
