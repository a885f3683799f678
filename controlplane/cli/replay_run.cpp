#include "controlplane/cli/replay_run.h"

#include <algorithm>

#include "controlplane/compile/compiler.h"
#include "src/base/assert.h"

namespace shunt::cli {
namespace {

using namespace dataplane;

// Keys the flow table: any, but always the same, so that a replay repeats itself.
constexpr HashSeed flow_seed{{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0x2545f4914f6cdd1d}};
constexpr std::size_t buffers = 4096;  // more than Shunt may hold
constexpr Duration waiting_step = Duration::milliseconds(100);
constexpr int longest_wait = 100;  // steps; nothing waits so long

// A port of a device has the device's address, which nobody knows here.
MacAddress mac_of(const config::Port& port, std::size_t index) {
    return port.mac.value_or(MacAddress{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(index + 1)}});
}

std::vector<std::vector<shm::Verdict>> verdicts_of(const config::DesiredState& state,
                                                   const std::vector<IpAddress>& down) {
    std::vector<std::vector<shm::Verdict>> verdicts;
    for (const config::Service& service : state.services) {
        auto& row = verdicts.emplace_back();
        for (const config::Backend& backend : service.backends) {
            const bool is_down = std::ranges::find(down, backend.address) != down.end();
            row.push_back(is_down ? shm::Verdict::down : shm::Verdict::up);
        }
    }
    return verdicts;
}

}  // namespace

Result<std::unique_ptr<Replay>> Replay::make(const config::DesiredState& state, const std::vector<IpAddress>& down,
                                             const HashSeed& site_seed, Files files) {
    std::unique_ptr<Replay> replay(new Replay(state, std::move(files)));
    if (auto published = replay->publish(state, down, site_seed); !published) return published.error();
    return replay;
}

Replay::Replay(const config::DesiredState& state, Files files)
    : settings_(state.dataplane.ports),
      journal_(clock_, std::move(files.out), std::move(files.punt)),
      pool_(buffers),
      regions_(shm::state_shape(1, state.dataplane.flows), flow_seed) {
    std::vector<CapturePort*> ports;
    for (std::size_t i = 0; i < settings_.size(); ++i) {
        ports_.push_back(std::make_unique<CapturePort>(pool_, mac_of(settings_[i], i), journal_));
        ports.push_back(ports_.back().get());
    }
    worker_ = std::make_unique<Worker<CapturePort, ManualClock>>(regions_.tables_region(), regions_.state(),
                                                                 WorkerIndex(0), ports, clock_, hand_over_);
}

Status Replay::publish(const config::DesiredState& state, const std::vector<IpAddress>& down,
                       const HashSeed& site_seed) {
    // Of this host only the addresses are known that the configuration names.
    auto network = std::make_shared<controlplane::NetworkView>();
    network->local_addresses = state.node.source;
    const auto verdicts = verdicts_of(state, down);
    controlplane::Compiler compiler;
    const auto image = compiler.compile(
        {.state = state, .verdicts = verdicts, .network = network, .site_seed = site_seed, .now = clock_.now()});
    if (!image) return image.error();
    return regions_.publish(**image);
}

void Replay::take(const CaptureReader::Packet& packet) {
    if (fates().empty()) clock_.set(packet.time);
    while (journal_.held() > 0 && clock_.now() + waiting_step < packet.time) wait(waiting_step);
    clock_.set(std::max(clock_.now(), packet.time));

    const std::uint64_t number = journal_.enter();
    CapturePort* port = port_of(packet.bytes);
    if (port == nullptr) return journal_.passed(number, packet.bytes);
    port->arrive(number, packet.bytes);
    wait({});
}

void Replay::finish() {
    for (int i = 0; journal_.held() > 0; ++i) {
        SHUNT_ASSERT(i < longest_wait);
        wait(waiting_step);
    }
}

// The port that has the frame's destination as its address, else the first that has no address to compare with. What
// is for neither is another host's, or the kernel's.
CapturePort* Replay::port_of(std::span<const std::byte> packet) noexcept {
    const auto is_for = [&packet](const MacAddress& mac) {
        return packet.size() >= mac.bytes.size() && std::memcmp(packet.data(), mac.bytes.data(), mac.bytes.size()) == 0;
    };
    for (std::size_t i = 0; i < settings_.size(); ++i) {
        if (!settings_[i].mac) continue;
        if (is_for(*settings_[i].mac) || std::ranges::any_of(settings_[i].virtual_mac, is_for)) return ports_[i].get();
    }
    const auto any = std::ranges::find_if(settings_, [](const config::Port& port) { return !port.mac; });
    return any == settings_.end() ? nullptr : ports_[static_cast<std::size_t>(any - settings_.begin())].get();
}

void Replay::wait(Duration step) {
    clock_.advance(step);
    worker_->poll_once();
    PathMtus path_mtus(regions_.state().path_mtus(), regions_.state().header().path_mtus_known);
    while (const auto news = worker_->news().path_mtus.pop()) {
        path_mtus.lower(news->address, news->mtu, Tick::at(clock_.now()));
    }
}

}  // namespace shunt::cli
