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
    // `shape`: of one worker. A port for each traffic; all is sent by the first.
    template <class... T>
    Balancer(config::DesiredState desired, const shm::StateShape& shape, T... traffic)
        : state_(std::move(desired)), regions_(regions(shape)) {
        (ports_.push_back(std::make_unique<P>(std::move(traffic))), ...);
        publish();
        std::vector<P*> ports;
        for (const auto& port : ports_) ports.push_back(port.get());
        worker_ = std::make_unique<dataplane::Worker<P, ManualClock>>(
            regions_->tables_region(), regions_->state(), WorkerIndex(0), std::move(ports), clock_, hand_over_);
    }

    void run(std::uint32_t bursts) noexcept override {
        for (std::uint32_t i = 0; i < bursts; i += static_cast<std::uint32_t>(ports_.size())) {
            worker_->poll_once();
            clock_.advance(burst_lasts);
        }
    }
    std::uint64_t received() const noexcept override { return sum(&P::received); }
    std::uint64_t sent() const noexcept override { return sum(&P::sent); }

    // What is configured now, from the next poll on.
    void publish() {
        const auto image =
            compiler_.compile({.state = state_, .network = network_, .site_seed = site_seed, .now = clock_.now()});
        if (!image) throw std::runtime_error(image.error().text());
        if (const auto done = regions_->publish(**image); !done) throw std::runtime_error(done.error().text());
    }
    config::DesiredState& desired() noexcept { return state_; }
    const shm::WorkerBlock& counters() { return regions_->state().workers()[0]; }
    P& port() noexcept { return *ports_.front(); }

    Duration burst_lasts{burst_at_ten_million};  // of every port

  private:
    static std::unique_ptr<controlplane::InProcess> regions(const shm::StateShape& shape) {
        need_memory(shm::StateLayout::of(shape).total);
        return std::make_unique<controlplane::InProcess>(shape, flow_seed, shm::Region::Pages::huge);
    }

    std::uint64_t sum(std::uint64_t (P::*count)() const noexcept) const noexcept {
        std::uint64_t sum = 0;
        for (const auto& port : ports_) sum += (*port.*count)();
        return sum;
    }

    config::DesiredState state_;
    std::vector<std::unique_ptr<P>> ports_;
    ManualClock clock_;
    dataplane::HandOver hand_over_{1};
    std::shared_ptr<controlplane::NetworkView> network_{std::make_shared<controlplane::NetworkView>()};
    controlplane::Compiler compiler_;
    std::unique_ptr<controlplane::InProcess> regions_;
    std::unique_ptr<dataplane::Worker<P, ManualClock>> worker_;
};

}  // namespace shunt::bench
