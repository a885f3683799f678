#include "controlplane/cli/client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

namespace shunt::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Stream = beast::basic_stream<asio::local::stream_protocol>;

constexpr std::uint64_t largest_answer = 64ULL << 20;

Error unreachable(const Session& session, const boost::system::error_code& error) {
    const std::string why = error == beast::error::timeout ? "no answer in time" : error.message();
    return {.message = "cannot reach the control plane: " + why,
            .remedy = error == boost::system::errc::permission_denied
                          ? "run as root"
                          : "is shunt-controlplane running? --socket names another socket",
            .file = session.socket};
}

// Runs one asynchronous operation to its end; the stream's own timer bounds it.
template <class Start>
boost::system::error_code complete(asio::io_context& io, Start&& start) {
    boost::system::error_code outcome;
    start([&outcome](const boost::system::error_code& error, auto&&...) { outcome = error; });
    io.restart();
    io.run();
    return outcome;
}

Result<Reply> understand(const Session& session, unsigned status, const std::string& body) {
    Reply reply{status, nlohmann::json::parse(body, nullptr, false)};
    if (reply.document.is_discarded()) {
        return Error{.message = "the answer is not JSON (HTTP " + std::to_string(status) + ")",
                     .remedy = "is this the control plane's socket?",
                     .file = session.socket};
    }
    return reply;
}

}  // namespace

Result<Reply> Client::call(const std::string& method, const std::string& target,
                           const std::optional<nlohmann::json>& body, bool only_new) const {
    asio::io_context io;
    Stream stream(io);
    // The server itself waits up to the time limit for the workers; it answers then.
    stream.expires_after(session_.timeout + std::chrono::seconds(2));
    if (session_.socket.size() >= 108) {
        return Error{
            .message = "the path of the socket is too long", .remedy = "use a shorter one", .file = session_.socket};
    }

    http::request<http::string_body> request{http::string_to_verb(method), target, 11};
    request.set(http::field::host, "shunt");
    request.set(http::field::connection, "close");
    if (only_new) request.set(http::field::if_none_match, "*");
    if (body) {
        request.set(http::field::content_type, "application/json");
        request.body() = body->dump();
    }
    request.prepare_payload();
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(largest_answer);

    auto error = complete(
        io, [&](auto done) { stream.async_connect(asio::local::stream_protocol::endpoint(session_.socket), done); });
    if (!error) error = complete(io, [&](auto done) { http::async_write(stream, request, done); });
    // A server that refuses a body early answers and closes: read what it says all the same.
    if (!error || error == boost::system::errc::broken_pipe) {
        error = complete(io, [&](auto done) { http::async_read(stream, buffer, parser, done); });
    }
    if (error) return unreachable(session_, error);
    return understand(session_, parser.get().result_int(), parser.get().body());
}

}  // namespace shunt::cli
