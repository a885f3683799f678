#include "controlplane/network/routes.h"

#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "controlplane/network/descriptor.h"
#include "controlplane/network/reading.h"
#include "src/base/clock.h"

namespace shunt::controlplane {
namespace {

constexpr Duration settle = Duration::milliseconds(10);  // changes rarely come alone
constexpr Duration after_failure = Duration::seconds(1);
constexpr std::int64_t rest = 9;           // parts of rest to one of reading
constexpr int interruptions_in_a_row = 3;  // then what was read is better than what is old

constexpr std::array groups{RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                            RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE};

Error failed(const std::string& what) { return {"cannot " + what + ": " + std::strerror(errno)}; }

}  // namespace

class NetworkWatch::Impl {
  public:
    explicit Impl(std::size_t route_limit) noexcept : route_limit_(route_limit) {}

    Status open();
    Status begin_reading();
    Result<bool> process();
    int fd() const noexcept { return poll_.get(); }
    const NetworkSnapshot& snapshot() const noexcept { return snapshot_; }

  private:
    bool watch(int fd) const noexcept;
    void heed_notifications() noexcept;
    void discard_notifications() const noexcept;
    bool has_notification() const noexcept;
    bool timer_rang() const noexcept;
    void read_again_in(Duration time) noexcept;
    void read_again_soon() noexcept { read_again_in(std::max(settle, rested_ - MonotonicClock{}.now())); }
    Result<bool> continue_reading();
    bool end_reading();

    std::size_t route_limit_;
    NetworkSnapshot snapshot_{};
    Descriptor poll_{};
    Descriptor timer_{};
    Descriptor events_{};
    // Once we know that we must read again notifications say nothing new: nobody listens until the reading begins, and
    // if the socket overflows meanwhile, nothing is lost.
    bool heeding_{};
    bool waiting_{};  // for the timer
    std::unique_ptr<KernelReading> reading_{};
    Instant began_{};
    Instant rested_{};  // no reading before
    int interruptions_{};
};

Status NetworkWatch::Impl::open() {
    poll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
    if (!poll_) return failed("create an epoll descriptor");
    timer_ = Descriptor(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (!timer_ || !watch(timer_.get())) return failed("create a timer");
    events_ = Descriptor(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    if (!events_) return failed("open a netlink socket");
    sockaddr_nl self{};
    self.nl_family = AF_NETLINK;
    if (::bind(events_.get(), reinterpret_cast<const sockaddr*>(&self), sizeof self) != 0) {
        return failed("bind a netlink socket");
    }
    for (const int group : groups) {
        if (::setsockopt(events_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
            return failed("follow changes of the kernel's network");
        }
    }
    return Done{};
}

bool NetworkWatch::Impl::watch(int fd) const noexcept {
    epoll_event event{};
    event.events = EPOLLIN;
    return ::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void NetworkWatch::Impl::heed_notifications() noexcept {
    if (!std::exchange(heeding_, true)) watch(events_.get());
}

// One is enough; the rest is thrown away before the next reading. ENOBUFS is as good as a notification.
bool NetworkWatch::Impl::has_notification() const noexcept {
    char byte{};
    return ::recv(events_.get(), &byte, sizeof byte, MSG_DONTWAIT) >= 0 || (errno != EAGAIN && errno != EINTR);
}

void NetworkWatch::Impl::discard_notifications() const noexcept {
    while (has_notification()) {
    }
}

bool NetworkWatch::Impl::timer_rang() const noexcept {
    std::uint64_t times{};
    return ::read(timer_.get(), &times, sizeof times) == sizeof times;
}

void NetworkWatch::Impl::read_again_in(Duration time) noexcept {
    waiting_ = true;
    if (std::exchange(heeding_, false)) ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, events_.get(), nullptr);
    itimerspec when{};
    when.it_value.tv_sec = time.nanoseconds / 1'000'000'000;
    when.it_value.tv_nsec = time.nanoseconds % 1'000'000'000;
    ::timerfd_settime(timer_.get(), 0, &when, nullptr);
}

Status NetworkWatch::Impl::begin_reading() {
    waiting_ = false;
    discard_notifications();
    heed_notifications();
    began_ = MonotonicClock{}.now();
    auto started = KernelReading::start(route_limit_);
    if (started) {
        reading_ = std::move(started).value();
        if (watch(reading_->fd())) return Done{};
        reading_.reset();
    }
    read_again_in(after_failure);
    return started ? failed("watch a netlink socket") : started.error();
}

Result<bool> NetworkWatch::Impl::process() {
    if (waiting_ && timer_rang()) {
        if (auto begun = begin_reading(); !begun) return begun.error();
    }
    if (reading_) return continue_reading();
    if (heeding_ && has_notification()) read_again_soon();
    return false;
}

Result<bool> NetworkWatch::Impl::continue_reading() {
    const auto complete = reading_->advance();
    if (complete && !*complete) return false;
    if (complete) return end_reading();
    reading_.reset();
    read_again_in(after_failure);
    return complete.error();
}

// True if something is different.
bool NetworkWatch::Impl::end_reading() {
    const bool interrupted = reading_->was_interrupted();
    interruptions_ = interrupted ? interruptions_ + 1 : 0;
    const bool usable = !interrupted || interruptions_ >= interruptions_in_a_row;
    NetworkSnapshot fresh = reading_->take();
    reading_.reset();
    const Instant now = MonotonicClock{}.now();
    rested_ = now + (now - began_) * rest;
    if (interrupted) read_again_soon();
    if (!usable || fresh == snapshot_) return false;
    snapshot_ = std::move(fresh);
    return true;
}

NetworkWatch::NetworkWatch(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
NetworkWatch::~NetworkWatch() = default;

Result<std::unique_ptr<NetworkWatch>> NetworkWatch::open(std::size_t route_limit) {
    auto impl = std::make_unique<Impl>(route_limit);
    if (auto opened = impl->open(); !opened) return opened.error();
    if (auto begun = impl->begin_reading(); !begun) return begun.error();
    bool read = false;
    while (!read) {
        pollfd ready{impl->fd(), POLLIN, 0};
        ::poll(&ready, 1, -1);
        const auto changed = impl->process();
        if (!changed) return changed.error();
        read = *changed;
    }
    return std::unique_ptr<NetworkWatch>(new NetworkWatch(std::move(impl)));
}

int NetworkWatch::fd() const noexcept { return impl_->fd(); }
Result<bool> NetworkWatch::process() { return impl_->process(); }
const NetworkSnapshot& NetworkWatch::snapshot() const noexcept { return impl_->snapshot(); }

}  // namespace shunt::controlplane
