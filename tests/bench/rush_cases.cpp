// A million new flows in a second, among established ones that must keep their backends.
#include <algorithm>
#include <vector>

#include "tests/bench/balancer.h"
#include "tests/bench/bench_port.h"
#include "tests/bench/cases.h"
#include "tests/bench/services.h"

namespace shunt::bench {
namespace {

constexpr std::uint32_t established_flows = 500'000;
constexpr std::uint32_t new_flows = 1U << 30;  // more than are ever sent: none comes twice
constexpr std::uint64_t table_flows = 1'000'000;
constexpr Kind nat4{"nat", Family::ipv4};

// Remembers to which backend every established flow was sent, and later whether it still is.
class WitnessPort : public BenchPort {
  public:
    using BenchPort::BenchPort;

    std::size_t transmit(std::span<dataplane::Lane* const> lanes) noexcept {
        if (witnesses_) std::ranges::for_each(lanes, [this](const dataplane::Lane* lane) { look_at(*lane); });
        return BenchPort::transmit(lanes);
    }
    void witness(bool on) noexcept { witnesses_ = on; }
    std::uint32_t known() const noexcept { return known_; }
    std::uint32_t moved() const noexcept { return moved_; }

  private:
    void look_at(const dataplane::Lane& lane) noexcept {
        const auto& ip = lane.header_at<Ipv4Header>(sizeof(EthernetHeader));
        const auto& tcp = lane.header_at<TcpHeader>(sizeof(EthernetHeader) + sizeof(Ipv4Header));
        const std::uint32_t flow =
            ip.source.host() % client_hosts + (tcp.source_port.host() - first_client_port) * client_hosts;
        if (flow >= established_flows) return;
        const std::uint32_t before = std::exchange(backends_[flow], ip.destination.raw);
        known_ += before == 0;
        moved_ += before != 0 && before != ip.destination.raw;
    }

    bool witnesses_{};
    std::uint32_t known_{};
    std::uint32_t moved_{};
    std::vector<std::uint32_t> backends_ = std::vector<std::uint32_t>(established_flows);  // raw addresses; 0: not yet
};

using Rush = Balancer<WitnessPort>;

// Every established flow is seen once.
void witness_all(Rush& balancer) {
    balancer.port().witness(true);
    pass(balancer, 2 * established_flows);  // every other packet is a new flow's
    balancer.port().witness(false);
}

// Half of the backends are drained meanwhile: an established flow that was forgotten would go elsewhere as likely as
// not.
void drain_half(Rush& balancer) {
    for (std::size_t i = 0; auto& backend : balancer.desired().services.front().backends) {
        if (i++ % 2 == 0) backend.state = config::BackendState::drain;
    }
    balancer.publish();
}

std::vector<Sample> rush(const Plan& plan) {
    Traffic opens = opening(nat4, new_flows);
    opens.first_flow = 16 * client_hosts;  // other clients than the established ones
    Rush balancer(one_service(nat4), shm::state_shape(1, table_flows), established(nat4, established_flows), opens);
    balancer.burst_lasts = Duration{std::int64_t{dataplane::burst_size} * 1000};
    witness_all(balancer);
    drain_half(balancer);
    pass(balancer, 8 * table_flows);  // the table is full of handshakes that never end
    auto samples = in_turns(balancer, plan);
    witness_all(balancer);

    const WitnessPort& port = balancer.port();
    if (port.known() == established_flows && port.moved() == 0) return samples;
    throw std::runtime_error(std::to_string(port.known()) + " of " + std::to_string(established_flows) +
                             " established flows were seen, " + std::to_string(port.moved()) + " lost their backend");
}

}  // namespace

void add_rush_cases(std::vector<Case>& cases) { cases.push_back({"new4/rate=1M", Unit::cycles_per_packet, rush}); }

}  // namespace shunt::bench
