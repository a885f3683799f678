// AF_XDP sockets under our ports, on a veth pair with two queues, one socket per queue: what is ours arrives and
// nothing else, is sent, counted, moved between queues; and another pool takes sockets and frames over in the middle of
// it. One test per process: EAL starts once. Needs root.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <vector>

#include "dataplane/dpdk/device.h"
#include "dataplane/dpdk/environment.h"
#include "dataplane/ports/dpdk_port.h"
#include "dataplane/ports/dpdk_xdp_queue.h"
#include "dataplane/xdp/steering.h"
#include "tests/support/network_namespace.h"
#include "tests/support/raw_frames.h"

namespace shunt::dataplane {
namespace {

using namespace test;

constexpr std::uint16_t queues = 2;
constexpr std::uint32_t flows = 200;
constexpr std::uint16_t descriptors = 2048;

// The far end of the wire.
class Wire {
  public:
    explicit Wire(const char* interface) : index_(static_cast<int>(::if_nametoindex(interface))) {
        socket_ = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0003));
        sockaddr_ll address{};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(0x0003);
        address.sll_ifindex = index_;
        EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    Wire(const Wire&) = delete;
    Wire& operator=(const Wire&) = delete;
    ~Wire() { ::close(socket_); }

    void send(const Bytes& frame) const {
        ASSERT_EQ(::send(socket_, frame.data(), frame.size(), 0), static_cast<ssize_t>(frame.size()));
    }
    // The next frame that arrived here; empty when none comes within two seconds.
    Bytes receive() const {
        for (;;) {
            pollfd event{.fd = socket_, .events = POLLIN, .revents = 0};
            if (::poll(&event, 1, 2000) != 1) return {};
            Bytes frame(2048);
            sockaddr_ll from{};
            socklen_t size = sizeof from;
            const auto length =
                ::recvfrom(socket_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
            if (from.sll_pkttype == PACKET_OUTGOING || length <= 0) continue;
            frame.resize(static_cast<std::size_t>(length));
            return frame;
        }
    }

  private:
    int index_;
    int socket_;
};

class DpdkAfXdp : public testing::Test {
  protected:
    void SetUp() override {
        NetworkNamespace::run(
            "ip link add v0 numrxqueues 2 numtxqueues 2 type veth peer name v1 numrxqueues 2 numtxqueues 2 &&"
            "sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && ip link set v0 up && ip link set v1 up");
        interface_ = *xdp::find_interface("v0");
        ASSERT_TRUE(xdp::require_queues(interface_, queues));
        ASSERT_TRUE(xdp::prepare_offloads(interface_));
        auto steering = xdp::Steering::attach(interface_, xdp::Mode::native);
        ASSERT_TRUE(steering) << steering.error().text();
        steering_.emplace(*std::move(steering));
        ASSERT_TRUE(steering_->set_port(interface_.mac, {}));
        const Endpoint listener{.address = vip_, .port = Be16(443), .protocol = Protocol::udp};
        ASSERT_TRUE(steering_->admit({.listeners = {listener}, .backends = {}}));
        auto punt = PuntDevice::create({.name = "punt", .mac = interface_.mac, .mtu = 1500, .queues = queues});
        ASSERT_TRUE(punt) << punt.error().text();
        punt_.emplace(*std::move(punt));
        start_dpdk();
    }

    void start_dpdk() {
        std::filesystem::create_directory(directory_);
        const auto cores = dpdk::plan_cores(queues, {}, dpdk::allowed_cores(), true);
        const auto size = dpdk::pool_size(1, descriptors, 1500, 0);
        const auto memory = dpdk::plan_memory(size, 2 * queues, dpdk::system_memory());
        ASSERT_TRUE(cores && memory);
        const auto started = dpdk::start_environment(dpdk::eal_arguments(*cores, *memory), directory_,
                                                     [](const std::string& line) { std::cerr << line << '\n'; });
        ASSERT_TRUE(started) << started.error().text();
        for (std::uint16_t i = 0; i < queues; ++i) {
            auto frames = xdp::Frames::create(size.frames(), memory->huge_pages);
            ASSERT_TRUE(frames) << frames.error().text();
            auto pool = dpdk::PacketPool::create(WorkerIndex(i), *std::move(frames));
            ASSERT_TRUE(pool) << pool.error().text();
            pools_.push_back(*pool);
            auto socket = xdp::Socket::open(interface_, i, pool->frames(), descriptors);
            ASSERT_TRUE(socket) << socket.error().text();
            serve(i, *std::move(socket));
            sockets_[i]->fill();
            ASSERT_TRUE(steering_->connect(i, sockets_[i]->socket()));
        }
    }

    void serve(std::uint16_t queue, xdp::Socket socket) {
        sockets_.resize(queues);
        sockets_[queue] = std::make_unique<XdpQueue>(std::move(socket), pools_[queue]);
        ports_.resize(queues, {DpdkPort::Queue{}, interface_.mac, nullptr, {}});
        ports_[queue] = DpdkPort(sockets_[queue].get(), interface_.mac, pools_[queue].get(), punt_->queue(queue));
    }

    // As a successor does, with descriptors of its own for everything.
    void succeed(std::uint16_t queue) {
        const auto& old = pools_[queue].frames();
        auto frames = xdp::Frames::map(xdp::Descriptor(::dup(old.file())), old.shape());
        ASSERT_TRUE(frames) << frames.error().text();
        auto pool =
            dpdk::PacketPool::create(WorkerIndex(static_cast<std::uint16_t>(queues + queue)), *std::move(frames));
        ASSERT_TRUE(pool) << pool.error().text();
        auto socket = xdp::Socket::adopt(interface_, xdp::Descriptor(::dup(sockets_[queue]->socket())), descriptors);
        ASSERT_TRUE(socket) << socket.error().text();
        pools_[queue] = *pool;
        serve(queue, *std::move(socket));
        std::vector<bool> kept(size_t{old.shape().count});
        sockets_[queue]->mark(kept);
        pools_[queue].reclaim(kept);
    }

    // Sends everything back where it came from.
    void reflect(std::uint16_t worker) {
        Batch batch;
        while (!stop_.load(std::memory_order_relaxed)) {
            batch.clear();
            ports_[worker].receive(batch);
            std::vector<Lane*> lanes;
            batch.for_each_staying([&](Lane& lane) {
                std::swap_ranges(lane.bytes, lane.bytes + 6, lane.bytes + 6);
                lanes.push_back(&lane);
            });
            received_[worker].fetch_add(lanes.size(), std::memory_order_relaxed);
            const std::size_t taken = ports_[worker].transmit(lanes);
            for (std::size_t i = taken; i < lanes.size(); ++i) ports_[worker].drop(*lanes[i]);
        }
    }

    Bytes request(std::uint16_t client_port, std::uint16_t to_port) const {
        return ethernet(interface_.mac, 0x0800, ipv4(client_, vip_, 17, transport(client_port, to_port)));
    }
    static Bytes reflected(Bytes frame) {
        std::swap_ranges(frame.begin(), frame.begin() + 6, frame.begin() + 6);
        return frame;
    }
    static std::uint16_t port_of(std::uint32_t flow) { return static_cast<std::uint16_t>(10'000 + flow); }

    void exchange(const Wire& wire) {
        for (std::uint32_t flow = 0; flow < flows; ++flow) {
            wire.send(request(port_of(flow), 80));  // the kernel's
            wire.send(request(port_of(flow), 443));
            ASSERT_EQ(wire.receive(), reflected(request(port_of(flow), 443)));
        }
    }

    // What was received goes to the kernel instead, or back to the pool.
    void punt_what_comes(const Wire& wire, const std::function<void(DpdkPort&, Lane&)>& punt) {
        wire.send(request(port_of(0), 443));
        Batch batch;
        for (std::uint16_t queue = 0; batch.received() == 0; queue = static_cast<std::uint16_t>(1 - queue)) {
            ports_[queue].receive(batch);
            batch.for_each_staying([&](Lane& lane) { punt(ports_[queue], lane); });
        }
    }

    // What arrives while nobody works the rings waits for the successor, and no buffer is lost.
    void expect_a_successor_to_lose_nothing(const Wire& wire) {
        for (std::uint16_t i = 0; i < queues; ++i) ASSERT_TRUE(sockets_[i]->settle());
        const auto held = pools_[0].in_use() + pools_[1].in_use();
        for (std::uint32_t flow = 0; flow < flows; ++flow) wire.send(request(port_of(flow), 443));
        for (std::uint16_t i = 0; i < queues; ++i) succeed(i);
        EXPECT_EQ(pools_[0].in_use() + pools_[1].in_use(), held);
        std::uint32_t waited = 0;
        for (std::uint16_t i = 0; i < queues; ++i) {
            Batch batch;
            do {
                waited += static_cast<std::uint32_t>(batch.received());
                batch.clear();
                ports_[i].receive(batch);
                batch.for_each_staying([&](Lane& lane) { ports_[i].drop(lane); });
            } while (batch.received() != 0);
        }
        EXPECT_EQ(waited, flows);
        EXPECT_EQ(sockets_[0]->count().received + sockets_[1]->count().received, flows);
        const std::function<void()> again[queues] = {[this] { reflect(0); }, [this] { reflect(1); }};
        stop_ = false;
        for (std::uint16_t i = 0; i < queues; ++i) ASSERT_TRUE(dpdk::launch_worker(WorkerIndex(i), again[i]));
        exchange(wire);
        stop_ = true;
        dpdk::wait_for_workers();
        for (std::uint16_t i = 0; i < queues; ++i) ASSERT_TRUE(sockets_[i]->settle());
        EXPECT_EQ(pools_[0].in_use() + pools_[1].in_use(), held);
    }

    ~DpdkAfXdp() override { std::filesystem::remove_all(directory_); }

    NetworkNamespace namespace_;
    std::string directory_{std::filesystem::temp_directory_path() / ("shunt-dpdk-" + std::to_string(::getpid()))};
    const IpAddress vip_ = IpAddress::v4(198, 18, 0, 10), client_ = IpAddress::v4(203, 0, 113, 7);
    xdp::Interface interface_;
    std::optional<xdp::Steering> steering_;
    std::optional<PuntDevice> punt_;
    std::vector<dpdk::PacketPool> pools_;
    std::vector<std::unique_ptr<XdpQueue>> sockets_;
    std::vector<DpdkPort> ports_;
    std::atomic<bool> stop_{false};
    std::array<std::atomic<std::uint64_t>, queues> received_{};
};

TEST_F(DpdkAfXdp, OurPacketsReachTheWorkersOfTheirQueuesAndLeave) {
    const auto program = steering_->program().id;
    const Wire wire("v1");
    const std::function<void()> loops[queues] = {[this] { reflect(0); }, [this] { reflect(1); }};
    for (std::uint16_t i = 0; i < queues; ++i) ASSERT_TRUE(dpdk::launch_worker(WorkerIndex(i), loops[i]));
    exchange(wire);
    stop_ = true;
    dpdk::wait_for_workers();

    EXPECT_GT(received_[0], 0U);
    EXPECT_GT(received_[1], 0U);
    EXPECT_EQ(received_[0] + received_[1], flows);
    for (std::uint16_t i = 0; i < queues; ++i) EXPECT_EQ(sockets_[i]->count().received, received_[i]);
    EXPECT_EQ(steering_->counters()->redirected(), flows);
    EXPECT_EQ(xdp::attached_program(interface_)->id, program);

    // One thread in the place of both workers: what one queue received the other one sends.
    for (std::uint16_t i = 0; i < 20; ++i) {
        wire.send(request(port_of(i), 443));
        Batch batch;
        for (std::uint16_t queue = 0; batch.received() == 0; queue = static_cast<std::uint16_t>(1 - queue)) {
            ports_[queue].receive(batch);
            if (batch.received() == 0) continue;
            batch.for_each_staying([&](Lane& lane) {
                std::swap_ranges(lane.bytes, lane.bytes + 6, lane.bytes + 6);
                // Ten bytes in front of it, as a mode that encapsulates would.
                lane.bytes -= 10;
                lane.length += 10;
                std::memmove(lane.bytes, lane.bytes + 10, 14);
                std::memset(lane.bytes + 14, 0x5a, 10);
                Lane* lanes[] = {&lane};
                EXPECT_EQ(ports_[1U - queue].transmit(lanes), 1U);
            });
        }
        Bytes expected = reflected(request(port_of(i), 443));
        expected.insert(expected.begin() + 14, 10, 0x5a);
        ASSERT_EQ(wire.receive(), expected);
    }

    const Wire kernel("punt");
    const auto buffers = pools_[0].in_use() + pools_[1].in_use();
    punt_what_comes(wire, [](DpdkPort& port, Lane& lane) { EXPECT_TRUE(port.punt(lane)); });
    EXPECT_EQ(kernel.receive(), request(port_of(0), 443));
    NetworkNamespace::run("ip link set punt down");
    punt_what_comes(wire, [](DpdkPort& port, Lane& lane) {
        EXPECT_FALSE(port.punt(lane));
        port.drop(lane);
    });
    EXPECT_EQ(pools_[0].in_use() + pools_[1].in_use(), buffers);

    expect_a_successor_to_lose_nothing(wire);
}

}  // namespace
}  // namespace shunt::dataplane
