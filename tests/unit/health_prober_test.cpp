// The probers against real servers on loopback that misbehave in each way of RELIABILITY R21.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/health/prober.h"
#include "src/base/clock.h"

namespace shunt::controlplane {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Code = boost::system::error_code;

// One accepted connection; kept alive by its own operations.
struct Connection : std::enable_shared_from_this<Connection> {
    explicit Connection(tcp::socket accepted) : socket(std::move(accepted)), timer(socket.get_executor()) {}

    void when_asked(std::function<void(Connection&)> then) {
        asio::async_read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n",
                               [self = shared_from_this(), then = std::move(then)](const Code& error, std::size_t) {
                                   if (!error) then(*self);
                               });
    }
    void send(std::string text, std::function<void(Connection&)> then) {
        to_send = std::move(text);
        asio::async_write(socket, asio::buffer(to_send),
                          [self = shared_from_this(), then = std::move(then)](const Code& error, std::size_t) {
                              if (!error) then(*self);
                          });
    }
    void reset() {
        socket.set_option(tcp::socket::linger(true, 0));
        socket.close();
    }
    void send_endlessly(const std::string& text) {
        send(text, [text](Connection& self) { self.send_endlessly(text); });
    }
    void drip(std::string_view text) {
        timer.expires_after(std::chrono::milliseconds(5));
        timer.async_wait([self = shared_from_this(), text](const Code& error) {
            if (error) return;
            const std::string_view rest = text.empty() ? "xxxxxxxx" : text;
            self->send(std::string(rest.substr(0, 1)), [rest](Connection& again) { again.drip(rest.substr(1)); });
        });
    }

    tcp::socket socket;
    asio::steady_timer timer;
    std::string request{};
    std::string to_send{};
};

using Behaviour = std::function<void(Connection&)>;

Behaviour reply(std::string text) {
    return [text](Connection& connection) {
        connection.when_asked(
            [text](Connection& asked) { asked.send(text, [](Connection& sent) { sent.socket.close(); }); });
    };
}

class Server {
  public:
    Server(asio::io_context& io, const IpAddress& address, Behaviour behaviour)
        : acceptor_(io, {asio::ip::make_address(address.text()), 0}), behaviour_(std::move(behaviour)) {
        accept();
    }
    std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

    std::vector<std::shared_ptr<Connection>> connections{};

  private:
    void accept() {
        acceptor_.async_accept([this](const Code& error, tcp::socket socket) {
            if (error) return;
            connections.push_back(std::make_shared<Connection>(std::move(socket)));
            behaviour_(*connections.back());
            accept();
        });
    }

    tcp::acceptor acceptor_;
    Behaviour behaviour_;
};

template <class Family>
class Probers : public testing::Test {
  protected:
    static IpAddress loopback() { return *IpAddress::parse(Family::loopback); }
    CheckSpec http(std::uint16_t port) const {
        return check_spec(loopback(), port, {.type = config::CheckType::http, .timeout = timeout_});
    }
    CheckSpec connect(std::uint16_t port) const { return check_spec(loopback(), port, {.timeout = timeout_}); }

    // One probe, until its verdict; also judges what holds for every probe.
    ProbeResult probe(const CheckSpec& spec, std::span<const IpAddress> sources = {}) {
        Prober prober(io_, sources);
        std::optional<ProbeResult> result;
        prober.probe({CheckId(7), spec, {}}, [&](ProbeResult r) {
            EXPECT_FALSE(result) << "two verdicts of one probe";
            result = std::move(r);
        });
        EXPECT_FALSE(result) << "called back from within the call";
        EXPECT_EQ(prober.running(), 1U);
        run_past_deadline([&] { return result.has_value(); });
        EXPECT_EQ(prober.running(), 0U);
        if (!result) return {};
        EXPECT_EQ(result->id, CheckId(7));
        return *result;
    }
    // Runs the loop until `done`, which must come before a timer of the same loop, 50 ms after the deadline: so a busy
    // machine delays both.
    void run_past_deadline(const std::function<bool()>& done) {
        io_.restart();
        asio::steady_timer late(io_);
        bool is_late = false;
        asio::post(io_, [&] {
            late.expires_after(std::chrono::nanoseconds(timeout_.nanoseconds) + std::chrono::milliseconds(50));
            late.async_wait([&](const Code& error) { is_late = !error; });
        });
        while (!done() && !is_late) io_.run_one();
        EXPECT_TRUE(done()) << "no verdict 50 ms after the deadline";
        late.cancel();
        io_.poll();
    }
    ProbeResult probe_http(Behaviour behaviour) {
        Server server(io_, loopback(), std::move(behaviour));
        return probe(http(server.port()));
    }

    asio::io_context io_;
    Duration timeout_ = Duration::seconds(20);  // no verdict waits for it but a timeout's
};

struct Ipv4 {
    static constexpr const char* loopback = "127.0.0.1";
    static constexpr const char* nowhere = "255.255.255.255";
    static constexpr const char* foreign = "203.0.113.9";
};
struct Ipv6 {
    static constexpr const char* loopback = "::1";
    static constexpr const char* nowhere = "ff02::1";
    static constexpr const char* foreign = "2001:db8::9";
};
using Families = testing::Types<Ipv4, Ipv6>;
TYPED_TEST_SUITE(Probers, Families, );

TYPED_TEST(Probers, AnAcceptedConnectionIsEnoughForTcp) {
    Server server(this->io_, this->loopback(), [](Connection&) {});
    const ProbeResult result = this->probe(this->connect(server.port()));
    EXPECT_EQ(result.outcome, Outcome::ok);
    EXPECT_GT(result.duration, Duration{});
    EXPECT_GT(result.finished, Instant{});
}

TYPED_TEST(Probers, ATcpProbeEndsWithAResetSoThatNothingStaysBehind) {
    std::optional<Code> seen;
    Server server(this->io_, this->loopback(), [&](Connection& connection) {
        connection.request.resize(1);
        connection.socket.async_read_some(asio::buffer(connection.request),
                                          [&](const Code& error, std::size_t) { seen = error; });
    });
    this->probe(this->connect(server.port()));
    while (!seen) this->io_.run_one();
    EXPECT_EQ(*seen, asio::error::connection_reset);
}

TYPED_TEST(Probers, NobodyListeningIsRefused) {
    std::uint16_t port = 0;
    {
        port = Server(this->io_, this->loopback(), [](Connection&) {}).port();
    }
    for (const CheckSpec& spec : {this->connect(port), this->http(port)}) {
        const ProbeResult result = this->probe(spec);
        EXPECT_EQ(result.outcome, Outcome::refused) << result.text;
    }
}

TYPED_TEST(Probers, NoAnswerToTheSynIsATimeout) {
    this->timeout_ = Duration::milliseconds(150);
    // A listener whose queue is full lets the kernel drop every further SYN.
    tcp::acceptor full(this->io_);
    const tcp::endpoint any(asio::ip::make_address(this->loopback().text()), 0);
    full.open(any.protocol());
    full.bind(any);
    full.listen(0);
    tcp::socket queued(this->io_);
    queued.connect(full.local_endpoint());
    const ProbeResult result = this->probe(this->connect(full.local_endpoint().port()));
    EXPECT_EQ(result.outcome, Outcome::timeout);
    EXPECT_EQ(result.text, "no connection within 150 ms");
    EXPECT_GE(result.duration, this->timeout_);
}

TYPED_TEST(Probers, NoRouteIsUnreachable) {
    const ProbeResult result = this->probe(check_spec(*IpAddress::parse(TypeParam::nowhere), 80, {}));
    EXPECT_EQ(result.outcome, Outcome::unreachable) << result.text;
}

TYPED_TEST(Probers, AGoodReplyIsOk) {
    std::string request;
    Server server(this->io_, this->loopback(), [&](Connection& connection) {
        connection.when_asked([&](Connection& asked) {
            request = asked.request;
            asked.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", [](Connection&) {});
        });
    });
    CheckSpec spec = this->http(server.port());
    spec.check.path = "/healthz";
    const ProbeResult result = this->probe(spec);
    EXPECT_EQ(result.outcome, Outcome::ok);
    EXPECT_EQ(result.text, "HTTP 200");
    EXPECT_TRUE(request.starts_with("GET /healthz HTTP/1.1\r\nHost: ")) << request;
}

TYPED_TEST(Probers, AReplyThatComesBeforeTheQuestionCounts) {
    const ProbeResult result = this->probe_http([](Connection& connection) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [](Connection& sent) { sent.socket.close(); });
    });
    EXPECT_EQ(result.outcome, Outcome::ok) << result.text;
}

TYPED_TEST(Probers, AWrongStatusIsKnownBeforeItsBody) {
    const ProbeResult result = this->probe_http([](Connection& connection) {
        connection.when_asked(
            [](Connection& asked) { asked.send("HTTP/1.1 503 x\r\nContent-Length: 9\r\n\r\n", [](Connection&) {}); });
    });
    EXPECT_EQ(result.outcome, Outcome::bad_status);
    EXPECT_EQ(result.text, "HTTP 503");
}

TYPED_TEST(Probers, SilenceAfterConnectingIsATimeout) {
    this->timeout_ = Duration::milliseconds(150);
    const ProbeResult result = this->probe_http([](Connection&) {});
    EXPECT_EQ(result.outcome, Outcome::timeout);
    EXPECT_EQ(result.text, "no complete reply within 150 ms");
    EXPECT_GE(result.duration, this->timeout_);
}

TYPED_TEST(Probers, AByteAtATimeBuysNoTime) {
    this->timeout_ = Duration::milliseconds(150);
    for (const std::string_view start : {"HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\n\r\n"}) {
        const ProbeResult result = this->probe_http([start](Connection& connection) { connection.drip(start); });
        EXPECT_EQ(result.outcome, Outcome::timeout) << result.text;
    }
}

TYPED_TEST(Probers, AnEndlessBodyIsCutOff) {
    const ProbeResult result = this->probe_http([](Connection& connection) {
        connection.send("HTTP/1.1 200 OK\r\n\r\n",
                        [](Connection& sent) { sent.send_endlessly(std::string(5000, 'x')); });
    });
    EXPECT_EQ(result.outcome, Outcome::ok);
    EXPECT_EQ(result.text, "HTTP 200, body longer than 64 KiB");
}

TYPED_TEST(Probers, AnEndlessHeaderIsAProtocolError) {
    const ProbeResult result = this->probe_http([](Connection& connection) {
        connection.send("HTTP/1.1 200 OK\r\na: ",
                        [](Connection& sent) { sent.send_endlessly(std::string(5000, 'b')); });
    });
    EXPECT_EQ(result.outcome, Outcome::protocol_error) << result.text;
}

TYPED_TEST(Probers, GarbageIsAProtocolError) {
    const ProbeResult result = this->probe_http(reply("\x16\x03\x01 this is no HTTP at all"));
    EXPECT_EQ(result.outcome, Outcome::protocol_error) << result.text;
}

TYPED_TEST(Probers, AResetIsNamedByItsPlace) {
    const auto reset_after = [this](const std::string& text) {
        return this->probe_http([text](Connection& connection) {
            connection.when_asked(
                [text](Connection& asked) { asked.send(text, [](Connection& sent) { sent.reset(); }); });
        });
    };
    const ProbeResult at_once = this->probe_http([](Connection& connection) { connection.reset(); });
    EXPECT_EQ(at_once.outcome, Outcome::reset) << at_once.text;
    const ProbeResult in_header = reset_after("HTTP/1.1 200 OK\r\nContent-");
    EXPECT_EQ(in_header.outcome, Outcome::reset);
    EXPECT_EQ(in_header.text, "the connection was reset within the header");
    const ProbeResult in_body = reset_after("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    EXPECT_EQ(in_body.outcome, Outcome::reset);
    EXPECT_EQ(in_body.text, "the connection was reset within the body");
}

TYPED_TEST(Probers, AnEarlyEndIsAReset) {
    const ProbeResult without = this->probe_http(reply(""));
    EXPECT_EQ(without.outcome, Outcome::reset);
    EXPECT_EQ(without.text, "the connection was closed before a reply");
    const ProbeResult half = this->probe_http(reply("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
    EXPECT_EQ(half.outcome, Outcome::reset);
    EXPECT_EQ(half.text, "the connection was closed within the body");
}

TYPED_TEST(Probers, ASourceThatIsNotOursSaysNothingOfTheBackend) {
    Server server(this->io_, this->loopback(), [](Connection&) {});
    const std::vector<IpAddress> sources{*IpAddress::parse(Ipv4::foreign), *IpAddress::parse(Ipv6::foreign)};
    const ProbeResult result = this->probe(this->connect(server.port()), sources);
    EXPECT_EQ(result.outcome, Outcome::not_run);
    EXPECT_TRUE(result.text.starts_with("cannot send from ")) << result.text;
}

TYPED_TEST(Probers, NoDescriptorLeftSaysNothingOfTheBackend) {
    Server server(this->io_, this->loopback(), [](Connection&) {});
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const rlimit none{0, limit.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    const ProbeResult result = this->probe(this->connect(server.port()));
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(result.outcome, Outcome::not_run) << result.text;
}

TYPED_TEST(Probers, ProbesOfAProberThatGoesAwayEndInSilence) {
    this->timeout_ = Duration::milliseconds(50);
    Server server(this->io_, this->loopback(), [](Connection&) {});
    const auto never = [](const ProbeResult&) { FAIL() << "called back after the end"; };
    auto prober = std::make_unique<Prober>(this->io_, std::span<const IpAddress>{});
    prober->probe({CheckId(1), this->http(server.port()), {}}, never);
    while (server.connections.empty()) this->io_.run_one();
    prober->probe({CheckId(2), this->http(server.port()), {}}, never);  // not started yet
    prober.reset();
    this->io_.run_for(std::chrono::milliseconds(100));
}

TYPED_TEST(Probers, AHandlerMayEndItsProber) {
    Server server(this->io_, this->loopback(), [](Connection&) {});
    auto prober = std::make_unique<Prober>(this->io_, std::span<const IpAddress>{});
    prober->probe({CheckId(1), this->connect(server.port()), {}}, [&](const ProbeResult&) { prober.reset(); });
    while (prober) this->io_.run_one();
    this->io_.poll();
}

TYPED_TEST(Probers, ManyAtOnceKeepTheirDeadline) {
    this->timeout_ = Duration::milliseconds(150);
    Server server(this->io_, this->loopback(), [](Connection& connection) { connection.drip("HTTP/1.1 200 OK\r\n"); });
    Prober prober(this->io_, {});
    std::size_t done = 0;
    for (std::uint64_t i = 1; i <= 100; ++i) {
        prober.probe({CheckId(i), this->http(server.port()), {}}, [&](const ProbeResult& result) {
            ++done;
            EXPECT_EQ(result.outcome, Outcome::timeout);
        });
    }
    this->run_past_deadline([&] { return done == 100; });
}

void stall(Duration time) {
    const MonotonicClock clock;
    const Instant end = clock.now() + time;
    while (clock.now() < end) {
    }
}

// After a stall one round of the loop sees every deadline that passed, but only some of the sockets (128): a timer that
// expired first stands before them in the queue.
TYPED_TEST(Probers, AStallOfOursIsNotTheBackendsFault) {
    this->timeout_ = Duration::milliseconds(50);
    Server server(this->io_, this->loopback(), [](Connection&) {});
    Prober prober(this->io_, {});
    asio::steady_timer first_in_line(this->io_, std::chrono::milliseconds(1));
    first_in_line.async_wait([](const Code&) {});
    asio::post(this->io_, [] { stall(Duration::milliseconds(2)); });
    int good = 0;
    for (std::uint64_t i = 1; i <= 300; ++i) {
        prober.probe({CheckId(i), this->connect(server.port()), {}},
                     [&](const ProbeResult& result) { good += result.outcome == Outcome::ok ? 1 : 0; });
    }
    asio::post(this->io_, [] { stall(Duration::milliseconds(60)); });
    while (prober.running() > 0) this->io_.run_one();
    EXPECT_EQ(good, 300);
}

TYPED_TEST(Probers, AReplyThatWaitsForUsCounts) {
    this->timeout_ = Duration::milliseconds(600);
    constexpr std::size_t probes = 150;
    asio::steady_timer first_in_line(this->io_);
    std::vector<std::shared_ptr<Connection>> asked;
    Server server(this->io_, this->loopback(), [&](Connection& connection) {
        connection.when_asked([&](Connection& one) {
            asked.push_back(one.shared_from_this());
            if (asked.size() < probes) return;
            first_in_line.expires_after(std::chrono::milliseconds(1));
            first_in_line.async_wait([](const Code&) {});
            stall(Duration::milliseconds(2));
            for (const auto& each : asked) asio::write(each->socket, asio::buffer("HTTP/1.1 204 x\r\n\r\n"));
            stall(this->timeout_);
        });
    });
    Prober prober(this->io_, {});
    int good = 0;
    for (std::uint64_t i = 1; i <= probes; ++i) {
        prober.probe({CheckId(i), this->http(server.port()), {}},
                     [&](const ProbeResult& result) { good += result.outcome == Outcome::ok ? 1 : 0; });
    }
    while (prober.running() > 0) this->io_.run_one();
    EXPECT_EQ(good, probes);
}

TEST(ProberSource, IsTheFirstOfItsFamily) {
    asio::io_context io;
    std::optional<tcp::endpoint> peer;
    Server server(io, IpAddress::v4(127, 0, 0, 1),
                  [&](Connection& connection) { peer = connection.socket.remote_endpoint(); });
    const std::vector<IpAddress> sources{*IpAddress::parse("::1"), IpAddress::v4(127, 0, 0, 2),
                                         IpAddress::v4(127, 0, 0, 3)};
    Prober prober(io, sources);
    const CheckSpec spec = check_spec(IpAddress::v4(127, 0, 0, 1), server.port(), {.type = config::CheckType::http});
    prober.probe({CheckId(1), spec, {}}, [](const ProbeResult&) {});
    while (!peer) io.run_one();
    EXPECT_EQ(peer->address().to_string(), "127.0.0.2");
}

}  // namespace
}  // namespace shunt::controlplane
