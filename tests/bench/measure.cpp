#include "tests/bench/measure.h"

#include <sys/resource.h>
#include <x86intrin.h>

#include <array>
#include <ctime>
#include <utility>

#include "tests/bench/bench_port.h"
#include "tests/bench/services.h"

namespace shunt::bench {
namespace {

constexpr std::uint32_t bursts_per_run = 64;   // two thousand packets, a tenth of a millisecond
constexpr std::uint32_t warm_up_bursts = 320;  // ten thousand packets: a case of so many flows meets every one of them
constexpr std::uint32_t floor_warm_up_bursts = 32;
constexpr std::uint32_t uncounted_runs = 20;
constexpr int most_attempts = 50;

// The same loop and port with a path that only swaps link addresses.
class Floor : public Loop {
  public:
    Floor() : port_(established({"nat", Family::ipv4}, 10'000)) {}
    void run(std::uint32_t bursts) noexcept override {
        for (std::uint32_t i = 0; i < bursts; ++i) swap_addresses(port_, batch_);
    }
    std::uint64_t received() const noexcept override { return port_.received(); }
    std::uint64_t sent() const noexcept override { return port_.sent(); }

  private:
    BenchPort port_;
    dataplane::Batch batch_;
};

}  // namespace

// A function of its own, and known by name: simulators count what happens in it (scripts/lab/bench_guard.py).
[[gnu::noipa]] std::uint64_t measured_run(Loop& loop, std::uint32_t bursts) noexcept {
    const std::uint64_t begin = __rdtsc();
    loop.run(bursts);
    return __rdtsc() - begin;
}

namespace {

void lose_nothing(const Loop& loop) {
    if (loop.sent() != loop.received()) {
        throw std::runtime_error("received " + std::to_string(loop.received()) + " packets, but sent " +
                                 std::to_string(loop.sent()));
    }
}

// How often the scheduler gave this core to somebody else.
long preemptions() noexcept {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

// Cycles per packet.
double run(Loop& loop, std::uint32_t warm_up) {
    return undisturbed([&] {
        loop.run(warm_up);
        const std::uint64_t cycles = measured_run(loop, bursts_per_run);
        lose_nothing(loop);
        return static_cast<double>(cycles) / (bursts_per_run * dataplane::burst_size);
    });
}

}  // namespace

std::unique_ptr<Loop> make_floor() { return std::make_unique<Floor>(); }

double undisturbed(const std::function<double()>& run) {
    double result = 0;
    for (int attempt = 0; attempt < most_attempts; ++attempt) {
        const long before = preemptions();
        result = run();
        if (preemptions() == before) break;
    }
    return result;
}

void pass(Loop& loop, std::uint64_t packets) {
    loop.run(static_cast<std::uint32_t>((packets + dataplane::burst_size - 1) / dataplane::burst_size));
    lose_nothing(loop);
}

std::vector<Sample> in_turns(Loop& loop, const Plan& plan) {
    if (plan.counted_bursts != 0) {
        loop.run(warm_up_bursts);
        return {{static_cast<double>(measured_run(loop, plan.counted_bursts))}};
    }
    Floor floor;
    std::vector<Sample> samples;
    for (std::uint32_t i = 0; i < uncounted_runs + plan.runs; ++i) {
        const double value = run(loop, warm_up_bursts);
        const double beside = run(floor, floor_warm_up_bursts);
        if (i >= uncounted_runs) samples.push_back({value, beside});
    }
    return samples;
}

std::vector<Sample> milliseconds(std::uint32_t runs, const std::function<void()>& work) {
    const auto now = [] {
        timespec t{};
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
    };
    std::vector<Sample> samples;
    for (std::uint32_t i = 0; i < runs; ++i) {
        const double begin = now();
        work();
        samples.push_back({now() - begin});
    }
    return samples;
}

}  // namespace shunt::bench
