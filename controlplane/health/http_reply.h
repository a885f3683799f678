// Judges the reply to an HTTP check as its bytes come in. No sockets, so it can be fuzzed: the bytes are hostile.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "controlplane/health/check.h"

namespace shunt::controlplane {

struct Judgement {
    Outcome outcome{};
    std::string text{};
};

// "GET … HTTP/1.1" for this check, ready to send. Host is the check's, else the probed address.
std::string http_request(const CheckSpec& spec);

class HttpReply {
  public:
    static constexpr std::size_t byte_limit = 65'536;    // of one reply; what follows is never asked for
    static constexpr std::size_t header_limit = 16'384;  // of these, for the header

    // `wanted` must outlive this.
    explicit HttpReply(std::span<const config::StatusRange> wanted);
    ~HttpReply();
    HttpReply(const HttpReply&) = delete;
    HttpReply& operator=(const HttpReply&) = delete;

    // At most `room` bytes at a time. A judgement ends the reply.
    std::optional<Judgement> feed(std::string_view bytes);
    std::size_t room() const noexcept;
    // The peer closed in order (a body may end so), or the connection broke.
    Judgement ended();
    Judgement broke(std::string_view why) const;

  private:
    class Parser;
    std::optional<Judgement> parse();
    bool is_wanted(unsigned status) const noexcept;

    std::span<const config::StatusRange> wanted_;
    std::unique_ptr<Parser> parser_;
    std::string pending_{};  // received, not parsed yet: part of a header or of a chunk's size
    std::size_t received_{};
};

}  // namespace shunt::controlplane
