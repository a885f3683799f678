// How cases are measured: in turns with the floor, in runs too short to be interrupted often, after a warm-up that
// brings back into the caches what the other had pushed out.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/ports/port.h"
#include "src/net/headers.h"

namespace shunt::bench {

// The machine, not Shunt, is at fault: the case is skipped with this reason.
class CannotRun : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Something that handles packets, a burst at a time.
class Loop {
  public:
    virtual ~Loop() = default;
    virtual void run(std::uint32_t bursts) noexcept = 0;
    virtual std::uint64_t received() const noexcept = 0;
    virtual std::uint64_t sent() const noexcept = 0;
};

// Cycles of the clock counter (or whatever the unit of the case is) of one run, and of the run of the floor beside it.
struct Sample {
    double value{};
    std::optional<double> floor{};
};

struct Plan {
    std::uint32_t runs{801};
    std::uint32_t counted_bursts{};  // not 0: no turns, only so many bursts in measured_run(), for a simulator to count
};

enum class Unit : std::uint8_t { cycles_per_packet, ms, bytes };

struct Case {
    std::string name;
    Unit unit{Unit::cycles_per_packet};
    std::function<std::vector<Sample>(const Plan&)> measure;
};

// One burst of the path that only swaps link addresses.
template <dataplane::Port P>
void swap_addresses(P& port, dataplane::Batch& batch) noexcept {
    batch.clear();
    port.receive(batch);
    std::array<dataplane::Lane*, dataplane::burst_size> lanes;
    std::size_t count = 0;
    batch.for_each_staying([&](dataplane::Lane& lane) {
        auto& ethernet = lane.header_at<EthernetHeader>(0);
        const auto destination = std::exchange(ethernet.destination, ethernet.source);
        ethernet.source = destination;
        lanes[count++] = &lane;
    });
    port.transmit({lanes.data(), count});
}

// That path on the port of the cases.
std::unique_ptr<Loop> make_floor();
// Packets through a loop. Throws if one got lost.
void pass(Loop& loop, std::uint64_t packets);
// What `run` returns when the scheduler did not give the core to somebody else meanwhile; on a machine that is too busy
// for that, what the last try returns.
double undisturbed(const std::function<double()>& run);
// Runs of the loop in turns with runs of the floor.
std::vector<Sample> in_turns(Loop& loop, const Plan& plan);
// Milliseconds of each of `runs` calls, of processor time: what others do on the machine meanwhile does not count.
std::vector<Sample> milliseconds(std::uint32_t runs, const std::function<void()>& work);

}  // namespace shunt::bench
