// What is answered on the TCP port: whether this process lives, whether this node is ready, and the metrics.
#include "controlplane/server/monitor.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <regex>
#include <set>
#include <sstream>

#include "controlplane/server/metrics.h"
#include "src/config/toml.h"
#include "tests/support/fake_outside.h"
#include "tests/support/instance.h"
#include "tests/support/temporary_directory.h"

namespace shunt::controlplane {
namespace {

constexpr const char* file_text = R"(version = 1
[[service]]
name = "web"
vip = ["198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"]
table_size = 1021
  [[service.backend]]
  address = "198.18.2.11"
  [[service.backend]]
  address = "198.18.2.12"
  state = "drain"
  [[service.backend]]
  address = "2001:db8:2::11"
)";

class MonitorTest : public testing::Test {
  protected:
    MonitorTest() {
        Wanted wanted;
        wanted.desired = *config::parse_toml(file_text, "shunt.toml");
        core_ = std::make_unique<Core>(outside_, events_, std::move(wanted), NetworkSnapshot{}, nullptr, 1, now());
        outside_.now_at.alive = true;
        ha_.configure(config::Ha{.hold = Duration::milliseconds(100)});
        instance_.state().header().port_count.store(1);
        instance_.state().ports()[0].name = {'l', 'a', 'n', '0'};
    }
    Now now() const { return {instance_.clock.now(), 1'700'000'000'000}; }
    Documents documents() {
        return {*core_, shm::StateReader(instance_.state()), {}, instance_.tables(), facts_, now()};
    }
    HttpResponse ask(const std::string& target, const std::string& method = "GET") {
        HttpRequest request{.method = method};
        EXPECT_TRUE(parse_target(target, request));
        HttpResponse response;
        monitor_.handle(request, [&](HttpResponse answer) { response = std::move(answer); });
        return response;
    }
    std::string line(const std::string& name_and_labels) {
        instance_.clock.advance(Duration::seconds(1));
        std::istringstream text(ask("/metrics").body);
        for (std::string line; std::getline(text, line);) {
            if (line.starts_with(name_and_labels + " ")) return line.substr(name_and_labels.size() + 1);
        }
        return "none";
    }
    void live() {
        for (int i = 0; i < 10; ++i) {
            instance_.clock.advance(Ha::interval);
            ha_.look({.held = true,
                      .heartbeat = instance_.clock.now().nanoseconds,
                      .health = {.state = shm::NodeHealth::State::fit}},
                     now());
        }
    }

    test::Instance instance_{{test::make_service("web", {"198.18.0.10:443/tcp", "[2001:db8::10]:443/tcp"},
                                                 {"198.18.2.11", "2001:db8:2::11"})},
                             2};
    FakeOutside outside_{};
    Events events_{};
    test::TemporaryDirectory directory_{};
    Ha ha_{directory_.path(), events_};
    ProcessFacts facts_{.ha = &ha_};
    std::unique_ptr<Core> core_{};
    Monitor monitor_{[this] { return documents(); }};
};

TEST_F(MonitorTest, HealthIsThatItAnswers) {
    const auto answer = ask("/healthz");
    EXPECT_EQ(answer.status, 200U);
    EXPECT_EQ(answer.body, "ok\n");
}

TEST_F(MonitorTest, ReadinessFollowsTheTrackFiles) {
    auto answer = ask("/readyz");
    EXPECT_EQ(answer.status, 503U);
    EXPECT_TRUE(answer.body.starts_with("not ready\nno data plane is running\n")) << answer.body;
    live();
    std::ofstream(directory_.path("ha.dataplane")) << "0\n";
    answer = ask("/readyz");
    EXPECT_EQ(answer.status, 200U) << answer.body;
    EXPECT_EQ(answer.body, "ready\n");
    std::ofstream(directory_.path("ha.dataplane")) << "1\n";
    EXPECT_EQ(ask("/readyz").body, "not ready\n" + directory_.path("ha.dataplane") + " says 1\n");
}

TEST_F(MonitorTest, NothingCanBeChangedAndNothingElseIsThere) {
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE", "HEAD"}) {
        for (const char* target : {"/healthz", "/readyz", "/metrics"}) {
            const auto answer = ask(target, method);
            EXPECT_EQ(answer.status, 405U) << method << target;
            EXPECT_EQ(answer.allow, "GET");
        }
    }
    for (const char* target : {"/", "/v1/status", "/v1/ha/role", "/metrics/", "/healthz/x"}) {
        EXPECT_EQ(ask(target).status, 404U) << target;
        EXPECT_EQ(ask(target, "POST").status, 404U) << target;
    }
}

TEST_F(MonitorTest, TheMetricsAreOfTrafficServicesAndHa) {
    auto packet = test::packet("203.0.113.7:40000", "198.18.0.10:443");
    packet.tcp_flags = tcp_syn;
    instance_.forward(packet, 1);
    EXPECT_EQ(line("shunt_worker_received_packets_total{worker=\"1\"}"), "1");
    EXPECT_EQ(line("shunt_worker_received_packets_total{worker=\"0\"}"), "0");
    EXPECT_EQ(line("shunt_port_rx_packets_total{port=\"lan0\"}"), "1");
    EXPECT_EQ(line("shunt_service_packets_total{service=\"web\",direction=\"to_backend\"}"), "1");
    EXPECT_EQ(line("shunt_backend_packets_total{service=\"web\",backend=\"198.18.2.11:0\",direction=\"to_client\"}"),
              "0");
    EXPECT_EQ(line("shunt_backend_flows{service=\"web\",backend=\"198.18.2.11:0\"}"), "1");
    EXPECT_EQ(line("shunt_backend_share_ratio{service=\"web\",backend=\"198.18.2.11:0\",family=\"4\"}"), "1");
    EXPECT_EQ(line("shunt_backend_weight{service=\"web\",backend=\"198.18.2.12:0\"}"), "100");
    EXPECT_EQ(line("shunt_service_backends{service=\"web\",state=\"drain\"}"), "1");
    EXPECT_EQ(line("shunt_service_backends{service=\"web\",state=\"unchecked\"}"), "2");
    EXPECT_EQ(line("shunt_dataplane_up"), "1");
    EXPECT_EQ(line("shunt_ha_role{role=\"none\"}"), "1");
    ASSERT_TRUE(ha_.take_role(Role::backup, "uid 0", now()));
    EXPECT_EQ(line("shunt_ha_role{role=\"backup\"}"), "1");
    EXPECT_EQ(line("shunt_ha_role{role=\"none\"}"), "0");
    EXPECT_EQ(line("shunt_ha_ready"), "0");
    instance_.state().header().faults[static_cast<std::size_t>(shm::NodeFault::link_down)].add(3);
    EXPECT_EQ(line("shunt_ha_faults_total{fault=\"link_down\"}"), "3");
}

TEST_F(MonitorTest, WhoAsksTooOftenGetsTheSameAgain) {
    const std::string first = ask("/metrics").body;
    ASSERT_TRUE(ha_.take_role(Role::master, "uid 0", now()));
    instance_.clock.advance(Monitor::metrics_age);
    EXPECT_EQ(ask("/metrics").body, first);
    instance_.clock.advance(Duration::milliseconds(1));
    EXPECT_NE(ask("/metrics").body, first);
}

std::set<std::string> names_in(const std::string& text) {
    static const std::regex name("`(shunt_[a-z_]+)`");
    std::set<std::string> names;
    for (std::sregex_iterator at(text.begin(), text.end(), name), end; at != end; ++at) names.insert((*at)[1]);
    return names;
}

TEST_F(MonitorTest, TheDocumentationNamesWhatIsThere) {
    live();
    facts_.sync = {.settings = config::Sync{}, .report = sync::Report{.peers = {sync::PeerReport{}}}};
    std::ofstream(directory_.path("ha.dataplane")) << "0\n";
    instance_.forward(test::packet("203.0.113.7:40000", "198.18.0.10:443"), 0);
    std::set<std::string> there;
    const Documents all = documents();
    for (const auto& family : Metrics(all).Collect()) {
        there.insert(family.name);
        EXPECT_FALSE(family.help.empty()) << family.name;
        EXPECT_EQ(family.name.ends_with("_total"), family.type == prometheus::MetricType::Counter) << family.name;
    }
    std::ostringstream text;
    text << std::ifstream(SHUNT_METRICS).rdbuf();
    EXPECT_EQ(names_in(text.str()), there);
}

}  // namespace
}  // namespace shunt::controlplane
