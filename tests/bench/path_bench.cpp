// What the packet path costs, in cycles per packet of the clock counter: one worker on an in-memory port, established
// flows, client to backend, small packets. The floor is the same loop and port with a path that only swaps link
// addresses. Cases take turns, so that a noisy machine is noisy for all of them; prints one JSON document.
#include <sys/mman.h>
#include <x86intrin.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/in_process.h"
#include "dataplane/worker.h"
#include "tests/support/instance.h"

namespace shunt::test {
namespace {

using namespace dataplane;

constexpr std::uint32_t flows = 10'000;
constexpr std::uint64_t table_flows = 1'048'576;  // the default of the configuration
constexpr std::uint32_t bursts_per_run = 40;      // short enough not to be interrupted often
constexpr int warm_up_runs = 50;
constexpr int runs = 2001;
constexpr std::size_t frame_room = 128;
constexpr HashSeed flow_seed{{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0x2545f4914f6cdd1d}};
constexpr HashSeed site_seed{{0xd1342543de82ef95, 0xaf251af3b0f025b5, 0xb564ef22ec7aece5, 0xf7c2ebc08f67f2b5}};

// A wire that repeats: frame after frame arrives as it was made, and what is sent is forgotten.
class RepeatingPort {
  public:
    explicit RepeatingPort(const std::vector<Bytes>& frames) : count_(frames.size()), frames_(count_ * frame_room) {
        for (std::size_t i = 0; i < count_; ++i) {
            if (frames[i].size() > frame_room) throw std::invalid_argument("the frame is too long");
            length_ = static_cast<std::uint32_t>(frames[i].size());
            std::ranges::copy(frames[i], frames_.begin() + static_cast<std::ptrdiff_t>(i * frame_room));
        }
    }
    void receive(Batch& batch) noexcept {
        for (std::size_t i = 0; i < burst_size; ++i) {
            std::byte* bytes = buffers_.data() + i * buffer_size + packet_headroom;
            std::memcpy(bytes, frames_.data() + next_ * frame_room, frame_room);
            if (++next_ == count_) next_ = 0;
            Lane& lane = batch.add();
            lane.bytes = bytes;
            lane.length = length_;
            lane.buffer = bytes;
        }
    }
    std::size_t transmit(std::span<Lane* const> lanes) noexcept {
        sent_ += lanes.size();
        return lanes.size();
    }
    bool punt(Lane&) noexcept { return false; }
    void drop(Lane&) noexcept {}
    bool make(Lane&, std::uint32_t) noexcept { return false; }
    MacAddress mac() const noexcept { return port_mac; }

    std::uint64_t sent() const noexcept { return sent_; }

  private:
    static constexpr std::size_t buffer_size = packet_headroom + frame_room;
    std::size_t count_;
    std::vector<std::byte> frames_;
    std::vector<std::byte> buffers_ = std::vector<std::byte>(burst_size * buffer_size);
    std::uint32_t length_{};
    std::size_t next_{};
    std::uint64_t sent_{};
};
static_assert(Port<RepeatingPort>);

std::string client(Family family, std::uint32_t n) {
    const std::string host = std::to_string(1 + n % 250);
    const std::string port = std::to_string(1024 + n / 250);
    return family == Family::ipv4 ? "203.0.113." + host + ":" + port : "[2001:db8:c::" + host + "]:" + port;
}

std::vector<Bytes> frames_to(const std::string& vip, Family family) {
    std::vector<Bytes> frames;
    for (std::uint32_t n = 0; n < flows; ++n) {
        Packet p = packet(client(family, n), vip);
        p.payload.assign(family == Family::ipv4 ? 10 : 0, 'x');  // 64 bytes with IPv4, the least with IPv6
        frames.push_back(p.build());
    }
    return frames;
}

class Case {
  public:
    explicit Case(std::string name) : name_(std::move(name)) {}
    virtual ~Case() = default;
    virtual void poll() noexcept = 0;
    virtual std::uint64_t sent() const noexcept = 0;

    const std::string& name() const noexcept { return name_; }
    double run() {
        const std::uint64_t before = sent();
        const std::uint64_t begin = __rdtsc();
        for (std::uint32_t i = 0; i < bursts_per_run; ++i) poll();
        const std::uint64_t cycles = __rdtsc() - begin;
        if (sent() - before != std::uint64_t{bursts_per_run} * burst_size)
            throw std::runtime_error(name_ + " lost packets");
        return static_cast<double>(cycles) / (bursts_per_run * burst_size);
    }

  private:
    std::string name_;
};

class Floor : public Case {
  public:
    Floor() : Case("floor"), port_(frames_to("198.18.0.10:443", Family::ipv4)) {}
    std::uint64_t sent() const noexcept override { return port_.sent(); }
    void poll() noexcept override {
        batch_.clear();
        port_.receive(batch_);
        std::array<Lane*, burst_size> lanes;
        std::size_t count = 0;
        batch_.for_each_staying([&](Lane& lane) {
            auto& ethernet = lane.header_at<EthernetHeader>(0);
            std::swap(ethernet.source, ethernet.destination);
            lanes[count++] = &lane;
        });
        port_.transmit({lanes.data(), count});
    }

  private:
    RepeatingPort port_;
    Batch batch_;
};

class Service : public Case {
  public:
    Service(const std::string& name, const config::DesiredState& state)
        : Case(name),
          family_(state.services[0].vips[0].address.family()),
          regions_(shm::state_shape(1, table_flows), flow_seed),
          port_(frames_to(address_and_port(state.services[0].vips[0].address, 443), family_)) {
        auto& header = regions_.state().header();
        madvise(&header, shm::StateLayout::of(header.shape).total, MADV_HUGEPAGE);
        publish(state);
        worker_ = std::make_unique<dataplane::Worker<RepeatingPort, ManualClock>>(
            regions_.tables_region(), regions_.state(), WorkerIndex(0), std::vector{&port_}, clock_, hand_over_);
        for (std::uint32_t i = 0; i <= flows / burst_size; ++i) poll();
        const std::uint64_t known = regions_.state().workers()[0].flows_inserted.read();
        if (known != flows) throw std::runtime_error(name + ": " + std::to_string(known) + " flows are known");
    }
    std::uint64_t sent() const noexcept override { return port_.sent(); }
    void poll() noexcept override { worker_->poll_once(); }

  private:
    void publish(const config::DesiredState& state) {
        const std::vector<std::vector<shm::Verdict>> verdicts(
            state.services.size(), std::vector(state.services[0].backends.size(), shm::Verdict::up));
        controlplane::Compiler compiler;
        const auto image = compiler.compile({.state = state,
                                             .verdicts = verdicts,
                                             .network = std::make_shared<controlplane::NetworkView>(),
                                             .site_seed = site_seed,
                                             .now = clock_.now()});
        if (!image) throw std::runtime_error(image.error().text());
        if (const auto done = regions_.publish(**image); !done) throw std::runtime_error(done.error().text());
    }

    Family family_;
    ManualClock clock_;
    HandOver hand_over_{1};
    controlplane::InProcess regions_;
    RepeatingPort port_;
    std::unique_ptr<dataplane::Worker<RepeatingPort, ManualClock>> worker_;
};

config::DesiredState state_of(std::string_view mode, Family family) {
    const bool v4 = family == Family::ipv4;
    const std::string prefix = v4 ? "198.18.2." : "2001:db8:2::";
    config::DesiredState state;
    state.node.source = {*IpAddress::parse("198.18.1.2"), *IpAddress::parse("2001:db8:1::2")};
    config::Port lan;
    lan.name = "lan0";
    state.dataplane.ports.push_back(lan);
    std::vector<std::string> backends;
    for (int i = 1; i <= 20; ++i) backends.push_back(prefix + std::to_string(i));
    auto service = make_service("web", {v4 ? "198.18.0.10:443/tcp" : "[2001:db8::10]:443/tcp"}, backends);
    service.mode = parse_forwarding_mode(mode).value();
    service.table_size = 65537;
    for (const auto& b : service.backends) {
        state.next_hops.push_back({.address = b.address, .mac = backend_mac(b.address), .port = "lan0"});
    }
    state.services.push_back(service);
    return state;
}

double percentile(std::vector<double> values, double part) {
    std::ranges::sort(values);
    return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1) + 0.5)];
}

double rounded(double value) { return std::round(value * 100) / 100; }

nlohmann::json summary(const std::string& name, const std::vector<double>& values, const std::vector<double>& floors) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / floors[i]);
    const double median = percentile(values, 0.5);
    return {{"name", name},
            {"unit", "cycles_per_packet"},
            {"value", rounded(median)},
            {"cycles_per_packet", rounded(median)},
            {"floor", rounded(percentile(floors, 0.5))},
            {"ratio", rounded(percentile(ratios, 0.5))},
            {"spread", rounded((percentile(values, 0.9) - percentile(values, 0.1)) / median)},
            {"runs", values.size()}};
}

nlohmann::json machine() {
    std::ifstream cpus("/proc/cpuinfo");
    std::string line, model;
    while (model.empty() && std::getline(cpus, line)) {
        if (line.starts_with("model name")) model = line.substr(line.find(':') + 2);
    }
    const auto begin = MonotonicClock{}.now();
    const std::uint64_t first = __rdtsc();
    while (MonotonicClock{}.now() - begin < Duration::milliseconds(50)) continue;
    const double microseconds = static_cast<double>((MonotonicClock{}.now() - begin).nanoseconds) / 1000;
    const auto mhz = static_cast<std::uint64_t>(static_cast<double>(__rdtsc() - first) / microseconds);
    std::ifstream pages("/proc/sys/vm/nr_hugepages");
    std::uint64_t huge_pages = 0;
    pages >> huge_pages;
    return {{"cpu", model}, {"tsc_mhz", mhz}, {"hugepages", huge_pages}};
}

nlohmann::json measure() {
    std::vector<std::unique_ptr<Case>> cases;
    cases.push_back(std::make_unique<Floor>());
    for (const auto& [name, mode, family] :
         {std::tuple{"nat4", "nat", Family::ipv4}, std::tuple{"nat6", "nat", Family::ipv6},
          std::tuple{"ipip4", "ipip", Family::ipv4}, std::tuple{"gue4", "gue", Family::ipv4}}) {
        cases.push_back(std::make_unique<Service>(name, state_of(mode, family)));
    }
    std::vector<std::vector<double>> values(cases.size());
    for (int run = 0; run < warm_up_runs + runs; ++run) {
        for (std::size_t c = 0; c < cases.size(); ++c) {
            const double cycles = cases[c]->run();
            if (run >= warm_up_runs) values[c].push_back(cycles);
        }
    }
    nlohmann::json results = nlohmann::json::array();
    for (std::size_t c = 0; c < cases.size(); ++c) results.push_back(summary(cases[c]->name(), values[c], values[0]));
    return results;
}

}  // namespace
}  // namespace shunt::test

int main() {
    try {
        const nlohmann::json document{{"machine", shunt::test::machine()}, {"cases", shunt::test::measure()}};
        std::puts(document.dump(1).c_str());
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "bench: %s\n", error.what());
        return 3;
    }
}
