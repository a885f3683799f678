// /v1/flows: what the flow tables hold, as operators see it, over a whole balancer in one thread.
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>

#include "controlplane/server/api.h"
#include "dataplane/main/requests.h"
#include "src/config/toml.h"
#include "tests/support/fake_outside.h"
#include "tests/support/instance.h"
#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

constexpr uid_t own_uid = 990;
constexpr uid_t stranger = 1234;

class FlowsTest : public testing::Test {
  protected:
    FlowsTest() {
        core_ = std::make_unique<Core>(outside_, events_, Wanted{}, NetworkSnapshot{}, nullptr, 1, now());
        EXPECT_TRUE(core_->start(now()));
        outside_.now_at.alive = true;
        api_ = std::make_unique<Api>(
            *core_, events_, ha_,
            [this] {
                return Documents{*core_, shm::StateReader(instance_.state()), {}, instance_.tables(), facts_, now()};
            },
            own_uid, [this](std::function<void()> work) { loop_.push_back(std::move(work)); });
    }
    Now now() const { return {instance_.clock.now(), 1'700'000'000'000}; }

    // Asks; the answer comes when the loop has run.
    void begin(const std::string& method, const std::string& target, const Json& body = nullptr, uid_t uid = own_uid) {
        HttpRequest request{.method = method, .body = body.is_null() ? "" : body.dump(), .uid = uid};
        EXPECT_TRUE(parse_target(target, request));
        last_ = {.status = 0};
        api_->handle(request, [this](HttpResponse response) { last_ = std::move(response); });
    }
    Json ask(const std::string& method, const std::string& target, const Json& body = nullptr, uid_t uid = own_uid) {
        begin(method, target, body, uid);
        while (!loop_.empty()) turn();
        return last_.body.empty() ? Json() : Json::parse(last_.body);
    }
    void turn() {
        const auto work = std::move(loop_.front());
        loop_.pop_front();
        work();
    }
    void open(const std::string& client, const std::string& vip, std::size_t worker = 0) {
        auto packet = test::packet(client, vip);
        packet.tcp_flags = tcp_syn;
        instance_.forward(packet, worker);
        packet.tcp_flags = tcp_ack;
        const auto seen = instance_.forward(packet, worker);
        backend_ = seen.to();
    }

    test::Instance instance_{{test::make_service("web", {"198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"},
                                                 {"198.18.2.11:8080", "2001:db8:2::11"}),
                              test::make_service("mail", {"198.18.0.25:25/tcp"}, {"198.18.3.9"})},
                             2};
    FakeOutside outside_{};
    Events events_{};
    test::TemporaryDirectory directory_{};
    Ha ha_{directory_.path(), events_};
    ProcessFacts facts_{};
    std::deque<std::function<void()>> loop_{};
    std::unique_ptr<Core> core_{};
    std::unique_ptr<Api> api_{};
    HttpResponse last_{};
    std::string backend_{};
};

TEST_F(FlowsTest, AFlowIsListedOnceWithTheWorkersThatHaveIt) {
    open("203.0.113.7:40000", "198.18.0.10:443", 0);
    auto reply = test::packet(backend_, "203.0.113.7:40000");
    instance_.clock.advance(Duration::seconds(2));
    instance_.forward(reply, 1);
    open("[2001:db8:c::7]:40000", "[2001:db8::10]:443", 1);
    instance_.clock.advance(Duration::milliseconds(500));
    const auto document = ask("GET", "/v1/flows");
    EXPECT_EQ(last_.status, 200U);
    EXPECT_EQ(document["total"], 2);
    EXPECT_EQ(document["listed"], 2);
    EXPECT_TRUE(document["filter"].is_null());
    EXPECT_EQ(document["flows"][0], Json({{"client", "203.0.113.7"},
                                          {"client_port", 40000},
                                          {"vip", "198.18.0.10:443/tcp"},
                                          {"service", "web"},
                                          {"backend", "198.18.2.11:8080"},
                                          {"state", "established"},
                                          {"idle_ms", 500},
                                          {"workers", {0, 1}}}));
    EXPECT_EQ(document["flows"][1]["vip"], "[2001:db8::10]:443/tcp");
    EXPECT_EQ(document["flows"][1]["workers"], Json({1}));
}

TEST_F(FlowsTest, AFilterChoosesAndALimitSaysHowManyMoreThereAre) {
    for (int i = 1; i <= 5; ++i) open("203.0.113." + std::to_string(i) + ":40000", "198.18.0.10:443");
    open("203.0.113.1:40000", "198.18.0.25:25", 1);
    EXPECT_EQ(ask("GET", "/v1/flows?filter=service%3Dmail")["total"], 1);
    const auto two = ask("GET", "/v1/flows?filter=service%3Dweb&limit=2");
    EXPECT_EQ(two["flows"].size(), 2U);
    EXPECT_EQ(two["listed"], 2);
    EXPECT_EQ(two["total"], 5);
    EXPECT_EQ(two["filter"], "service=web");
    EXPECT_EQ(ask("GET", "/v1/flows?filter=worker%3D1")["total"], 1);
    EXPECT_EQ(ask("GET", "/v1/flows?filter=client%3D203.0.113.4/31")["total"], 2);
    EXPECT_EQ(ask("GET", "/v1/flows?filter=idle%3E5s")["total"], 0);
    for (const char* target : {"/v1/flows?limit=10001", "/v1/flows?limit=x", "/v1/flows?by=state"}) {
        ask("GET", target);
        EXPECT_EQ(last_.status, 400U) << target;
    }
}

TEST_F(FlowsTest, ADeadFlowIsNone) {
    open("203.0.113.7:40000", "198.18.0.10:443");
    instance_.clock.advance(Duration::seconds(3601));
    EXPECT_EQ(ask("GET", "/v1/flows")["total"], 0);
    open("203.0.113.7:40000", "198.18.0.10:443");
    instance_.services()[0].backends[0].state = config::BackendState::maint;
    instance_.publish();
    EXPECT_EQ(ask("GET", "/v1/flows")["total"], 0);
}

TEST_F(FlowsTest, Counts) {
    for (int i = 1; i <= 5; ++i) open("203.0.113." + std::to_string(i) + ":40000", "198.18.0.10:443");
    open("203.0.113.1:40000", "198.18.0.25:25", 1);
    const auto all = ask("GET", "/v1/flows:count");
    EXPECT_EQ(all, Json({{"filter", nullptr}, {"total", 6}, {"by", nullptr}, {"counts", Json::array()}}));
    EXPECT_EQ(ask("GET", "/v1/flows:count?by=service")["counts"],
              Json({{{"service", "web"}, {"flows", 5}}, {{"service", "mail"}, {"flows", 1}}}));
    EXPECT_EQ(ask("GET", "/v1/flows:count?by=backend&filter=service%3Dmail")["counts"],
              Json::array({{{"backend", "mail/198.18.3.9:25"}, {"flows", 1}}}));
    EXPECT_EQ(ask("GET", "/v1/flows:count?by=state")["counts"],
              Json::array({{{"state", "established"}, {"flows", 6}}}));
    EXPECT_EQ(ask("GET", "/v1/flows:count?by=worker")["counts"],
              Json({{{"worker", 0}, {"flows", 5}}, {{"worker", 1}, {"flows", 1}}}));
    ask("GET", "/v1/flows:count?by=colour");
    EXPECT_EQ(last_.status, 400U);
}

TEST_F(FlowsTest, AFilterThatIsWrongIsPointedAt) {
    for (const char* target : {"/v1/flows?filter=service%3Dwebb", "/v1/flows:count?filter=service%3Dwebb"}) {
        const auto problem = ask("GET", target);
        EXPECT_EQ(last_.status, 422U);
        EXPECT_EQ(problem["error"]["file"], "filter");
        EXPECT_EQ(problem["error"]["column"], 9);
        EXPECT_NE(problem["error"]["remedy"], nullptr);
    }
    EXPECT_EQ(ask("POST", "/v1/flows:kill", {{"filter", "service=webb"}})["pointer"], "/filter");
    for (const Json& body : {Json::object(), Json{{"filter", ""}}, Json{{"filter", 1}}, Json{{"flows", "all"}}}) {
        ask("POST", "/v1/flows:kill", body);
        EXPECT_EQ(last_.status, 422U) << body;
    }
    EXPECT_TRUE(outside_.asked.empty());
}

// Many entries are read in pieces, and others have their turn between them.
TEST_F(FlowsTest, OthersAreAnsweredWhileTheTablesAreRead) {
    begin("GET", "/v1/flows");
    const auto first = std::exchange(last_, {.status = 0});
    EXPECT_EQ(first.status, 0U);
    begin("GET", "/v1/workers");
    EXPECT_EQ(last_.status, 200U);
    ASSERT_EQ(loop_.size(), 1U);
    last_ = {.status = 0};
    turn();  // one table
    EXPECT_EQ(last_.status, 0U);
    EXPECT_EQ(loop_.size(), 1U);
    turn();
    EXPECT_EQ(last_.status, 200U);
    EXPECT_TRUE(loop_.empty());
}

TEST_F(FlowsTest, ADryRunSaysHowManyItWouldKillAndKillsNone) {
    open("203.0.113.7:40000", "198.18.0.10:443");
    const auto change = ask("POST", "/v1/flows:kill?dry_run=1", {{"filter", "service=web"}});
    EXPECT_EQ(change["changed"], true);
    EXPECT_EQ(change["dry_run"], true);
    EXPECT_EQ(change["flows"], 1);
    EXPECT_EQ(change["changes"],
              Json::array({{{"kind", "remove"}, {"key", "flows service=web"}, {"old", "1 flow"}, {"new", nullptr}}}));
    EXPECT_EQ(ask("POST", "/v1/flows:kill?dry_run=1", {{"filter", "service=mail"}})["changed"], false);
    EXPECT_TRUE(outside_.asked.empty());
    EXPECT_EQ(ask("GET", "/v1/flows")["total"], 1);
}

TEST_F(FlowsTest, AKillIsAskedOfTheDataPlaneAudited) {
    const auto pending = ask("POST", "/v1/flows:kill", {{"filter", "service=web"}});
    EXPECT_EQ(last_.status, 0U);  // not before the data plane has answered
    ASSERT_EQ(outside_.asked.size(), 1U);
    EXPECT_TRUE(outside_.asked[0].filter.service);
    EXPECT_EQ(events_.all().back().kind, EventKind::audit);
    EXPECT_EQ(events_.all().back().text, "uid 990 kills flows: service=web");
    outside_.ended.push_back({.carried_out = true, .flows = 12});
    EXPECT_LE(core_->next_wakeup(now()), now().instant + Core::publication_poll);
    core_->advance(now());
    EXPECT_EQ(last_.status, 200U);
    const auto change = Json::parse(last_.body);
    EXPECT_EQ(change["flows"], 12);
    EXPECT_EQ(change["text"], "12 flows killed");
    EXPECT_EQ(change["timed_out"], false);
    EXPECT_EQ(events_.all().back().text, "12 flows were killed, for uid 990: service=web");
}

TEST_F(FlowsTest, AKillThatTakesTooLongGoesOn) {
    begin("POST", "/v1/flows:kill?wait=2", {{"filter", "all"}});
    instance_.clock.advance(Duration::seconds(2));
    core_->advance(now());
    EXPECT_EQ(Json::parse(last_.body)["timed_out"], true);
    EXPECT_TRUE(Json::parse(last_.body)["flows"].is_null());
    last_ = {.status = 0};
    outside_.ended.push_back({.carried_out = true, .flows = 3});
    core_->advance(now());
    EXPECT_EQ(last_.status, 0U);  // answered once
    EXPECT_EQ(events_.all().back().text, "3 flows were killed, for uid 990: all");
}

TEST_F(FlowsTest, AKillNobodyCanCarryOutIsRefused) {
    outside_.now_at.alive = false;
    ask("POST", "/v1/flows:kill", {{"filter", "all"}});
    EXPECT_EQ(last_.status, 503U);
    outside_.now_at.alive = true;
    begin("POST", "/v1/flows:kill", {{"filter", "all"}});
    outside_.ended.push_back({});  // it died
    core_->advance(now());
    EXPECT_EQ(last_.status, 503U);
}

TEST_F(FlowsTest, OnlyRootAndTheOwnerKill) {
    ask("POST", "/v1/flows:kill", {{"filter", "all"}}, stranger);
    EXPECT_EQ(last_.status, 403U);
    EXPECT_TRUE(outside_.asked.empty());
    ask("GET", "/v1/flows", nullptr, stranger);
    EXPECT_EQ(last_.status, 200U);
}

// Of the same road as a kill: asked of the data plane, answered when it has.
TEST_F(FlowsTest, AnUpgradeSaysForHowLongNobodyForwarded) {
    ask("POST", "/v1/dataplane:upgrade?wait=7", {{"program", "/new/shunt-dataplane"}});
    EXPECT_EQ(last_.status, 0U);
    ASSERT_EQ(outside_.asked.size(), 1U);
    EXPECT_EQ(outside_.asked[0].kind, shm::RequestKind::upgrade);
    EXPECT_EQ(outside_.asked[0].program, "/new/shunt-dataplane");
    EXPECT_EQ(outside_.asked[0].milliseconds, 7000U);
    EXPECT_NE(ask("POST", "/v1/dataplane:upgrade")["error"]["message"].dump().find("under way"), std::string::npos);
    EXPECT_EQ(last_.status, 503U);
    EXPECT_EQ(outside_.asked.size(), 1U);
    outside_.ended.push_back({.carried_out = true, .gap = Duration{2'100'000}, .successor = 77});
    core_->advance(now());
    EXPECT_EQ(last_.status, 200U);
    const auto change = Json::parse(last_.body);
    EXPECT_EQ(change["gap_ms"], 2.1);
    EXPECT_EQ(change["pid"], 77);
    EXPECT_EQ(events_.all().back().text, "process 77 took over as the data plane after 2100 us, for uid 990");
}

TEST_F(FlowsTest, AnUpgradeThatIsNoneSaysWhy) {
    begin("POST", "/v1/dataplane:upgrade", Json::object());
    outside_.ended.push_back({.refused = true, .refusal = "it ended with exit code 1"});
    core_->advance(now());
    EXPECT_EQ(last_.status, 503U);
    EXPECT_NE(last_.body.find("goes on: it ended with exit code 1"), std::string::npos) << last_.body;
    EXPECT_EQ(events_.all().back().level, EventLevel::error);
    begin("POST", "/v1/dataplane:upgrade", Json::object());
    outside_.ended.push_back({});  // it died
    core_->advance(now());
    EXPECT_NE(last_.body.find("started over"), std::string::npos) << last_.body;
    for (const Json& body : {Json{{"program", "relative"}}, Json{{"program", 1}}, Json{{"path", "/x"}},
                             Json{{"program", "/" + std::string(longest_program, 'x')}}}) {
        ask("POST", "/v1/dataplane:upgrade", body);
        EXPECT_EQ(last_.status, 422U) << body;
    }
    EXPECT_EQ(ask("POST", "/v1/dataplane:upgrade?dry_run=1", Json::object())["dry_run"], true);
    EXPECT_EQ(outside_.asked.size(), 2U);
}

}  // namespace
}  // namespace shunt::controlplane
