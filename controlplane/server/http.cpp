#include "controlplane/server/http.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <list>
#include <optional>

namespace shunt::controlplane {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Local = asio::local::stream_protocol;
using Tcp = asio::ip::tcp;
using Any = asio::generic::stream_protocol;  // either of them
using ErrorCode = boost::system::error_code;
template <class T>
using Awaitable = asio::awaitable<T>;

auto quietly(ErrorCode& error) { return asio::redirect_error(asio::use_awaitable, error); }

std::chrono::nanoseconds chrono(Duration d) { return std::chrono::nanoseconds(d.nanoseconds); }

}  // namespace

// GCC 12 miscompiles co_await inside larger expressions: here each stands in a statement of its own.
class HttpServer::Impl : public std::enable_shared_from_this<HttpServer::Impl> {
  public:
    Impl(asio::io_context& io, HttpHandler handler, HttpErrorPage error_page, HttpLimits limits)
        : acceptor_(io), handler_(std::move(handler)), error_page_(std::move(error_page)), limits_(limits) {}

    Status listen(const std::string& path);
    Status listen(const AddressAndPort& where);
    void start() { asio::co_spawn(acceptor_.get_executor(), accept_all(shared_from_this()), asio::detached); }
    void stop();

  private:
    using Stream = beast::basic_stream<Any>;
    using Message = http::response<http::string_body>;
    struct Connection {
        explicit Connection(Any::socket socket) : stream(std::move(socket)) {}
        Stream stream;
        beast::flat_buffer buffer{};
        uid_t uid{HttpRequest::nobody};
        pid_t pid{};
        std::list<Connection*>::iterator place{};  // among all; those idle for longest come first
        bool idle{true};
    };
    using Self = std::shared_ptr<Impl>;
    using Parser = http::request_parser<http::string_body>;

    static Awaitable<void> accept_all(Self self);
    static Awaitable<void> serve(Self self, std::unique_ptr<Connection> connection);
    Awaitable<bool> serve_one(Connection& connection);
    Awaitable<bool> wait_for_request(Connection& connection);
    Awaitable<ErrorCode> read_request(Connection& connection, Parser& parser);
    Awaitable<HttpResponse> ask(HttpRequest request);
    Awaitable<bool> send(Connection& connection, HttpResponse response, bool keep_alive);
    bool read_caller(Connection& connection) const;
    void make_room();
    HttpResponse refuse_message(const ErrorCode& error) const;

    asio::basic_socket_acceptor<Any> acceptor_;
    HttpHandler handler_;
    HttpErrorPage error_page_;
    HttpLimits limits_;
    std::string path_{};
    std::list<Connection*> connections_{};
    bool stopping_{};
};

Status HttpServer::Impl::listen(const std::string& path) {
    const auto failure = [&](const std::string& what, const ErrorCode& error) {
        return Error{.message = what + ": " + error.message(),
                     .remedy = "choose another place with [api] socket or --run-dir",
                     .file = path};
    };
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
        return failure("the path of the API socket is too long",
                       ErrorCode(ENAMETOOLONG, boost::system::system_category()));
    }
    struct stat found {};
    if (lstat(path.c_str(), &found) == 0 && S_ISSOCK(found.st_mode)) unlink(path.c_str());
    ErrorCode error;
    acceptor_.open(Any(Local()), error);
    if (error) return failure("cannot make the API socket", error);
    const mode_t before = umask(0117);  // 0660 from the first moment on
    acceptor_.bind(Any::endpoint(Local::endpoint(path)), error);
    umask(before);
    if (error) return failure("cannot bind the API socket", error);
    path_ = path;
    acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return failure("cannot listen on the API socket", error);
    return Done{};
}

Status HttpServer::Impl::listen(const AddressAndPort& where) {
    const std::string text = address_and_port(where.address, where.port);
    const Tcp::endpoint endpoint(asio::ip::make_address(where.address.text()), where.port);
    ErrorCode error;
    acceptor_.open(Any(endpoint.protocol()), error);
    if (!error) acceptor_.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor_.bind(Any::endpoint(endpoint), error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) return Done{};
    return Error{.message = "cannot listen on " + text + ": " + error.message(),
                 .remedy = "choose another address and port",
                 .key = "http.listen"};
}

void HttpServer::Impl::stop() {
    stopping_ = true;
    ErrorCode ignored;
    acceptor_.close(ignored);
    for (Connection* connection : connections_) connection->stream.close();
    if (!path_.empty()) unlink(path_.c_str());
    // What may still be referred to by a reply that comes too late.
    handler_ = nullptr;
    error_page_ = nullptr;
}

Awaitable<void> HttpServer::Impl::accept_all(Self self) {
    asio::steady_timer pause(self->acceptor_.get_executor());
    while (!self->stopping_) {
        ErrorCode error;
        Any::socket socket = co_await self->acceptor_.async_accept(quietly(error));
        if (self->stopping_) co_return;
        if (error) {  // no descriptors, no memory: later
            pause.expires_after(std::chrono::milliseconds(50));
            co_await pause.async_wait(quietly(error));
            continue;
        }
        self->make_room();
        auto connection = std::make_unique<Connection>(std::move(socket));
        if (!self->path_.empty() && !self->read_caller(*connection)) continue;
        connection->place = self->connections_.insert(self->connections_.end(), connection.get());
        asio::co_spawn(self->acceptor_.get_executor(), serve(self, std::move(connection)), asio::detached);
    }
}

bool HttpServer::Impl::read_caller(Connection& connection) const {
    ucred caller{};
    socklen_t size = sizeof caller;
    const int socket = connection.stream.socket().native_handle();
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &caller, &size) != 0) return false;
    connection.uid = caller.uid;
    connection.pid = caller.pid;
    return true;
}

void HttpServer::Impl::make_room() {
    if (connections_.size() < limits_.max_connections) return;
    for (Connection* connection : connections_) {
        if (!connection->idle || !connection->stream.socket().is_open()) continue;
        connection->stream.close();  // its coroutine ends and takes it off the list
        return;
    }
}

Awaitable<void> HttpServer::Impl::serve(Self self, std::unique_ptr<Connection> connection) {
    while (!self->stopping_) {
        const bool again = co_await self->serve_one(*connection);
        if (!again) break;
        self->connections_.splice(self->connections_.end(), self->connections_, connection->place);
    }
    self->connections_.erase(connection->place);
}

// True if the connection can take another request.
Awaitable<bool> HttpServer::Impl::serve_one(Connection& connection) {
    const bool begun = co_await wait_for_request(connection);
    if (!begun) co_return false;
    Parser parser;
    parser.header_limit(limits_.header_bytes);
    parser.body_limit(limits_.body_bytes);
    connection.stream.expires_after(chrono(limits_.request_time));
    const ErrorCode error = co_await read_request(connection, parser);
    if (error) {
        const bool spoke = error.category() == http::make_error_code(http::error::bad_method).category();
        if (stopping_ || !spoke || error == http::error::end_of_stream) co_return false;
        co_await send(connection, refuse_message(error), false);
        co_return false;
    }
    auto message = parser.release();
    const bool keep_alive = message.keep_alive();
    HttpRequest request;
    request.method = std::string(message.method_string());
    request.if_match = std::string(message[http::field::if_match]);
    request.if_none_match = std::string(message[http::field::if_none_match]);
    request.uid = connection.uid;
    request.pid = connection.pid;
    const bool sound = parse_target({message.target().data(), message.target().size()}, request);
    request.body = std::move(message.body());
    connection.idle = false;
    HttpResponse response;
    if (sound) {
        response = co_await ask(std::move(request));
    } else {
        response = error_page_(400, "the request's path or query is malformed, or a parameter is there twice");
    }
    if (stopping_) co_return false;
    const bool sent = co_await send(connection, std::move(response), keep_alive);
    connection.idle = true;
    co_return sent&& keep_alive;
}

// The first byte of a request may take its time; the rest may not.
Awaitable<bool> HttpServer::Impl::wait_for_request(Connection& connection) {
    if (connection.buffer.size() > 0) co_return true;
    connection.stream.expires_after(chrono(limits_.idle_time));
    ErrorCode error;
    const std::size_t read =
        co_await connection.stream.async_read_some(connection.buffer.prepare(4096), quietly(error));
    connection.buffer.commit(read);
    co_return !error && !stopping_;
}

Awaitable<ErrorCode> HttpServer::Impl::read_request(Connection& connection, Parser& parser) {
    ErrorCode error;
    co_await http::async_read_header(connection.stream, connection.buffer, parser, quietly(error));
    if (error) co_return error;
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
        http::response<http::empty_body> go_on(http::status::continue_, 11);
        co_await http::async_write(connection.stream, go_on, quietly(error));
        if (error) co_return error;
    }
    co_await http::async_read(connection.stream, connection.buffer, parser, quietly(error));
    co_return error;
}

HttpResponse HttpServer::Impl::refuse_message(const ErrorCode& error) const {
    if (error == http::error::header_limit) return error_page_(431, "the request's header is too large");
    if (error == http::error::body_limit) {
        return error_page_(413, "the request's body is larger than " + std::to_string(limits_.body_bytes) + " bytes");
    }
    return error_page_(400, "this is not an HTTP request: " + error.message());
}

Awaitable<HttpResponse> HttpServer::Impl::ask(HttpRequest request) {
    return asio::async_initiate<const asio::use_awaitable_t<>, void(HttpResponse)>(
        [this](auto completion, HttpRequest asked) {
            auto shared = std::make_shared<decltype(completion)>(std::move(completion));
            handler_(std::move(asked), [shared, executor = acceptor_.get_executor()](HttpResponse response) {
                asio::post(executor,
                           [shared, answer = std::move(response)]() mutable { (*shared)(std::move(answer)); });
            });
        },
        asio::use_awaitable, std::move(request));
}

Awaitable<bool> HttpServer::Impl::send(Connection& connection, HttpResponse response, bool keep_alive) {
    Message message(static_cast<http::status>(response.status), 11);
    message.set(http::field::content_type, response.content_type);
    message.set(http::field::cache_control, "no-store");
    if (!response.etag.empty()) message.set(http::field::etag, response.etag);
    if (!response.allow.empty()) message.set(http::field::allow, response.allow);
    message.keep_alive(keep_alive);
    message.body() = std::move(response.body);
    message.prepare_payload();
    connection.stream.expires_after(chrono(limits_.request_time));
    ErrorCode error;
    co_await http::async_write(connection.stream, message, quietly(error));
    co_return !error;
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

HttpServer::~HttpServer() { impl_->stop(); }

namespace {

template <class Impl, class Server, class Where>
Result<std::unique_ptr<Server>> started(std::shared_ptr<Impl> impl, std::unique_ptr<Server> server,
                                        const Where& where) {
    if (const Status listening = impl->listen(where); !listening) return listening.error();
    impl->start();
    return server;
}

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::listen(asio::io_context& io, const std::string& path,
                                                       HttpHandler handler, HttpErrorPage error_page,
                                                       HttpLimits limits) {
    auto impl = std::make_shared<Impl>(io, std::move(handler), std::move(error_page), limits);
    return started(impl, std::unique_ptr<HttpServer>(new HttpServer(impl)), path);
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(asio::io_context& io, const AddressAndPort& where,
                                                       HttpHandler handler, HttpErrorPage error_page,
                                                       HttpLimits limits) {
    auto impl = std::make_shared<Impl>(io, std::move(handler), std::move(error_page), limits);
    return started(impl, std::unique_ptr<HttpServer>(new HttpServer(impl)), where);
}

}  // namespace shunt::controlplane
