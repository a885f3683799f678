// HTTP on a real unix socket: what is answered, what is refused, and what gives way.
#include "controlplane/server/http.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <future>
#include <thread>

namespace shunt::controlplane {
namespace {

namespace asio = boost::asio;

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
}

// A port on 127.0.0.1 that is bound, but not listened on.
class TakenPort {
  public:
    TakenPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_in address = loopback(0);
        socklen_t size = sizeof address;
        EXPECT_EQ(bind(fd_, reinterpret_cast<const sockaddr*>(&address), size), 0);
        EXPECT_EQ(getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size), 0);
        number_ = ntohs(address.sin_port);
    }
    ~TakenPort() { close(fd_); }
    TakenPort(const TakenPort&) = delete;
    TakenPort& operator=(const TakenPort&) = delete;
    std::uint16_t number() const { return number_; }

  private:
    int fd_;
    std::uint16_t number_{};
};

// A blocking client; gives up after ten seconds.
class Client {
  public:
    explicit Client(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        const timeval limit{.tv_sec = 10, .tv_usec = 0};
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    // To a port on 127.0.0.1.
    explicit Client(std::uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const sockaddr_in address = loopback(port);
        const timeval limit{.tv_sec = 10, .tv_usec = 0};
        setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    }
    ~Client() { close(fd_); }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    bool connected() const { return connected_; }
    void send(const std::string& text) const {
        std::size_t at = 0;
        while (at < text.size()) {
            const auto sent = ::send(fd_, text.data() + at, text.size() - at, MSG_NOSIGNAL);
            if (sent <= 0) return;
            at += static_cast<std::size_t>(sent);
        }
    }
    // Until `text` ends with `end`, or the server closes.
    std::string read_until(const std::string& end) const {
        std::string text;
        char byte = 0;
        while (text.size() < end.size() || text.compare(text.size() - end.size(), end.size(), end) != 0) {
            if (recv(fd_, &byte, 1, 0) != 1) return text + "<closed>";
            text += byte;
        }
        return text;
    }
    std::string exchange(const std::string& text) const {
        send(text);
        return read_until("}");
    }

  private:
    int fd_;
    bool connected_{};
};

class HttpTest : public testing::Test {
  protected:
    HttpTest() {
        char name[] = "/tmp/shunt-http-XXXXXX";
        directory_ = mkdtemp(name);
        path_ = directory_ + "/api.sock";
    }
    ~HttpTest() override {
        if (thread_.joinable()) {
            asio::post(io_, [this] {
                server_.reset();
                work_.reset();
            });
            thread_.join();
        }
        std::filesystem::remove_all(directory_);
    }

    void serve(HttpHandler handler, HttpLimits limits = {}) { serve_at(path_, std::move(handler), limits); }
    template <class Where>
    void serve_at(const Where& where, HttpHandler handler, HttpLimits limits = {}) {
        auto server = HttpServer::listen(io_, where, std::move(handler), error_page, limits);
        ASSERT_TRUE(server) << server.error().text();
        server_ = std::move(*server);
        thread_ = std::thread([this] { io_.run(); });
    }
    static HttpResponse error_page(unsigned status, const std::string& sentence) {
        return {.status = status, .body = "{" + sentence + "}"};
    }
    // Says back what it understood.
    static void echo(const HttpRequest& request, const HttpReply& reply) {
        std::string text = "{" + request.method;
        for (const auto& segment : request.path) text += " [" + segment + "]";
        for (const auto& [key, value] : request.query) text += " " + key + "=" + value;
        reply({.body =
                   text + " uid " + std::to_string(request.uid) + " body " + std::to_string(request.body.size()) + "}",
               .etag = "\"7\""});
    }

    asio::io_context io_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
    std::string directory_{}, path_{};
    std::unique_ptr<HttpServer> server_{};
    std::thread thread_{};
};

std::string get(const std::string& target) { return "GET " + target + " HTTP/1.1\r\nHost: shunt\r\n\r\n"; }

TEST_F(HttpTest, AnswersAndKeepsTheConnection) {
    serve(echo);
    const Client client(path_);
    const auto answer = client.exchange(get("/v1/a%2Fb?wait=0&x"));
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_NE(answer.find("ETag: \"7\""), std::string::npos);
    EXPECT_NE(answer.find("Content-Type: application/json"), std::string::npos);
    const auto self = "{GET [v1] [a/b] wait=0 x= uid " + std::to_string(getuid()) + " body 0}";
    EXPECT_TRUE(answer.ends_with(self)) << answer;
    client.send(get("/1") + get("/2"));
    EXPECT_NE(client.read_until("}").find("{GET [1]"), std::string::npos);
    EXPECT_NE(client.read_until("}").find("{GET [2]"), std::string::npos);
}

TEST_F(HttpTest, TakesABodyAlsoAfterAskingFirst) {
    serve(echo);
    const Client client(path_);
    client.send("PUT /x HTTP/1.1\r\nHost: shunt\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_TRUE(client.read_until("\r\n\r\n").starts_with("HTTP/1.1 100 "));
    EXPECT_NE(client.exchange("12345").find("body 5}"), std::string::npos);
}

TEST_F(HttpTest, RefusesWhatIsTooLargeOrNoHttp) {
    serve(echo, {.header_bytes = 512, .body_bytes = 64});
    EXPECT_TRUE(Client(path_).exchange("PUT /x HTTP/1.1\r\nContent-Length: 65\r\n\r\n").starts_with("HTTP/1.1 413 "));
    EXPECT_TRUE(Client(path_)
                    .exchange("GET /x HTTP/1.1\r\nX: " + std::string(600, 'x') + "\r\n\r\n")
                    .starts_with("HTTP/1.1 431 "));
    EXPECT_TRUE(Client(path_).exchange("\x16\x03\x01 hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
    EXPECT_TRUE(Client(path_).exchange(get("/%zz")).starts_with("HTTP/1.1 400 "));
    EXPECT_TRUE(Client(path_).exchange(get("/?a=1&a=2")).starts_with("HTTP/1.1 400 "));
}

TEST_F(HttpTest, AnAnswerMayComeLaterWhileOthersAreServed) {
    std::promise<HttpReply> asked;
    serve([&](const HttpRequest& request, const HttpReply& reply) {
        if (request.path[0] == "later") return asked.set_value(reply);
        echo(request, reply);
    });
    const Client waiting(path_);
    waiting.send(get("/later"));
    const HttpReply reply = asked.get_future().get();
    EXPECT_NE(Client(path_).exchange(get("/now")).find("{GET [now]"), std::string::npos);
    asio::post(io_, [reply] { reply({.body = "{done}"}); });
    EXPECT_TRUE(waiting.read_until("}").ends_with("{done}"));
}

TEST_F(HttpTest, ARequestMustBeCompleteInTime) {
    serve(echo, {.request_time = Duration::milliseconds(30)});
    const Client client(path_);
    client.send("GET /x HTTP/1.1\r\n");
    EXPECT_EQ(client.read_until("}"), "<closed>");
}

TEST_F(HttpTest, AnIdleConnectionIsClosed) {
    serve(echo, {.idle_time = Duration::milliseconds(30)});
    const Client client(path_);
    EXPECT_EQ(client.read_until("}"), "<closed>");
}

TEST_F(HttpTest, TheConnectionIdleForLongestGivesWay) {
    serve(echo, {.max_connections = 3});
    const Client first(path_), second(path_), third(path_);
    ASSERT_FALSE(first.exchange(get("/1")).empty());
    ASSERT_FALSE(second.exchange(get("/2")).empty());
    ASSERT_FALSE(third.exchange(get("/3")).empty());
    ASSERT_FALSE(first.exchange(get("/1")).empty());  // now second is the oldest
    EXPECT_NE(Client(path_).exchange(get("/new")).find("[new]"), std::string::npos);
    EXPECT_EQ(second.read_until("}"), "<closed>");
    EXPECT_NE(first.exchange(get("/still")).find("[still]"), std::string::npos);
}

TEST_F(HttpTest, ManyIdleConnectionsDoNotLockAnybodyOut) {
    serve(echo, {.max_connections = 16});
    std::vector<std::unique_ptr<Client>> idle;
    for (int i = 0; i < 200; ++i) idle.push_back(std::make_unique<Client>(path_));
    EXPECT_NE(Client(path_).exchange(get("/in")).find("[in]"), std::string::npos);
}

TEST_F(HttpTest, TheSocketIsForOwnerAndGroupAndReplacesADeadOne) {
    {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
        ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        close(fd);
    }
    serve(echo);
    struct stat found {};
    ASSERT_EQ(stat(path_.c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 0777, 0660u);
    EXPECT_TRUE(Client(path_).connected());
}

TEST_F(HttpTest, SaysWhyItCannotListen) {
    for (const auto& path : {directory_ + "/" + std::string(200, 'x'), directory_ + "/missing/api.sock"}) {
        const auto server = HttpServer::listen(io_, path, echo, error_page);
        ASSERT_FALSE(server);
        EXPECT_NE(server.error().text().find("API socket"), std::string::npos);
    }
}

TEST_F(HttpTest, GoesAwayWithoutATrace) {
    serve(echo);
    const Client client(path_);
    ASSERT_FALSE(client.exchange(get("/1")).empty());
    std::promise<void> gone;
    asio::post(io_, [&] {
        server_.reset();
        gone.set_value();
    });
    gone.get_future().wait();
    EXPECT_EQ(client.read_until("}"), "<closed>");
    EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(HttpTest, OnATcpPortNobodyIsKnown) {
    const std::uint16_t port = TakenPort().number();
    serve_at(AddressAndPort{IpAddress::v4(127, 0, 0, 1), port}, echo);
    const Client client(port);
    ASSERT_TRUE(client.connected());
    const std::string answer = client.exchange("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_NE(answer.find("{GET [metrics] uid " + std::to_string(HttpRequest::nobody) + " body 0}"), std::string::npos)
        << answer;
}

TEST_F(HttpTest, ATcpPortThatIsTakenIsRefusedWithASentence) {
    const TakenPort taken;
    const AddressAndPort where{IpAddress::v4(127, 0, 0, 1), taken.number()};
    const auto server = HttpServer::listen(io_, where, echo, error_page);
    ASSERT_FALSE(server);
    EXPECT_EQ(server.error().text(), "cannot listen on 127.0.0.1:" + std::to_string(taken.number()) +
                                         ": Address already in use; choose another address and port");
}

}  // namespace
}  // namespace shunt::controlplane
