// HTTP/1.1 on a unix socket, as little of it as the API needs. Who calls is read from the socket (SO_PEERCRED). Also on
// a TCP port, where nobody is known.
//
// Bounds: `max_connections`, the one idle for longest gives way to a new one; header and body sizes; a request must be
// complete `request_time` after its first byte; an idle connection is closed after `idle_time`.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/net/address.h"

namespace boost::asio {
class io_context;
}

namespace shunt::controlplane {

struct HttpRequest {
    std::string method{};                        // "GET", …
    std::vector<std::string> path{};             // decoded segments: "/v1/services/a%2Fb" is {"v1", "services", "a/b"}
    std::map<std::string, std::string> query{};  // decoded
    std::string if_match{};                      // as sent; empty if absent
    std::string if_none_match{};                 // the same
    std::string body{};
    uid_t uid{nobody};
    pid_t pid{};

    static constexpr uid_t nobody = static_cast<uid_t>(-1);
};

struct HttpResponse {
    unsigned status{200};
    std::string body{};
    std::string content_type{"application/json"};
    std::string etag{};   // as sent; empty: none
    std::string allow{};  // with 405
};

// Called once per request; answers by calling `reply` once, now or later.
using HttpReply = std::function<void(HttpResponse)>;
using HttpHandler = std::function<void(HttpRequest, HttpReply)>;
// Errors of HTTP itself (bad syntax, too large) are put into words by the API, too.
using HttpErrorPage = std::function<HttpResponse(unsigned status, std::string sentence)>;

struct HttpLimits {
    std::size_t max_connections{256};
    std::uint32_t header_bytes{16 * 1024};
    std::uint64_t body_bytes{16 * 1024 * 1024};
    Duration request_time{Duration::seconds(10)};
    Duration idle_time{Duration::seconds(60)};
};

// The path and query of a request target; false if it is malformed or names a parameter twice.
bool parse_target(std::string_view target, HttpRequest& into);

class HttpServer {
  public:
    // Makes the socket (mode 0660), in place of one left by a process that died. The caller holds the instance's lock,
    // so nobody else is listening there.
    static Result<std::unique_ptr<HttpServer>> listen(boost::asio::io_context& io, const std::string& path,
                                                      HttpHandler handler, HttpErrorPage error_page,
                                                      HttpLimits limits = {});
    // On a TCP port. What it answers may be read by whoever reaches it.
    static Result<std::unique_ptr<HttpServer>> listen(boost::asio::io_context& io, const AddressAndPort& where,
                                                      HttpHandler handler, HttpErrorPage error_page,
                                                      HttpLimits limits = {});
    ~HttpServer();  // closes everything and removes the socket
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;

  private:
    class Impl;
    explicit HttpServer(std::shared_ptr<Impl> impl) noexcept;
    std::shared_ptr<Impl> impl_;  // shared with the coroutines that serve
};

}  // namespace shunt::controlplane
