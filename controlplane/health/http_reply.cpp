#include "controlplane/health/http_reply.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <cstdint>

#include "src/base/assert.h"

namespace shunt::controlplane {
namespace {

namespace http = boost::beast::http;
using Code = boost::beast::error_code;

constexpr std::string_view user_agent = "shunt-check";

// Beast looks at the first line once it is whole; what greets with something else (SSH, SMTP) would be waited for in
// vain.
bool may_become_http(std::string_view header) noexcept {
    constexpr std::string_view start = "HTTP/1.";
    const std::size_t known = std::min(start.size(), header.size());
    return header.substr(0, known) == start.substr(0, known);
}

// A body that is counted elsewhere and kept nowhere.
struct NoBody {
    struct value_type {};
    struct reader {
        template <bool is_request, class Fields>
        reader(http::header<is_request, Fields>& /*header*/, value_type& /*body*/) {}
        void init(const boost::optional<std::uint64_t>& /*length*/, Code& error) { error = {}; }
        template <class Buffers>
        std::size_t put(const Buffers& buffers, Code& error) {
            error = {};
            return boost::asio::buffer_size(buffers);
        }
        void finish(Code& error) { error = {}; }
    };
};

}  // namespace

std::string http_request(const CheckSpec& spec) {
    const std::uint16_t port = spec.check.port.value_or(80);
    const std::string address = spec.address.is_v4() ? spec.address.text() : "[" + spec.address.text() + "]";
    const std::string target = port == 80 ? address : address_and_port(spec.address, port);
    return "GET " + spec.check.path + " HTTP/1.1\r\nHost: " + (spec.check.host.empty() ? target : spec.check.host) +
           "\r\nUser-Agent: " + std::string(user_agent) + "\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

class HttpReply::Parser : public http::response_parser<NoBody> {
  public:
    Parser() {
        eager(true);
        http::response_parser<NoBody>::header_limit(HttpReply::header_limit);
        body_limit(boost::none);  // the whole reply is bounded
    }
    unsigned status() const { return get().result_int(); }
    // 100 Continue and the like come before the reply itself.
    bool is_interim() const { return status() / 100 == 1 && status() != 101; }

    bool begun{};  // has taken the status line
};

HttpReply::HttpReply(std::span<const config::StatusRange> wanted)
    : wanted_(wanted), parser_(std::make_unique<Parser>()) {}
HttpReply::~HttpReply() = default;

std::size_t HttpReply::room() const noexcept { return byte_limit - received_; }

bool HttpReply::is_wanted(unsigned status) const noexcept {
    return std::any_of(wanted_.begin(), wanted_.end(),
                       [status](const auto& range) { return range.first <= status && status <= range.last; });
}

std::optional<Judgement> HttpReply::feed(std::string_view bytes) {
    SHUNT_ASSERT(bytes.size() <= room());
    received_ += bytes.size();
    pending_.append(bytes);
    auto judgement = parse();
    while (!judgement && parser_->is_done()) {  // an interim reply: the next one begins where it ended
        parser_ = std::make_unique<Parser>();
        judgement = parse();
    }
    if (judgement || room() > 0) return judgement;
    if (!parser_->is_header_done()) return Judgement{Outcome::protocol_error, "no HTTP header within 64 KiB"};
    return Judgement{Outcome::ok, "HTTP " + std::to_string(parser_->status()) + ", body longer than 64 KiB"};
}

// Takes what it can from `pending_`.
std::optional<Judgement> HttpReply::parse() {
    if (!parser_->begun && !may_become_http(pending_)) return Judgement{Outcome::protocol_error, "not HTTP"};
    Code error;
    while (!pending_.empty() && !parser_->is_done()) {
        const std::size_t used = parser_->put(boost::asio::buffer(pending_), error);
        pending_.erase(0, used);
        parser_->begun = parser_->begun || used > 0;
        if (error && error != http::error::need_more) {
            return Judgement{Outcome::protocol_error, "not HTTP: " + error.message()};
        }
        if (error || used == 0) break;
    }
    if (!parser_->is_header_done() || parser_->is_interim()) return std::nullopt;
    const std::string status = "HTTP " + std::to_string(parser_->status());
    if (!is_wanted(parser_->status())) return Judgement{Outcome::bad_status, status};
    if (parser_->is_done()) return Judgement{Outcome::ok, status};
    return std::nullopt;
}

Judgement HttpReply::ended() {
    Code error;
    if (parser_->got_some()) parser_->put_eof(error);
    if (!error && parser_->is_done()) return {Outcome::ok, "HTTP " + std::to_string(parser_->status())};
    return broke("the connection was closed");
}

Judgement HttpReply::broke(std::string_view why) const {
    if (received_ == 0) return {Outcome::reset, std::string(why) + " before a reply"};
    if (!parser_->is_header_done()) return {Outcome::reset, std::string(why) + " within the header"};
    return {Outcome::reset, std::string(why) + " within the body"};
}

}  // namespace shunt::controlplane
