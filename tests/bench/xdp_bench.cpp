// The same path over an AF_XDP port on veth, one thread, in a namespace that scripts/bench --af-xdp makes: packets are
// put into the interface `wire` a lot at a time, then the worker polls `lan` until it had all of them. Cycles are those
// of the polling, the kernel's share included, which is most of them; the floor is the same with addresses swapped.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>
#include <x86intrin.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "dataplane/dpdk/device.h"
#include "dataplane/dpdk/environment.h"
#include "dataplane/ports/dpdk_port.h"
#include "dataplane/xdp/steering.h"
#include "tests/bench/balancer.h"
#include "tests/bench/run_cases.h"
#include "tests/bench/services.h"

namespace shunt::bench {
namespace {

using namespace dataplane;

constexpr std::uint32_t lot = 128;  // packets; the kernel's ring between the two interfaces takes 256
constexpr std::uint32_t patience = 1'000'000;
constexpr std::uint32_t runs_at_most = 401;
constexpr std::uint16_t descriptors = 2048;

template <class T>
T must(Result<T> result) {
    if (!result) throw std::runtime_error(result.error().text());
    return *std::move(result);
}
void must(const Status& status) {
    if (!status) throw std::runtime_error(status.error().text());
}

// Of EAL's own files.
std::string own_directory() {
    return std::filesystem::temp_directory_path() / ("shunt-bench-" + std::to_string(::getpid()));
}

// The end of the cable where packets come from.
class Wire {
  public:
    Wire(const MacAddress& to, const Traffic& traffic)
        : from_(traffic.templates.front()), order_(traffic.first_flow, traffic.flows) {
        std::memcpy(from_.head.data(), to.bytes.data(), to.bytes.size());
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_ifindex = static_cast<int>(::if_nametoindex("wire"));
        if (::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
            throw CannotRun("there is no interface `wire`: run scripts/bench --af-xdp");
        }
    }
    Wire(const Wire&) = delete;
    ~Wire() { ::close(socket_); }

    void send_lot() {
        std::array<std::uint32_t, lot> flows;
        order_.next(flows);
        for (std::uint32_t i = 0; i < lot; ++i) {
            write_head(from_, flows[i], frames_[i].data());
            parts_[i] = {frames_[i].data(), from_.length};
            messages_[i].msg_hdr.msg_iov = &parts_[i];
            messages_[i].msg_hdr.msg_iovlen = 1;
        }
        for (unsigned sent = 0; sent < lot;) {
            const int count = ::sendmmsg(socket_, messages_.data() + sent, lot - sent, 0);
            if (count <= 0) throw std::runtime_error("the interface `wire` takes no packets");
            sent += static_cast<unsigned>(count);
        }
    }

  private:
    Template from_;
    FlowOrder order_;
    int socket_{::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0)};
    std::array<std::array<std::byte, 128>, lot> frames_{};
    std::array<iovec, lot> parts_{};
    std::array<mmsghdr, lot> messages_{};
};

// A port that counts.
class XdpPort {
  public:
    explicit XdpPort(const DpdkPort& port) : port_(port) {}
    void receive(Batch& batch) noexcept {
        port_.receive(batch);
        received_ += batch.received();
    }
    std::size_t transmit(std::span<Lane* const> lanes) noexcept {
        const std::size_t taken = port_.transmit(lanes);
        sent_ += taken;
        return taken;
    }
    bool punt(Lane& lane) noexcept { return port_.punt(lane); }
    void drop(Lane& lane) noexcept { port_.drop(lane); }
    bool make(Lane& lane, std::uint32_t length) noexcept { return port_.make(lane, length); }
    MacAddress mac() const noexcept { return port_.mac(); }
    std::uint64_t received() const noexcept { return received_; }
    std::uint64_t sent() const noexcept { return sent_; }

  private:
    DpdkPort port_;
    std::uint64_t received_{};
    std::uint64_t sent_{};
};

class Floor : public Loop {
  public:
    explicit Floor(const DpdkPort& port) : port_(port) {}
    void run(std::uint32_t bursts) noexcept override {
        for (std::uint32_t i = 0; i < bursts; ++i) swap_addresses(port_, batch_);
    }
    std::uint64_t received() const noexcept override { return port_.received(); }
    std::uint64_t sent() const noexcept override { return port_.sent(); }

  private:
    XdpPort port_;
    Batch batch_;
};

// The port `lan`, as the data plane makes it.
class Lan {
  public:
    Lan() : steering_(must(xdp::Steering::attach(interface_, xdp::Mode::native))) {
        must(xdp::prepare_offloads(interface_));
        must(steering_.set_port(interface_.mac, {}));
        xdp::SteeringSet all;
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            const Vip vip = one_service({"nat", family}).services.front().vips.front();
            all.listeners.push_back({vip.address, vip.ports.first, vip.protocol});
        }
        must(steering_.admit(all));
        std::filesystem::create_directories(own_directory());
        const auto cores = must(dpdk::plan_cores(1, {}, dpdk::allowed_cores(), true));
        const auto size = dpdk::pool_size(1, descriptors, 1500, 0);
        const auto memory = must(dpdk::plan_memory(size, 1, dpdk::system_memory()));
        must(dpdk::start_environment(dpdk::eal_arguments(cores, memory), own_directory(), [](const std::string&) {}));
        const auto pool =
            must(dpdk::PacketPool::create(WorkerIndex(0), must(xdp::Frames::create(size.frames(), memory.huge_pages))));
        auto socket = must(xdp::Socket::open(interface_, 0, pool.frames(), descriptors));
        queue_ = std::make_unique<XdpQueue>(std::move(socket), pool);
        queue_->fill();
        must(steering_.connect(0, queue_->socket()));
        port_ = std::make_unique<DpdkPort>(queue_.get(), interface_.mac, pool.get(), punt_.queue(0));
    }
    Lan(const Lan&) = delete;
    const DpdkPort& port() const noexcept { return *port_; }

  private:
    xdp::Interface interface_{must(xdp::find_interface("lan"))};
    xdp::Steering steering_;
    PuntDevice punt_{must(PuntDevice::create({.name = "punt", .mac = interface_.mac, .mtu = 1500, .queues = 1}))};
    std::unique_ptr<XdpQueue> queue_;
    std::unique_ptr<DpdkPort> port_;
};

// Cycles per packet of a lot.
double run(Loop& loop, Wire& wire) {
    wire.send_lot();
    const std::uint64_t all = loop.received() + lot;
    const std::uint64_t begin = __rdtsc();
    for (std::uint32_t polls = 0; loop.received() < all && polls < patience; ++polls) loop.run(1);
    const std::uint64_t cycles = __rdtsc() - begin;
    if (loop.received() != all || loop.sent() != loop.received()) {
        throw std::runtime_error("of " + std::to_string(all) + " packets " + std::to_string(loop.received()) +
                                 " were received and " + std::to_string(loop.sent()) + " sent");
    }
    return static_cast<double>(cycles) / lot;
}

std::vector<Sample> over_xdp(const Kind& kind, std::uint32_t flows, const Plan& plan) {
    static const Lan lan;  // EAL starts once in a process
    Floor floor(lan.port());
    Balancer<XdpPort> balancer(one_service(kind), shm::state_shape(1, 1'048'576), lan.port());
    Wire wire(lan.port().mac(), established(kind, flows));
    for (std::uint32_t known = 0; known < flows; known += lot) run(balancer, wire);
    std::vector<Sample> samples;
    for (std::uint32_t i = 0; i < std::min(plan.runs, runs_at_most); ++i) {
        const double value = undisturbed([&] { return run(balancer, wire); });
        samples.push_back({value, undisturbed([&] { return run(floor, wire); })});
    }
    return samples;
}

}  // namespace
}  // namespace shunt::bench

int main(int argc, char** argv) {
    using namespace shunt::bench;
    std::vector<Case> cases;
    for (const auto& [name, kind] : kinds) {
        for (const auto& [text, flows] : {std::pair{"1", 1U}, {"10k", 10'000U}}) {
            cases.push_back({std::string("af_xdp/") + name + "/flows=" + text, Unit::cycles_per_packet,
                             [kind = kind, flows = flows](const Plan& plan) { return over_xdp(kind, flows, plan); }});
        }
    }
    const int code = run_cases(argc, argv, std::move(cases));
    std::fflush(stdout);
    std::filesystem::remove_all(own_directory());
    ::_exit(code);  // nothing of DPDK's is to be cleaned up
}
