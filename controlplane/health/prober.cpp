#include "controlplane/health/prober.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "controlplane/health/http_reply.h"
#include "src/base/clock.h"

namespace shunt::controlplane {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Code = boost::system::error_code;

tcp::endpoint endpoint_of(const IpAddress& address, std::uint16_t port) {
    if (address.is_v4()) return {asio::ip::address_v4(address.as_v4().host()), port};
    return {asio::ip::address_v6(address.bytes()), port};
}

Outcome outcome_of(const Code& error) {
    switch (error.value()) {
        case ECONNREFUSED:
            return Outcome::refused;
        case ECONNRESET:
        case ECONNABORTED:
        case EPIPE:
            return Outcome::reset;
        case ETIMEDOUT:
            return Outcome::timeout;
        case ENETUNREACH:
        case EHOSTUNREACH:
        case ENETDOWN:
        case EHOSTDOWN:
        case ENOPROTOOPT:  // ICMP: protocol unreachable
        case EACCES:       // a prohibit route
        case EPERM:        // a firewall of ours
            return Outcome::unreachable;
        default:
            return Outcome::not_run;
    }
}

}  // namespace

class Prober::Impl {
  public:
    class Probe;

    Impl(asio::io_context& io, std::span<const IpAddress> sources) : io_(io) {
        for (const IpAddress& source : sources) {
            auto& chosen = source.is_v4() ? source_v4_ : source_v6_;
            if (!chosen) chosen = source;
        }
    }
    ~Impl();

    void probe(const ProbeRequest& request, ProbeHandler handler);
    std::size_t running() const noexcept { return running_.size(); }
    void ended(const std::shared_ptr<Probe>& probe) { running_.erase(probe); }
    const std::optional<IpAddress>& source_for(const IpAddress& address) const noexcept {
        return address.is_v4() ? source_v4_ : source_v6_;
    }

  private:
    asio::io_context& io_;
    std::optional<IpAddress> source_v4_{};
    std::optional<IpAddress> source_v6_{};
    std::unordered_set<std::shared_ptr<Probe>> running_{};
};

// Lives as long as an operation of its own is pending; after `finish` or `abandon` those find `owner_` null.
class Prober::Impl::Probe : public std::enable_shared_from_this<Probe> {
  public:
    Probe(asio::io_context& io, Impl& owner, const ProbeRequest& request, ProbeHandler handler)
        : owner_(&owner),
          request_(request),
          handler_(std::move(handler)),
          socket_(io),
          deadline_(io),
          reply_(request_.spec.check.status) {}

    void start() {
        asio::post(socket_.get_executor(), [self = shared_from_this()] {
            if (self->owner_ != nullptr) self->connect();
        });
    }
    void abandon() {
        owner_ = nullptr;
        handler_ = nullptr;
        Code ignored;
        socket_.close(ignored);
        deadline_.cancel();
    }

  private:
    void connect();
    bool open_socket();
    void connected(const Code& error);
    void send_request();
    void wait_for_reply();
    void read_reply();
    void deadline_passed();
    void last_look();
    void fail(const Code& error);
    void finish(Outcome outcome, std::string text);

    Impl* owner_;
    ProbeRequest request_;
    ProbeHandler handler_;
    tcp::socket socket_;
    asio::steady_timer deadline_;
    Instant started_{};
    bool is_connected_{};
    std::string to_send_{};
    HttpReply reply_;
};

void Prober::Impl::Probe::connect() {
    started_ = MonotonicClock{}.now();
    if (!open_socket()) return;
    deadline_.expires_after(std::chrono::nanoseconds(request_.spec.check.timeout.nanoseconds));
    deadline_.async_wait([self = shared_from_this()](const Code& error) {
        if (!error && self->owner_ != nullptr) self->deadline_passed();
    });
    socket_.async_connect(endpoint_of(request_.spec.address, request_.spec.check.port.value_or(0)),
                          [self = shared_from_this()](const Code& error) {
                              if (self->owner_ != nullptr) self->connected(error);
                          });
}

bool Prober::Impl::Probe::open_socket() {
    Code error;
    socket_.open(request_.spec.address.is_v4() ? tcp::v4() : tcp::v6(), error);
    if (!error) socket_.set_option(tcp::socket::linger(true, 0), error);  // close with RST, see prober.h
    if (!error) socket_.non_blocking(true, error);
    if (error) {
        finish(Outcome::not_run, "cannot open a socket: " + error.message());
        return false;
    }
    const auto& source = owner_->source_for(request_.spec.address);
    if (!source) return true;
    // The port is chosen when connecting: otherwise all probes together would have only one range of ports.
    const int late = 1;
    ::setsockopt(socket_.native_handle(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &late, sizeof late);
    socket_.bind(endpoint_of(*source, 0), error);
    if (error) finish(Outcome::not_run, "cannot send from " + source->text() + ": " + error.message());
    return !error;
}

void Prober::Impl::Probe::connected(const Code& error) {
    if (error) return fail(error);
    is_connected_ = true;
    if (request_.spec.check.type == config::CheckType::tcp) return finish(Outcome::ok, "connected");
    send_request();
}

void Prober::Impl::Probe::send_request() {
    to_send_ = http_request(request_.spec);
    // A peer that does not take the request may still have said why: the reply decides.
    asio::async_write(socket_, asio::buffer(to_send_), [self = shared_from_this()](const Code&, std::size_t) {});
    wait_for_reply();
}

void Prober::Impl::Probe::wait_for_reply() {
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const Code& error) {
        if (self->owner_ == nullptr) return;
        if (error) return self->fail(error);
        self->read_reply();
        if (self->owner_ != nullptr) self->wait_for_reply();
    });
}

void Prober::Impl::Probe::read_reply() {
    std::array<char, 16'384> buffer;
    Code error;
    const std::size_t size = socket_.read_some(asio::buffer(buffer, reply_.room()), error);
    if (error == asio::error::would_block) return;
    if (error == asio::error::eof) {
        const Judgement judgement = reply_.ended();
        return finish(judgement.outcome, judgement.text);
    }
    if (error) return fail(error);
    if (const auto judgement = reply_.feed({buffer.data(), size})) finish(judgement->outcome, judgement->text);
}

void Prober::Impl::Probe::deadline_passed() {
    last_look();
    if (owner_ == nullptr) return;
    const std::string within = " within " + std::to_string(request_.spec.check.timeout.in_milliseconds()) + " ms";
    finish(Outcome::timeout, (is_connected_ ? "no complete reply" : "no connection") + within);
}

// When this process is behind, the answer may be there already and nobody has seen it yet.
void Prober::Impl::Probe::last_look() {
    if (is_connected_) return read_reply();
    pollfd connection{socket_.native_handle(), POLLOUT, 0};
    if (request_.spec.check.type != config::CheckType::tcp || ::poll(&connection, 1, 0) != 1) return;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.native_handle(), SOL_SOCKET, SO_ERROR, &error, &size);
    connected(Code(error, asio::error::get_system_category()));
}

void Prober::Impl::Probe::fail(const Code& error) {
    const Outcome outcome = outcome_of(error);
    if (outcome != Outcome::reset || !is_connected_) return finish(outcome, error.message());
    const Judgement judgement = reply_.broke("the connection was reset");
    finish(judgement.outcome, judgement.text);
}

void Prober::Impl::Probe::finish(Outcome outcome, std::string text) {
    const Instant now = MonotonicClock{}.now();
    const ProbeHandler handler = std::move(handler_);
    const auto self = shared_from_this();
    owner_->ended(self);
    abandon();
    handler({request_.id, outcome, std::move(text), now, now - started_});  // may destroy the Prober
}

Prober::Impl::~Impl() {
    for (const auto& probe : running_) probe->abandon();
}

void Prober::Impl::probe(const ProbeRequest& request, ProbeHandler handler) {
    const auto probe = std::make_shared<Probe>(io_, *this, request, std::move(handler));
    running_.insert(probe);
    probe->start();
}

Prober::Prober(asio::io_context& io, std::span<const IpAddress> sources) : impl_(std::make_unique<Impl>(io, sources)) {}
Prober::~Prober() = default;
void Prober::probe(const ProbeRequest& request, ProbeHandler handler) { impl_->probe(request, std::move(handler)); }
std::size_t Prober::running() const noexcept { return impl_->running(); }

}  // namespace shunt::controlplane
