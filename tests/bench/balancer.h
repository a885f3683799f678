// A balancer of one worker on a port of a benchmark: compiled, published and accepted tables, regions on huge pages,
// and time that passes as if ten million packets arrived in a second.
#pragma once

#include <memory>
#include <stdexcept>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/in_process.h"
#include "dataplane/worker.h"
#include "tests/bench/measure.h"

namespace shunt::bench {

constexpr HashSeed flow_seed{{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0x2545f4914f6cdd1d}};
constexpr HashSeed site_seed{{0xd1342543de82ef95, 0xaf251af3b0f025b5, 0xb564ef22ec7aece5, 0xf7c2ebc08f67f2b5}};
constexpr Duration burst_at_ten_million{3200};

// Throws CannotRun if the machine has not as much memory available.
void need_memory(std::uint64_t bytes);

template <dataplane::Port P>
class Balancer : public Loop {
  public:
    // `shape`: of one worker. Takes the arguments of the port.
    template <class... PortArguments>
    Balancer(config::DesiredState desired, const shm::StateShape& shape, PortArguments&&... port)
        : state_(std::move(desired)), port_(std::forward<PortArguments>(port)...), regions_(regions(shape)) {
        publish();
        worker_ = std::make_unique<dataplane::Worker<P, ManualClock>>(
            regions_->tables_region(), regions_->state(), WorkerIndex(0), std::vector{&port_}, clock_, hand_over_);
    }

    void run(std::uint32_t bursts) noexcept override {
        for (std::uint32_t i = 0; i < bursts; ++i) {
            worker_->poll_once();
            clock_.advance(burst_lasts);
        }
    }
    std::uint64_t received() const noexcept override { return port_.received(); }
    std::uint64_t sent() const noexcept override { return port_.sent(); }

    // What is configured now, from the next poll on.
    void publish() {
        const auto image =
            compiler_.compile({.state = state_, .network = network_, .site_seed = site_seed, .now = clock_.now()});
        if (!image) throw std::runtime_error(image.error().text());
        if (const auto done = regions_->publish(**image); !done) throw std::runtime_error(done.error().text());
    }
    config::DesiredState& desired() noexcept { return state_; }
    const shm::WorkerBlock& counters() { return regions_->state().workers()[0]; }
    P& port() noexcept { return port_; }
    ManualClock& clock() noexcept { return clock_; }

    Duration burst_lasts{burst_at_ten_million};

  private:
    static std::unique_ptr<controlplane::InProcess> regions(const shm::StateShape& shape) {
        need_memory(shm::StateLayout::of(shape).total);
        return std::make_unique<controlplane::InProcess>(shape, flow_seed, shm::Region::Pages::huge);
    }

    config::DesiredState state_;
    P port_;
    ManualClock clock_;
    dataplane::HandOver hand_over_{1};
    std::shared_ptr<controlplane::NetworkView> network_{std::make_shared<controlplane::NetworkView>()};
    controlplane::Compiler compiler_;
    std::unique_ptr<controlplane::InProcess> regions_;
    std::unique_ptr<dataplane::Worker<P, ManualClock>> worker_;
};

}  // namespace shunt::bench
