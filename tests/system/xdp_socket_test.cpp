// The steering program and libxdp, through which DPDK's net_af_xdp opens its sockets, on real frames over a veth pair:
// what libxdp finds attached it adopts, and a worker that dies leaves a program behind that drops. Needs root.
#include <gtest/gtest.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xdp/xsk.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "dataplane/xdp/steering.h"
#include "tests/support/network_namespace.h"
#include "tests/support/raw_frames.h"

namespace shunt::dataplane::xdp {
namespace {

using namespace test;

constexpr std::uint32_t frames = 64, frame_size = 2048;
constexpr std::chrono::seconds patience(5);

// What a worker has of a queue.
class Queue {
  public:
    explicit Queue(const char* interface) {
        constexpr std::size_t size = std::size_t{frames} * frame_size;
        memory_ = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (xsk_umem__create(&umem_, memory_, size, &fill_, &completion_, nullptr) != 0) return;
        xsk_socket_config config{};
        config.rx_size = frames;
        config.tx_size = frames;
        config.xdp_flags = XDP_FLAGS_UPDATE_IF_NOEXIST;  // as net_af_xdp asks
        if (xsk_socket__create(&socket_, interface, 0, umem_, &received_, &sent_, &config) != 0) return;
        std::uint32_t first = 0;
        xsk_ring_prod__reserve(&fill_, frames, &first);
        for (std::uint32_t i = 0; i < frames; ++i) *xsk_ring_prod__fill_addr(&fill_, first + i) = i * frame_size;
        xsk_ring_prod__submit(&fill_, frames);
    }

    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    ~Queue() {
        xsk_socket__delete(socket_);
        xsk_umem__delete(umem_);
        ::munmap(memory_, std::size_t{frames} * frame_size);
    }

    bool is_open() const { return socket_ != nullptr; }

    // The next frame; an empty one when none comes in time.
    Bytes receive() {
        pollfd event{.fd = xsk_socket__fd(socket_), .events = POLLIN, .revents = 0};
        std::uint32_t first = 0;
        if (::poll(&event, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) != 1 ||
            xsk_ring_cons__peek(&received_, 1, &first) != 1)
            return {};
        const auto* frame = xsk_ring_cons__rx_desc(&received_, first);
        const auto* bytes = static_cast<const std::uint8_t*>(memory_) + frame->addr;
        return {bytes, bytes + frame->len};
    }

  private:
    void* memory_{};
    xsk_umem* umem_{};
    xsk_socket* socket_{};
    xsk_ring_prod fill_{}, sent_{};
    xsk_ring_cons received_{}, completion_{};
};

// A process that opens the queue, says so, and repeats the first frame it receives to its parent; ends by SIGKILL only.
class Worker {
  public:
    explicit Worker(const char* interface) {
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel_), 0);
        process_ = ::fork();
        if (process_ == 0) live(interface, channel_[1]);
        ::close(channel_[1]);
    }
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker() {
        ::kill(process_, SIGKILL);
        ::waitpid(process_, nullptr, 0);
        ::close(channel_[0]);
    }

    Bytes hear() const {
        Bytes message(frame_size);
        const auto length = ::recv(channel_[0], message.data(), message.size(), 0);
        message.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
        return message;
    }
    static Bytes ready() { return {'r', 'e', 'a', 'd', 'y'}; }

  private:
    [[noreturn]] static void live(const char* interface, int parent) {
        // The kernel frees a dead process's queue a little after its death; until then the queue is busy.
        auto queue = std::make_unique<Queue>(interface);
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (!queue->is_open() && std::chrono::steady_clock::now() < deadline)
            queue = std::make_unique<Queue>(interface);
        if (!queue->is_open()) ::_exit(1);
        const auto say = [parent](const Bytes& message) { (void)::send(parent, message.data(), message.size(), 0); };
        say(ready());
        say(queue->receive());
        for (;;) ::pause();
    }

    int channel_[2]{-1, -1};
    pid_t process_{-1};
};

class XdpSocket : public testing::Test {
  protected:
    void SetUp() override {
        NetworkNamespace::run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
        const auto interface = find_interface("v0");
        ASSERT_TRUE(interface) << interface.error().text();
        interface_ = *interface;
        auto steering = Steering::attach(interface_, Mode::native);
        ASSERT_TRUE(steering) << steering.error().text();
        steering_.emplace(*std::move(steering));
        const Endpoint listener{.address = vip_, .port = Be16(443), .protocol = Protocol::tcp};
        ASSERT_TRUE(steering_->set_port(interface_.mac, {}));
        ASSERT_TRUE(steering_->admit({.listeners = {listener}, .backends = {}}));
        sender_ = Descriptor(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    }

    Bytes request(std::uint16_t client_port) const {
        return ethernet(interface_.mac, 0x0800, ipv4(client_, vip_, 6, transport(client_port, 443)));
    }
    void send(const Bytes& frame) const {
        sockaddr_ll peer{};
        peer.sll_family = AF_PACKET;
        peer.sll_ifindex = static_cast<int>(::if_nametoindex("v1"));
        const auto sent =
            ::sendto(sender_.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&peer), sizeof peer);
        ASSERT_EQ(sent, static_cast<ssize_t>(frame.size())) << std::strerror(errno);
    }
    void expect_dropped(std::uint64_t count) const {
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (steering_->counters()->dropped() < count && std::chrono::steady_clock::now() < deadline) ::sched_yield();
        EXPECT_EQ(steering_->counters()->dropped(), count);
    }

    NetworkNamespace namespace_;
    const IpAddress vip_ = IpAddress::v4(198, 18, 0, 10), client_ = IpAddress::v4(203, 0, 113, 7);
    Interface interface_;
    std::optional<Steering> steering_;
    Descriptor sender_;
};

TEST_F(XdpSocket, LibxdpAdoptsTheProgramAndADeadWorkersPacketsAreDropped) {
    const auto id = steering_->program().id;
    send(request(1));
    expect_dropped(1);
    for (std::uint16_t life = 1; life <= 3; ++life) {
        {
            const Worker worker("v0");
            ASSERT_EQ(worker.hear(), Worker::ready());
            EXPECT_EQ(attached_program(interface_)->id, id) << "libxdp attached another program";
            send(request(life));
            EXPECT_EQ(worker.hear(), request(life));
            EXPECT_EQ(steering_->counters()->redirected(), life);
        }
        EXPECT_EQ(attached_program(interface_)->id, id);
        send(request(life));
        expect_dropped(1U + life);
    }
}

}  // namespace
}  // namespace shunt::dataplane::xdp
