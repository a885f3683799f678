// What each request of docs/api.md means, without a socket.
#include "controlplane/server/api.h"

#include <gtest/gtest.h>

#include <memory>

#include "src/base/clock.h"
#include "src/config/toml.h"
#include "tests/support/fake_outside.h"
#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

constexpr uid_t own_uid = 990;
constexpr uid_t stranger = 1234;

constexpr const char* file_text = R"(version = 1
[node]
name = "lb1"
[[service]]
name = "web"
vip = ["198.18.0.10:80/tcp", "[2001:db8::10]:80/tcp"]
table_size = 1021
check = { type = "http", path = "/healthz" }
  [[service.backend]]
  address = "198.18.2.11"
  [[service.backend]]
  address = "2001:db8:2::11"
  port = 8080
)";

class ApiTest : public testing::Test {
  protected:
    ApiTest() {
        Wanted wanted;
        wanted.desired = *config::parse_toml(file_text, "shunt.toml");
        core_ = std::make_unique<Core>(outside_, events_, std::move(wanted), NetworkSnapshot{}, nullptr, 1, now());
        EXPECT_TRUE(core_->start(now()));
        api_ = std::make_unique<Api>(
            *core_, events_, ha_, [this] { return Documents{*core_, std::nullopt, {}, shm::Tables{}, facts_, now()}; },
            own_uid, [](const std::function<void()>& work) { work(); });
    }
    Now now() const { return {clock_.now(), 1'700'000'000'000}; }

    // Asks, and returns the answer's body.
    Json ask(const std::string& method, const std::string& target, const std::string& body = {}, uid_t uid = own_uid,
             const std::string& if_match = {}) {
        HttpRequest request{.method = method, .if_match = if_match, .body = body, .uid = uid};
        EXPECT_TRUE(parse_target(target, request));
        last_ = {.status = 0};
        api_->handle(request, [this](HttpResponse response) { last_ = std::move(response); });
        return last_.body.empty() ? Json() : Json::parse(last_.body);
    }
    Json ask(const std::string& method, const std::string& target, const Json& body) {
        return ask(method, target, body.dump());
    }
    const config::Service& web() const { return core_->wanted().desired.services.at(0); }

    ManualClock clock_{};
    FakeOutside outside_{};
    Events events_{};
    test::TemporaryDirectory directory_{};
    Ha ha_{directory_.path(), events_};
    ProcessFacts facts_{.config_file = "/etc/shunt/shunt.toml", .ha = &ha_};
    std::unique_ptr<Core> core_{};
    std::unique_ptr<Api> api_{};
    HttpResponse last_{};
};

TEST_F(ApiTest, StatusHasWhatAScreenNeeds) {
    const auto status = ask("GET", "/v1/status");
    EXPECT_EQ(last_.status, 200u);
    for (const char* key : {"version", "node", "verdict", "reasons", "generation", "workers", "revision", "dataplane",
                            "controlplane", "config", "traffic", "overrides", "warnings", "services", "ha"}) {
        EXPECT_TRUE(status.contains(key)) << key;
    }
    EXPECT_EQ(status["node"], "lb1");
    EXPECT_EQ(status["verdict"], "bad");
    EXPECT_EQ(status["reasons"][0], "no data plane is running");
    const auto& service = status["services"][0];
    EXPECT_EQ(service["vip"], Json({"198.18.0.10:80/tcp", "[2001:db8::10]:80/tcp"}));
    EXPECT_EQ(service["check"], "http");
    const auto& backend = service["backends"][0];
    EXPECT_EQ(backend["backend"], "198.18.2.11:0");
    EXPECT_EQ(backend["verdict"], "unchecked");
    EXPECT_EQ(backend["state"], "ready");
    EXPECT_TRUE(backend["for_ms"].is_null());
}

TEST_F(ApiTest, SaysWhatIsDownAndSinceWhen) {
    outside_.now_at.alive = true;
    outside_.now_at.accepted = Generation(9);
    outside_.now_at.workers.assign(1, {.online = true, .passed = Generation(9)});
    const auto probes = core_->advance(now());
    ASSERT_EQ(probes.size(), 1u);  // the second starts a little later
    core_->probe_finished({probes[0].id, Outcome::bad_status, "HTTP 503", clock_.now(), {}}, now());
    clock_.advance(Duration::milliseconds(41'500));
    const auto status = ask("GET", "/v1/status");
    EXPECT_EQ(status["verdict"], "warn");
    EXPECT_EQ(status["reasons"][0], "web: 1 of 2 backends down (198.18.2.11: HTTP 503, for 41 s)");
    EXPECT_EQ(status["services"][0]["backends"][0]["for_ms"], 41'500);
    EXPECT_EQ(status["services"][0]["backends"][0]["reason"], "HTTP 503");
    const auto events = ask("GET", "/v1/events")["events"];
    EXPECT_EQ(events.back()["kind"], "health");
    EXPECT_TRUE(ask("GET", "/v1/events?since=" + events.back()["id"].dump())["events"].empty());
}

TEST_F(ApiTest, ReadsServicesAndBackends) {
    EXPECT_EQ(ask("GET", "/v1/services")["services"][0]["service"]["name"], "web");
    EXPECT_EQ(ask("GET", "/v1/services/web")["service"]["check"]["path"], "/healthz");
    EXPECT_EQ(ask("GET", "/v1/services/web/backends")["backends"].size(), 2u);
    EXPECT_EQ(ask("GET", "/v1/services/web/backends/198.18.2.11")["backend"]["address"], "198.18.2.11");
    const auto six = ask("GET", "/v1/services/web/backends/%5B2001:db8:2::11%5D:8080");
    EXPECT_EQ(six["status"]["backend"], "[2001:db8:2::11]:8080");
    for (const char* target :
         {"/v1/services/none", "/v1/services/none/backends", "/v1/services/web/backends/198.18.2.99",
          "/v1/services/web/table", "/v1/nothing", "/v2/status", "/v1/services/", "/"}) {
        const auto problem = ask("GET", target);
        EXPECT_EQ(last_.status, 404u) << target;
        EXPECT_EQ(last_.content_type, "application/problem+json");
        EXPECT_EQ(problem["status"], 404);
    }
}

TEST_F(ApiTest, OtherMethodsAndParametersAreRefused) {
    ask("POST", "/v1/status");
    EXPECT_EQ(last_.status, 405u);
    EXPECT_EQ(last_.allow, "GET");
    for (const char* target : {"/v1/status?verbose=1", "/v1/events?since=x", "/v1/services/web/table?family=5"}) {
        ask("GET", target);
        EXPECT_EQ(last_.status, 400u) << target;
    }
    for (const char* target : {"/v1/services/web?dry_run=2", "/v1/services/web?wait=61", "/v1/services/web?x=1"}) {
        ask("DELETE", target);
        EXPECT_EQ(last_.status, 400u) << target;
    }
    EXPECT_EQ(core_->wanted().desired.services.size(), 1u);
}

TEST_F(ApiTest, OnlyRootAndTheOwnerWrite) {
    ask("DELETE", "/v1/services/web", std::string{}, stranger);
    EXPECT_EQ(last_.status, 403u);
    EXPECT_EQ(core_->wanted().desired.services.size(), 1u);
    EXPECT_EQ(events_.all().back().kind, EventKind::audit);
    ask("GET", "/v1/status", std::string{}, stranger);
    EXPECT_EQ(last_.status, 200u);
    ask("DELETE", "/v1/services/web", std::string{}, 0);
    EXPECT_EQ(last_.status, 200u);
    EXPECT_NE(events_.all().back().text.find("uid 0"), std::string::npos);
}

TEST_F(ApiTest, PutCreatesReplacesAndIsIdempotent) {
    const Json dns{{"vip", {"198.18.0.53:53/udp"}}, {"backend", {{{"address", "198.18.3.9"}, {"weight", 7}}}}};
    auto change = ask("PUT", "/v1/services/dns", dns);
    EXPECT_EQ(last_.status, 200u) << last_.body;
    EXPECT_EQ(change["changed"], true);
    EXPECT_EQ(change["generation"], 2);
    EXPECT_EQ(change["text"], "generation 2, 0/0 workers");
    EXPECT_EQ(change["changes"][0]["kind"], "add");
    EXPECT_EQ(core_->wanted().desired.services.at(1).backends.at(0).weight, 7u);
    EXPECT_TRUE(core_->wanted().desired.services.at(1).table_size.has_value());
    change = ask("PUT", "/v1/services/dns", dns);
    EXPECT_EQ(change["changed"], false);
    EXPECT_EQ(change["generation"], 2);
}

TEST_F(ApiTest, PutCanBeToldToCreateOnly) {
    const auto create = [&](const std::string& target, const char* if_none_match) {
        HttpRequest request{.method = "PUT", .if_none_match = if_none_match, .uid = own_uid};
        request.body = target.ends_with("53") ? R"({"weight":7})" : R"({"vip":["198.18.0.53:53/udp"]})";
        EXPECT_TRUE(parse_target(target, request));
        api_->handle(request, [this](HttpResponse response) { last_ = std::move(response); });
        return last_.status;
    };
    EXPECT_EQ(create("/v1/services/web", "*"), 412u);
    EXPECT_EQ(web().backends.size(), 2u);
    EXPECT_NE(last_.body.find("service set"), std::string::npos);
    EXPECT_EQ(create("/v1/services/dns", "*"), 200u);
    EXPECT_EQ(create("/v1/services/dns", "*"), 412u);
    EXPECT_EQ(create("/v1/services/dns/backends/198.18.2.53", "*"), 200u);
    EXPECT_EQ(create("/v1/services/dns/backends/198.18.2.53", "*"), 412u);
    EXPECT_EQ(create("/v1/services/dns/backends/198.18.2.53", ""), 200u);
    EXPECT_EQ(create("/v1/services/dns", "\"7\""), 400u);
}

TEST_F(ApiTest, PatchChangesWhatItNamesAndNullMeansTheDefault) {
    auto change = ask("PATCH", "/v1/services/web", Json{{"check", {{"path", "/other"}}}});
    EXPECT_EQ(last_.status, 200u) << last_.body;
    ASSERT_EQ(change["changes"].size(), 1u);
    EXPECT_EQ(change["changes"][0]["key"], "service.web.check.path");
    EXPECT_EQ(web().check->path, "/other");
    ask("PATCH", "/v1/services/web", Json{{"check", nullptr}});
    EXPECT_FALSE(web().check.has_value());
    ask("PATCH", "/v1/services/web/backends/198.18.2.11", Json{{"weight", 9}});
    EXPECT_EQ(web().backends[0].weight, 9u);
    EXPECT_EQ(web().backends[1].port, 8080);
}

TEST_F(ApiTest, AModeComesAndGoesWithItsKeys) {
    const Json service{{"vip", {"198.18.0.60:443/tcp"}}, {"mode", "l3dsr"}, {"dscp", 10}, {"mss", 1200}};
    ask("PUT", "/v1/services/old", service);
    EXPECT_EQ(last_.status, 200u) << last_.body;
    const auto problem = ask("PATCH", "/v1/services/old", Json{{"mode", "vxlan"}, {"tunnel", {{"vni", 7}}}});
    EXPECT_EQ(last_.status, 422u);
    EXPECT_EQ(problem["error"]["message"], "mode \"vxlan\" has no use for dscp");
    const Json patch{{"mode", "vxlan"},
                     {"dscp", nullptr},
                     {"tunnel", {{"vni", 7}, {"inner_mac", "02:00:00:00:00:01"}}},
                     {"mss", "off"}};
    ask("PATCH", "/v1/services/old", patch);
    EXPECT_EQ(last_.status, 200u) << last_.body;
    const auto now = ask("GET", "/v1/services/old");
    EXPECT_EQ(now["service"]["tunnel"]["vni"], 7);
    EXPECT_TRUE(now["service"]["tunnel"]["port"].is_null());
    EXPECT_TRUE(now["service"]["dscp"].is_null());
    EXPECT_EQ(now["service"]["mss"], "off");
    EXPECT_EQ(now["status"]["mode"], "vxlan");
}

TEST_F(ApiTest, RefusalsPointAtTheField) {
    auto problem = ask("PATCH", "/v1/services/web", Json{{"check", {{"interval", "soon"}}}});
    EXPECT_EQ(last_.status, 422u);
    EXPECT_EQ(problem["pointer"], "/check/interval");
    EXPECT_FALSE(problem["error"]["message"].get<std::string>().empty());

    problem = ask("PUT", "/v1/services/web/backends/198.18.2.11", Json{{"wieght", 5}});
    EXPECT_EQ(last_.status, 422u);
    EXPECT_EQ(problem["pointer"], "/wieght");

    ask("PUT", "/v1/services/web", Json{{"name", "other"}});
    EXPECT_EQ(last_.status, 422u);
    ask("PUT", "/v1/services/web", std::string("{\"name\":\"web\",\"name\":\"web\"}"));
    EXPECT_EQ(last_.status, 400u);
    ask("PUT", "/v1/services/web", std::string("[]"));
    EXPECT_EQ(last_.status, 422u);
    ask("PUT", "/v1/services/web", std::string("{"));
    EXPECT_EQ(last_.status, 400u);
    EXPECT_EQ(core_->wanted().revision, 1u);
}

TEST_F(ApiTest, WhatDoesNotFitTogetherPointsIntoTheBody) {
    const Json clash{{"vip", {"198.18.0.10:80/tcp"}}, {"backend", {{{"address", "198.18.3.9"}}}}};
    auto problem = ask("PUT", "/v1/services/copy", clash);
    EXPECT_EQ(last_.status, 422u);
    EXPECT_EQ(problem["pointer"], "/vip/0") << problem.dump();
    problem = ask("PATCH", "/v1/services/web/backends/198.18.2.11", Json{{"weight", 5000}});
    EXPECT_EQ(last_.status, 422u);
    EXPECT_EQ(problem["pointer"], "/weight") << problem.dump();
}

TEST_F(ApiTest, DrainMaintReadyAndWeightAreOverrides) {
    const std::string backend = "/v1/services/web/backends/198.18.2.11";
    ask("POST", backend + ":drain", Json{{"reason", "new kernel"}, {"for_ms", 60'000}});
    EXPECT_EQ(last_.status, 200u) << last_.body;
    ask("POST", backend + ":weight", Json{{"weight", 10}});
    auto overrides = ask("GET", "/v1/overrides")["overrides"];
    ASSERT_EQ(overrides.size(), 2u);
    EXPECT_EQ(overrides[0]["id"], "web/198.18.2.11:0/state");
    EXPECT_EQ(overrides[0]["state"], "drain");
    EXPECT_EQ(overrides[0]["reason"], "new kernel");
    EXPECT_EQ(overrides[0]["owner"], "uid 990");
    EXPECT_EQ(overrides[0]["expires_in_ms"], 60'000);
    const auto status = ask("GET", backend)["status"];
    EXPECT_EQ(status["weight"], 10);
    EXPECT_EQ(status["configured_weight"], 100);
    EXPECT_EQ(status["override"], true);
    EXPECT_EQ(status["override_reason"], "new kernel");
    EXPECT_EQ(ask("GET", "/v1/services/web/backends/2001:db8:2::11")["status"]["override_reason"], nullptr);
    ask("POST", backend + ":drain");
    EXPECT_EQ(ask("GET", "/v1/overrides")["overrides"][0]["expires_in_ms"], 60'000);
    ask("POST", backend + ":drain", Json{{"for_ms", nullptr}});
    EXPECT_EQ(ask("GET", "/v1/overrides")["overrides"][0]["expires_in_ms"], nullptr);

    ask("DELETE", "/v1/overrides/web%2F198.18.2.11:0%2Fweight");
    EXPECT_EQ(last_.status, 200u);
    ask("DELETE", "/v1/overrides/web%2F198.18.2.11:0%2Fweight");
    EXPECT_EQ(last_.status, 404u);
    ask("POST", backend + ":ready");
    EXPECT_TRUE(core_->wanted().overrides.empty());

    for (const auto& body : {Json{{"for_ms", 0}}, Json{{"for_ms", "1h"}}, Json{{"reason", 7}}, Json{{"weight", 7}}}) {
        ask("POST", backend + ":maint", body);
        EXPECT_EQ(last_.status, 422u) << body.dump();
    }
    ask("POST", backend + ":weight", Json{{"weight", 1001}});
    EXPECT_EQ(last_.status, 422u);
    ask("POST", backend + ":stop");
    EXPECT_EQ(last_.status, 404u);
}

TEST_F(ApiTest, TheRoleIsTakenAndShown) {
    EXPECT_EQ(ask("GET", "/v1/ha")["role"], "none");
    EXPECT_TRUE(last_.body.find("\"role_for_ms\":null") != std::string::npos);
    auto change = ask("POST", "/v1/ha/role?dry_run=1", Json{{"role", "MASTER"}});
    EXPECT_EQ(change["changed"], true);
    EXPECT_EQ(ask("GET", "/v1/ha")["role"], "none");
    change = ask("POST", "/v1/ha/role", Json{{"role", "MASTER"}});
    EXPECT_EQ(last_.status, 200u) << last_.body;
    EXPECT_EQ(change["changes"][0]["new"], "master");
    EXPECT_EQ(change["text"], "role master");
    EXPECT_EQ(core_->wanted().revision, 1u) << "no part of what is wanted";
    EXPECT_EQ(ask("GET", "/v1/status")["ha"]["role"], "master");
    EXPECT_EQ(ask("GET", "/v1/ha")["role_said_by"], "uid 990");
    EXPECT_EQ(events_.all().back().kind, EventKind::ha);
    EXPECT_EQ(ask("POST", "/v1/ha/role", Json{{"role", "master"}})["changed"], false);

    for (const auto& body : {Json{{"role", "captain"}}, Json{{"role", 1}}, Json::object()}) {
        EXPECT_EQ(ask("POST", "/v1/ha/role", body)["pointer"], "/role");
        EXPECT_EQ(last_.status, 422u);
    }
    ask("POST", "/v1/ha/role", Json{{"role", "backup"}}.dump(), stranger);
    EXPECT_EQ(last_.status, 403u);
    EXPECT_EQ(ha_.role().role, Role::master);
}

TEST_F(ApiTest, AWorkerIsWedgedOnlyWhereTestsMayDoThat) {
    ask("POST", "/v1/workers/0:wedge", Json{{"for_ms", 200}});
    EXPECT_EQ(last_.status, 404u) << "there is none";
    outside_.now_at.alive = true;
    outside_.now_at.workers.resize(2);
    outside_.ended = {{.refused = true}, {.carried_out = true}, {}};
    auto problem = ask("POST", "/v1/workers/1:wedge", Json{{"for_ms", 200}});
    EXPECT_EQ(last_.status, 503u);
    EXPECT_EQ(problem["error"]["message"], "the data plane takes no test hooks");
    ASSERT_EQ(outside_.asked.size(), 1u);
    EXPECT_EQ(outside_.asked[0].kind, shm::RequestKind::wedge_worker);
    EXPECT_EQ(outside_.asked[0].filter.workers, 2u);
    EXPECT_EQ(outside_.asked[0].milliseconds, 200u);
    EXPECT_EQ(ask("POST", "/v1/workers/0:wedge")["text"], "worker 0 stands still for 500 ms");
    EXPECT_EQ(last_.status, 200u);
    ask("POST", "/v1/workers/0:wedge");
    EXPECT_EQ(last_.status, 503u) << "it died over it";
    for (const char* worker : {"2:wedge", "x:wedge", ":wedge", "0", "0:kill"}) {
        ask("POST", std::string("/v1/workers/") + worker);
        EXPECT_EQ(last_.status, 404u) << worker;
    }
    for (const auto& time : {Json(0), Json(60'001), Json("1s")}) {
        ask("POST", "/v1/workers/0:wedge", Json{{"for_ms", time}});
        EXPECT_EQ(last_.status, 422u);
    }
}

TEST_F(ApiTest, DryRunAndDiffShowTheChangeAndTouchNothing) {
    auto change = ask("DELETE", "/v1/services/web/backends/198.18.2.11?dry_run=1");
    EXPECT_EQ(change["changed"], true);
    EXPECT_EQ(change["dry_run"], true);
    auto document = ask("GET", "/v1/config");
    document["config"]["node"]["name"] = "lb2";
    change = ask("POST", "/v1/config:diff", Json{{"config", document["config"]}});
    EXPECT_EQ(last_.status, 200u) << last_.body;
    ASSERT_EQ(change["changes"].size(), 1u) << change.dump();
    EXPECT_EQ(change["changes"][0]["key"], "node.name");
    EXPECT_EQ(core_->wanted().revision, 1u);
    EXPECT_EQ(web().backends.size(), 2u);
}

TEST_F(ApiTest, ApplyTakesTheWholeDocument) {
    std::string text = file_text;
    text.replace(text.find("lb1"), 3, "lb9");
    const auto change = ask("POST", "/v1/config:apply", Json{{"toml", text}, {"file", "new.toml"}});
    EXPECT_EQ(last_.status, 200u) << last_.body;
    EXPECT_EQ(change["changed"], true);
    EXPECT_EQ(core_->wanted().desired.node.name, "lb9");
    EXPECT_EQ(core_->wanted().file_hash, text_hash(text));

    auto problem = ask("POST", "/v1/config:apply", Json{{"toml", "version = 1\nnonsense = 2\n"}, {"file", "bad.toml"}});
    EXPECT_EQ(last_.status, 422u);
    EXPECT_EQ(problem["error"]["file"], "bad.toml");
    EXPECT_EQ(problem["error"]["line"], 2);
    ask("POST", "/v1/config:check", Json{{"toml", text}});
    EXPECT_EQ(last_.status, 200u);
    EXPECT_EQ(core_->wanted().desired.node.name, "lb9");
}

TEST_F(ApiTest, IfMatchProtectsFromLostUpdates) {
    const auto revision = ask("GET", "/v1/config")["revision"].get<std::uint64_t>();
    EXPECT_EQ(last_.etag, "\"" + std::to_string(revision) + "\"");
    const auto current = last_.etag;
    ask("PATCH", "/v1/services/web/backends/198.18.2.11", R"({"weight":1})", own_uid, current);
    EXPECT_EQ(last_.status, 200u);
    ask("PATCH", "/v1/services/web/backends/198.18.2.11", R"({"weight":2})", own_uid, current);
    EXPECT_EQ(last_.status, 412u);
    EXPECT_EQ(web().backends[0].weight, 1u);
}

TEST_F(ApiTest, AFullDiskIs507) {
    outside_.disk_full = true;
    const auto problem = ask("DELETE", "/v1/services/web");
    EXPECT_EQ(last_.status, 507u);
    EXPECT_NE(problem["detail"].get<std::string>().find("No space left"), std::string::npos);
}

TEST_F(ApiTest, WithoutADataPlaneFiguresAreEmpty) {
    EXPECT_TRUE(ask("GET", "/v1/workers")["workers"].empty());
    EXPECT_TRUE(ask("GET", "/v1/drops?all=1")["drops"].empty());
    EXPECT_TRUE(ask("GET", "/v1/ports")["ports"].empty());
}

}  // namespace
}  // namespace shunt::controlplane
