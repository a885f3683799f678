// The steering program and AF_XDP sockets, on real frames over a veth pair: a worker that dies leaves a program behind
// that drops, and a queue that the next one can have. Needs root.
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>

#include "dataplane/xdp/socket.h"
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
    explicit Queue(const Steering& steering)
        : frames_(*Frames::create({frames, frame_size}, false)),
          socket_(Socket::open(*find_interface("v0"), 0, frames_, frames)) {
        if (!socket_) return;
        for (std::uint32_t i = 0; i < frames; ++i) socket_->fill().at(i) = std::uint64_t{i} * frame_size;
        socket_->fill().produce(frames);
        connected_ = static_cast<bool>(steering.connect(0, socket_->get()));
    }

    bool is_open() const { return connected_; }

    // The next frame; an empty one when none comes in time.
    Bytes receive() const {
        pollfd event{.fd = socket_->get(), .events = POLLIN, .revents = 0};
        const auto& ring = socket_->received();
        if (::poll(&event, 1, static_cast<int>(std::chrono::milliseconds(patience).count())) != 1) return {};
        if (ring.filled() == 0) return {};
        const xdp_desc& frame = ring.at(ring.consumed());
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(frames_.data()) + frame.addr;
        return {bytes, bytes + frame.len};
    }

  private:
    Frames frames_;
    Result<Socket> socket_;
    bool connected_{};
};

// A process that opens the queue, says so, and repeats the first frame it receives to its parent; ends by SIGKILL only.
class Worker {
  public:
    explicit Worker(const Steering& steering) {
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel_), 0);
        process_ = ::fork();
        if (process_ == 0) live(steering, channel_[1]);
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
    [[noreturn]] static void live(const Steering& steering, int parent) {
        // The kernel frees a dead process's queue a little after its death: waited for.
        const Queue queue(steering);
        if (!queue.is_open()) ::_exit(1);
        const auto say = [parent](const Bytes& message) { (void)::send(parent, message.data(), message.size(), 0); };
        say(ready());
        say(queue.receive());
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

TEST_F(XdpSocket, ADeadWorkersPacketsAreDroppedUntilTheNextOneHasTheQueue) {
    const auto id = steering_->program().id;
    send(request(1));
    expect_dropped(1);
    for (std::uint16_t life = 1; life <= 3; ++life) {
        {
            const Worker worker(*steering_);
            ASSERT_EQ(worker.hear(), Worker::ready());
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
