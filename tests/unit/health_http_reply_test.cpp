#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "controlplane/health/http_reply.h"
#include "src/base/random.h"

namespace shunt::controlplane {
namespace {

using Statuses = std::vector<config::StatusRange>;
const Statuses default_statuses = config::Check{}.status;

// What is said of these bytes, coming `piece` at a time, followed by an orderly end.
Judgement judge(std::string_view bytes, std::size_t piece, const Statuses& wanted = default_statuses) {
    HttpReply reply(wanted);
    while (!bytes.empty()) {
        const std::string_view part = bytes.substr(0, std::min(piece, reply.room()));
        bytes.remove_prefix(part.size());
        if (auto judgement = reply.feed(part)) return *judgement;
    }
    return reply.ended();
}

struct Case {
    std::string_view bytes;
    Outcome outcome;
    std::string_view text;
};

class Replies : public testing::TestWithParam<Case> {};

TEST_P(Replies, AreJudgedTheSameHoweverTheyAreCut) {
    const Case& expected = GetParam();
    for (std::size_t piece = 1; piece <= expected.bytes.size() + 1; ++piece) {
        const Judgement judgement = judge(expected.bytes, piece);
        EXPECT_EQ(judgement.outcome, expected.outcome) << piece << " bytes at a time: " << judgement.text;
        EXPECT_EQ(judgement.text.substr(0, expected.text.size()), expected.text);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Good, Replies,
    testing::Values(
        Case{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Outcome::ok, "HTTP 200"},
        Case{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Outcome::ok, "HTTP 200"},
        Case{"HTTP/1.1 204 No Content\r\n\r\n", Outcome::ok, "HTTP 204"},
        Case{"HTTP/1.0 200 OK\r\n\r\nuntil the end", Outcome::ok, "HTTP 200"},
        Case{"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n", Outcome::ok, "HTTP 302"},
        Case{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Outcome::ok, "HTTP 200"},
        Case{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
             Outcome::ok, "HTTP 200"}));
INSTANTIATE_TEST_SUITE_P(
    Bad, Replies,
    testing::Values(
        Case{"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello", Outcome::bad_status, "HTTP 503"},
        Case{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n", Outcome::bad_status, "HTTP 404"},
        Case{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", Outcome::bad_status, "HTTP 101"},
        Case{"SSH-2.0-OpenSSH_9.2\r\n", Outcome::protocol_error, "not HTTP"},
        Case{"HTTP/1.1 2x0 OK\r\n\r\n", Outcome::protocol_error, "not HTTP"},
        Case{"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello", Outcome::protocol_error, "not HTTP"},
        Case{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n", Outcome::protocol_error, "not HTTP"},
        Case{std::string_view("\0\0\0\0", 4), Outcome::protocol_error, "not HTTP"}));
INSTANTIATE_TEST_SUITE_P(Cut, Replies,
                         testing::Values(Case{"", Outcome::reset, "the connection was closed before a reply"},
                                         Case{"HTTP/1.1 200 OK\r\nContent-Le", Outcome::reset,
                                              "the connection was closed within the header"},
                                         Case{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", Outcome::reset,
                                              "the connection was closed within the body"},
                                         Case{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                                              Outcome::reset, "the connection was closed within the body"},
                                         Case{"HTTP/1.1 100 Continue\r\n\r\n", Outcome::reset,
                                              "the connection was closed within the header"}));

TEST(HttpReply, AcceptsOnlyTheWantedStatuses) {
    const Statuses wanted{{200, 200}, {401, 403}};
    for (unsigned status = 200; status < 600; ++status) {
        const bool good = status == 200 || (status >= 401 && status <= 403);
        const std::string text = "HTTP/1.1 " + std::to_string(status) + " x\r\n\r\n";
        EXPECT_EQ(judge(text, 99, wanted).outcome, good ? Outcome::ok : Outcome::bad_status) << status;
    }
}

TEST(HttpReply, AnEndlessBodyIsReadToTheLimitAndTheStatusDecides) {
    HttpReply reply(default_statuses);
    EXPECT_FALSE(reply.feed("HTTP/1.1 200 OK\r\n\r\n"));
    std::size_t total = 19;
    std::optional<Judgement> judgement;
    while (!judgement) {
        const std::size_t size = std::min<std::size_t>(1000, reply.room());
        total += size;
        judgement = reply.feed(std::string(size, 'x'));
    }
    EXPECT_EQ(total, HttpReply::byte_limit);
    EXPECT_EQ(judgement->outcome, Outcome::ok);
    EXPECT_EQ(judgement->text, "HTTP 200, body longer than 64 KiB");
}

TEST(HttpReply, ALargeHeaderIsAnError) {
    const auto with = [](std::size_t size) { return "HTTP/1.1 200 OK\r\na: " + std::string(size, 'b') + "\r\n\r\n"; };
    EXPECT_EQ(judge(with(HttpReply::header_limit - 100), 999).outcome, Outcome::ok);
    EXPECT_EQ(judge(with(HttpReply::header_limit), 999).outcome, Outcome::protocol_error);
}

TEST(HttpReply, AnEndlessHeaderIsAnError) {
    const auto endless = [](std::string start, const std::string& line) {
        while (start.size() < HttpReply::byte_limit) start += line;
        return judge(start, 1000);
    };
    EXPECT_EQ(endless("HTTP/1.1 200 OK\r\n", "a: b\r\n").outcome, Outcome::protocol_error);
    EXPECT_EQ(endless("HTTP/1.1 200 OK\r\na: ", "bbbbbbbb").outcome, Outcome::protocol_error);
    EXPECT_EQ(endless("", "HTTP/1.1 100 Continue\r\n\r\n").outcome, Outcome::protocol_error);
}

TEST(HttpReply, SurvivesAnyBytes) {
    const std::vector<std::string> seeds{
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: t\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nx",
    };
    Random random(7);
    std::size_t good = 0;
    for (int run = 0; run < 20'000; ++run) {
        std::string text = seeds[random.below(seeds.size())];
        for (std::uint64_t n = random.below(4); n > 0; --n) {
            text[random.below(text.size())] = static_cast<char>(random.below(256));
        }
        if (random.below(4) == 0) text.erase(random.below(text.size()), random.below(9));
        good += judge(text, 1 + random.below(20)).outcome == Outcome::ok ? 1 : 0;
    }
    EXPECT_GT(good, 1000U);
    EXPECT_LT(good, 19'000U);
}

TEST(HttpRequest, NamesHostAndPath) {
    const config::Check check{.type = config::CheckType::http, .path = "/healthz?x=1", .host = "www.example.net"};
    const CheckSpec spec = check_spec(IpAddress::v4(198, 18, 2, 11), 8080, check);
    const std::string text = http_request(spec);
    EXPECT_TRUE(text.starts_with("GET /healthz?x=1 HTTP/1.1\r\nHost: www.example.net\r\n")) << text;
    EXPECT_NE(text.find("\r\nConnection: close\r\n"), std::string::npos);
    EXPECT_TRUE(text.ends_with("\r\n\r\n"));
}

TEST(HttpRequest, WithoutAHostItIsTheProbedAddress) {
    const config::Check check{.type = config::CheckType::http};
    const auto host = [&](const char* address, std::uint16_t port) {
        const std::string text = http_request(check_spec(*IpAddress::parse(address), port, check));
        const std::size_t begin = text.find("Host: ") + 6;
        return text.substr(begin, text.find('\r', begin) - begin);
    };
    EXPECT_EQ(host("198.18.2.11", 80), "198.18.2.11");
    EXPECT_EQ(host("198.18.2.11", 8080), "198.18.2.11:8080");
    EXPECT_EQ(host("2001:db8::1", 80), "[2001:db8::1]");
    EXPECT_EQ(host("2001:db8::1", 8080), "[2001:db8::1]:8080");
}

}  // namespace
}  // namespace shunt::controlplane
