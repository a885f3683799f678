// The probers: one real probe each, over sockets, on the caller's io_context and in its thread.
//
// A probe's deadline is total: from the moment its SYN is sent until the verdict, connecting, writing and reading
// included, so a byte a second does not buy time. At most 64 KiB are read (HttpReply::byte_limit). Every probe's socket
// is closed with a RST (SO_LINGER 0): a normal close would leave a TIME_WAIT of 60 s here for each, 600,000 of them at
// 10,000 checks a second.
//
//  * tcp: the connection is established.
//  * http: GET with HTTP/1.1 and `Connection: close`; no redirect is followed. A status that is not wanted decides at
//    the end of the header; a wanted one is believed once the body is complete, or longer than we read. A connection
//    that breaks within the body is `reset`.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "controlplane/health/check.h"

namespace boost::asio {
class io_context;
}

namespace shunt::controlplane {

using ProbeHandler = std::function<void(ProbeResult)>;

class Prober {
  public:
    // `io` must outlive this. `sources`: [node].source; the first address of a probe's family is its source, none means
    // that the kernel chooses.
    Prober(boost::asio::io_context& io, std::span<const IpAddress> sources);
    ~Prober();  // probes still running are dropped without a word to their handlers
    Prober(const Prober&) = delete;
    Prober& operator=(const Prober&) = delete;

    // Calls the handler exactly once, never from within this call. Each running probe holds one descriptor: the limit
    // of the process (RLIMIT_NOFILE) should exceed the checks that can run at once, or some become `not_run`.
    void probe(const ProbeRequest& request, ProbeHandler handler);
    std::size_t running() const noexcept;

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace shunt::controlplane
