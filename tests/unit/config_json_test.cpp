#include "src/config/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "src/base/random.h"
#include "src/config/toml.h"
#include "tests/support/config_states.h"

namespace shunt::config {
namespace {

using Json = nlohmann::json;

Error refused(const char* text) {
    const auto json = parse_json(text);
    EXPECT_FALSE(json) << text;
    return json ? Error{} : json.error();
}

TEST(Json, ReadsJson) {
    for (const char* text : {"null", "[]", "{}", R"({"a":[1,-2,3.5,true,false,null,"é\n\u00e9"],"b":{"a":{}}})", " 1 ",
                             "18446744073709551615"}) {
        const auto json = parse_json(text);
        ASSERT_TRUE(json) << text;
        EXPECT_EQ(*json, Json::parse(text));
    }
}

TEST(Json, RefusesDuplicateKeys) {
    EXPECT_EQ(refused(R"({"a": 1, "a": 2})").text(), "duplicate key \"a\"; remove one of the two");
    EXPECT_EQ(refused(R"({"a": 1, "a": 2})").pointer, "/a");
    EXPECT_EQ(refused(R"({"service": [{}, {"x/y": {"b": [], "b": 1}}]})").pointer, "/service/1/x~1y/b");
    EXPECT_EQ(refused(R"({"service": [1, {}, {"b": [], "b": 1}]})").pointer, "/service/2/b");
    EXPECT_TRUE(parse_json(R"([{"a": 1}, {"a": 2}, {"b": {"a": 1}, "a": 2}])"));
}

TEST(Json, RefusesWhatIsNoJson) {
    for (const char* text : {"", "{", "[1,]", "{\"a\" 1}", "nul", "1 2", "\"\xff\"", "'a'", "{\"a\":1}}", "NaN"}) {
        EXPECT_EQ(refused(text).message.substr(0, 16), "this is not JSON") << text;
    }
    const std::string deep(100'000, '[');
    EXPECT_EQ(parse_json(deep).error().message, "more than 32 levels of nesting");
    std::string objects;
    for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
    EXPECT_EQ(parse_json(objects).error().message, "more than 32 levels of nesting");
}

TEST(Json, WhatIsWrittenReadsTheSame) {
    Random random(8);
    for (int run = 0; run < 300; ++run) {
        const DesiredState state = test::random_state(random);
        const auto again = from_json(to_json(state));
        ASSERT_TRUE(again) << again.error().text() << "\n" << to_json(state).dump(2);
        ASSERT_EQ(*again, state);
        for (const Service& service : state.services) {
            ASSERT_EQ(service_from_json(to_json(service)).value(), service);
            for (const Backend& b : service.backends) ASSERT_EQ(backend_from_json(to_json(b)).value(), b);
        }
    }
}

TEST(Json, HasEveryKey) {
    const Json service = to_json(Service{.name = "web"});
    for (const char* key : {"name", "vip", "mode", "scheduler", "table_size", "flows", "direct_access", "timeouts",
                            "on_no_backend", "check", "backend", "mss", "dscp", "tunnel", "affinity", "load_factor"}) {
        EXPECT_TRUE(service.contains(key)) << key;
    }
    EXPECT_TRUE(service["table_size"].is_null());
    EXPECT_TRUE(service["check"].is_null());
    EXPECT_EQ(service["flows"], "on");
    EXPECT_EQ(service["mss"], "auto");
    EXPECT_TRUE(service["affinity"].is_null());
    EXPECT_TRUE(service["load_factor"].is_null());
    EXPECT_TRUE(service["dscp"].is_null());
    EXPECT_EQ(service["tunnel"], Json::parse(R"({"port": null, "vni": null, "key": null, "inner_mac": null})"));
    EXPECT_EQ(service["timeouts"]["udp"], nullptr);
    EXPECT_EQ(to_json(Backend{.address = IpAddress::v4(198, 18, 2, 11)}),
              Json::parse(R"({"address": "198.18.2.11", "port": null, "weight": 100, "state": "ready"})"));
    EXPECT_EQ(to_json(DesiredState{})["dataplane"]["timeouts"]["tcp_established"], "1h");
}

TEST(Json, PointsAtTheFieldAtFault) {
    const auto service =
        service_from_json(Json::parse(R"({"name": "web", "vip": ["198.18.0.10:443/tcp", "x"], "backend": []})"));
    ASSERT_FALSE(service);
    EXPECT_EQ(service.error().pointer, "/vip/1");
    EXPECT_EQ(service.error().key, "service.web.vip");
    const auto check = service_from_json(Json::parse(R"({"name": "web", "vip": [], "check": {"intervall": "1s"}})"));
    EXPECT_EQ(check.error().pointer, "/check/intervall");
    EXPECT_EQ(check.error().key, "service.web.check.intervall");
    EXPECT_EQ(check.error().text(), "unknown key \"intervall\"; did you mean \"interval\"?");
    const auto backend = backend_from_json(Json::parse(R"({"address": "198.18.2.11", "weight": "5"})"));
    EXPECT_EQ(backend.error().pointer, "/weight");
    EXPECT_EQ(backend.error().key, "backend.198.18.2.11.weight");
    const auto state =
        from_json(Json::parse(R"({"version": 1, "service": [{"name": "a", "vip": []}, {"name": "b"}]})"));
    EXPECT_EQ(state.error().pointer, "/service/1/vip");
    EXPECT_EQ(state.error().key, "service.b.vip");
}

TEST(Json, RefusesWhatIsNoTable) {
    for (const char* text : {"null", "[]", "1", "\"x\""}) {
        EXPECT_FALSE(from_json(Json::parse(text)));
        EXPECT_FALSE(service_from_json(Json::parse(text)));
        EXPECT_FALSE(backend_from_json(Json::parse(text)));
    }
    EXPECT_FALSE(from_json(Json::parse(R"({"version": 1, "node": []})")));
    EXPECT_FALSE(from_json(Json::parse(R"({"version": 1, "service": {}})")));
    EXPECT_FALSE(from_json(Json::parse(R"({"version": 1, "service": [null]})")));
    EXPECT_FALSE(from_json(Json::parse(R"({"version": 1, "dataplane": {"port": [{"name": {}, "af_xdp": []}]}})")));
}

// What the API does with PATCH: RFC 7396 on the written form.
TEST(Json, TakesAMergePatch) {
    Service service{.name = "web", .vips = {{IpAddress::v4(198, 18, 0, 10), Be16(443), Protocol::tcp}}};
    service.check = Check{.type = CheckType::http};
    service.table_size = 1021;
    Json json = to_json(service);
    json.merge_patch(Json::parse(R"({"check": {"type": "tcp", "fall": 5, "rise": null}, "table_size": null})"));
    const auto patched = service_from_json(json);
    ASSERT_TRUE(patched) << patched.error().text();
    EXPECT_EQ(patched->check->type, CheckType::tcp);
    EXPECT_EQ(patched->check->fall, 5U);
    EXPECT_EQ(patched->check->rise, Check{}.rise);
    EXPECT_FALSE(patched->table_size);
    json.merge_patch(Json::parse(R"({"check": null})"));
    EXPECT_FALSE(service_from_json(json)->check);
}

}  // namespace
}  // namespace shunt::config
