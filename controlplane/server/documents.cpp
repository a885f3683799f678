#include "controlplane/server/documents.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>

#include "controlplane/server/announced.h"
#include "controlplane/server/ha.h"
#include "controlplane/server/sync.h"
#include "src/api/figures.h"
#include "src/api/live.h"
#include "src/config/json.h"
#include "src/config/toml.h"
#include "src/config/values.h"

namespace shunt::controlplane {
namespace {

using LiveServices = std::map<std::string, api::LiveService>;

Json text_or_null(const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); }

// "41 s", "3 min", "5 h", "12 d": as long as a person cares.
std::string span_text(Duration span) {
    const std::int64_t seconds = span.in_milliseconds() / 1000;
    if (seconds < 120) return std::to_string(seconds) + " s";
    if (seconds < 7200) return std::to_string(seconds / 60) + " min";
    if (seconds < 172'800) return std::to_string(seconds / 3600) + " h";
    return std::to_string(seconds / 86'400) + " d";
}

Json workers_json(Passed passed) { return {{"passed", passed.workers}, {"total", passed.of}}; }

// One service of the status document, and what the verdict is made of.
class ServiceStatus {
  public:
    ServiceStatus(const Documents& documents, const LiveServices& live, std::size_t position)
        : documents_(documents),
          position_(position),
          service_(documents.core.effective_state().services[position]),
          configured_(documents.core.wanted().desired.services[position]) {
        if (const auto found = live.find(service_.name); found != live.end()) live_ = &found->second;
    }

    Json json() {
        Json backends = Json::array();
        for (std::size_t i = 0; i < service_.backends.size(); ++i) backends.push_back(backend(i));
        judge();
        Json vips = Json::array();
        for (const auto& vip : service_.vips) vips.push_back(vip.text());
        return {{"name", service_.name},
                {"vip", std::move(vips)},
                {"mode", to_string(service_.mode)},
                {"scheduler", to_string(service_.scheduler)},
                {"table_size", service_.table_size.value_or(0)},
                {"table_hash", {{"ipv4", hash(0)}, {"ipv6", hash(1)}}},
                {"verdict", verdict_},
                {"reason", text_or_null(reason_)},
                {"check", check_name()},
                {"quorum", quorum_json(documents_.core, position_)},
                {"backends", std::move(backends)}};
    }
    Json backend(std::size_t position);

    const std::string& verdict() const noexcept { return verdict_; }
    const std::string& reason() const noexcept { return reason_; }

  private:
    void judge();
    Json hash(std::size_t family) const {
        const auto value = live_ == nullptr ? 0 : live_->table_hash[family];
        return value == 0 ? Json(nullptr) : Json(api::hash_text(value));
    }
    Json check_name() const {
        if (!service_.check) return nullptr;
        return service_.check->type == config::CheckType::tcp ? "tcp" : "http";
    }
    void add_traffic(Json& json, const api::LiveBackend* live) const;
    void add_override(Json& json) const;

    const Documents& documents_;
    std::size_t position_;
    const config::Service& service_;
    const config::Service& configured_;
    const api::LiveService* live_{};
    std::size_t down_{};
    std::string first_down_{};
    std::string verdict_{"ok"};
    std::string reason_{};
};

Json ServiceStatus::backend(std::size_t position) {
    const auto& backend = service_.backends[position];
    const auto& configured = configured_.backends[position];
    const Verdict verdict = documents_.core.verdicts().of(position_, position);
    const auto& check = documents_.core.verdicts().check(position_, position);
    const CheckStatus* status = check ? documents_.core.health().status(*check) : nullptr;
    const std::string key = backend.key();
    const api::LiveBackend* live = nullptr;
    if (live_ != nullptr) {
        if (const auto found = live_->backends.find(key); found != live_->backends.end()) live = &found->second;
    }
    Json json{{"backend", key},
              {"address", backend.address.text()},
              {"port", backend.port},
              {"weight", backend.weight},
              {"configured_weight", configured.weight},
              {"state", to_string(backend.state)},
              {"verdict", verdict == Verdict::unknown ? "unchecked" : to_string(verdict)},
              {"for_ms", nullptr},
              {"reason", nullptr},
              {"in_table", live != nullptr && live->takes_new_flows},
              {"override", false},
              {"override_reason", nullptr}};
    add_override(json);
    add_traffic(json, live);
    if (status == nullptr || verdict == Verdict::unknown) return json;
    const Duration age = documents_.now.instant - status->since;
    json["for_ms"] = age.in_milliseconds();
    if (verdict == Verdict::up) return json;
    json["reason"] = text_or_null(status->last_text);
    ++down_;
    if (first_down_.empty())
        first_down_ = config::label(backend) + ": " + status->last_text + ", for " + span_text(age);
    return json;
}

void ServiceStatus::add_override(Json& json) const {
    for (const Override& override : documents_.core.wanted().overrides) {
        if (override.service != service_.name || override.backend != json["backend"]) continue;
        json["override"] = true;
        if (!override.reason.empty()) json["override_reason"] = override.reason;
    }
}

void ServiceStatus::add_traffic(Json& json, const api::LiveBackend* live) const {
    api::BackendTraffic sum;
    if (documents_.state && live != nullptr) {
        for (const std::uint32_t handle : live->handles) {
            const auto one = api::backend_traffic(*documents_.state, handle);
            sum.packets += one.packets;
            sum.bytes += one.bytes;
            sum.return_packets += one.return_packets;
            sum.return_bytes += one.return_bytes;
        }
    }
    json["packets"] = sum.packets;
    json["bytes"] = sum.bytes;
    json["return_packets"] = sum.return_packets;
    json["return_bytes"] = sum.return_bytes;
}

void ServiceStatus::judge() {
    if (live_ != nullptr && !live_->without_backends.empty()) {
        verdict_ = "bad";
        reason_ = "no backend to go to for " + live_->without_backends.front();
        if (down_ != 0) reason_ += " (" + first_down_ + ")";
    } else if (reason_ = quorum_complaint(documents_.core, position_); !reason_.empty()) {
        verdict_ = "bad";
        if (down_ != 0) reason_ += " (" + first_down_ + ")";
    } else if (down_ != 0) {
        verdict_ = "warn";
        reason_ = std::to_string(down_) + " of " + std::to_string(service_.backends.size()) + " backends down (" +
                  first_down_ + ")";
    }
}

// The verdict of the whole: the worst of its reasons.
class Judgement {
  public:
    void add(std::string_view verdict, std::string reason) {
        if (verdict == "ok") return;
        if (verdict == "bad" || worst_ == "ok") worst_ = verdict;
        reasons_.push_back(std::move(reason));
    }
    void put_into(Json& json) && {
        json["verdict"] = worst_;
        json["reasons"] = std::move(reasons_);
    }

  private:
    std::string worst_{"ok"};
    std::vector<std::string> reasons_{};
};

Json dataplane_json(const Progress& progress, const std::optional<shm::StateReader>& state, Now now) {
    Json json{{"alive", progress.alive},     {"ready", false},        {"pid", nullptr},          {"up_ms", nullptr},
              {"heartbeat_age_ms", nullptr}, {"generation", nullptr}, {"refused", Json::array()}};
    if (!state || !progress.alive) return json;
    const auto& header = state->header();
    const auto age = [&](const std::atomic<std::int64_t>& since) -> Json {
        const std::int64_t then = since.load(std::memory_order_relaxed);
        if (then == 0) return nullptr;
        return std::max<std::int64_t>(0, (now.instant - Instant{then}).in_milliseconds());
    };
    json["ready"] = header.ready.load(std::memory_order_relaxed) != 0;
    json["pid"] = header.pid.load(std::memory_order_relaxed);
    json["up_ms"] = age(header.started_at);
    json["heartbeat_age_ms"] = age(header.heartbeat);
    json["generation"] = progress.accepted.value;
    constexpr std::array names{"magic", "version", "size", "checksum", "index", "generation"};
    static_assert(names.size() == static_cast<std::size_t>(shm::RefusalReason::count));
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (progress.refusals[i] != 0)
            json["refused"].push_back({{"reason", names[i]}, {"total", progress.refusals[i]}});
    }
    return json;
}

Json config_json(const Core& core, const ProcessFacts& facts) {
    const bool api = core.wanted().origin == Origin::api;
    return {{"file", facts.config_file},
            {"source", api ? "api" : (facts.from_saved_state ? "state" : "file")},
            {"file_differs", facts.file_differs}};
}

void judge_announced(Judgement& judgement, const Core& core) {
    if (is_drained(core.wanted())) judgement.add("warn", "the node is drained; `shunt ha undrain-node` ends that");
    const auto silent = [](const Announced& one) { return one.withheld == Withheld::silent; };
    const auto count = std::ranges::count_if(core.announced(), silent);
    if (count == 0) return;
    judgement.add("bad", std::to_string(count) + " addresses are withdrawn: the data plane does not move");
}

void judge_dataplane(Judgement& judgement, const Progress& progress, Passed passed) {
    if (!progress.alive) {
        judgement.add("bad", "no data plane is running");
    } else if (!passed.all) {
        judgement.add("warn", "generation " + std::to_string(progress.published.value) + " is on " +
                                  std::to_string(passed.workers) + " of " + std::to_string(passed.of) + " workers");
    }
}

// What keeps this node from serving, and keepalived from hearing of it.
void judge_ha(Judgement& judgement, const Ha* ha) {
    if (ha == nullptr) return;
    const DataplaneSigns& signs = ha->signs();
    if (signs.held && ha->stale()) judgement.add("bad", "the data plane's heartbeat stands still");
    if (signs.held && !ha->stale() && !signs.fault.empty()) judgement.add("bad", "data plane: " + signs.fault);
    if (signs.held && signs.track_file_failed) {
        judgement.add("bad", "the data plane cannot write " + ha->dataplane_file().path());
    }
    if (!ha->problem().empty()) judgement.add("bad", ha->problem());
}

void judge_sync(Judgement& judgement, const sync::Standing& sync) {
    if (!sync.problem.empty()) judgement.add("bad", "flow sync: " + sync.problem);
    if (!sync.report) return;
    for (const auto& peer : sync.report->peers) {
        if (peer.state == sync::PeerState::usable) continue;
        judgement.add("warn", "peer " + peer.address.text() + ": " + sync::describe(peer.state));
    }
}

}  // namespace

Json Documents::status() const {
    const Progress progress = core.progress();
    const Passed passed = controlplane::passed(progress, progress.published);
    const auto live = api::live_services(tables);
    Judgement judgement;
    judge_dataplane(judgement, progress, passed);
    judge_announced(judgement, core);
    judge_ha(judgement, facts.ha);
    judge_sync(judgement, facts.sync);
    for (auto& problem : core.problems()) judgement.add("bad", std::move(problem));
    Json list = Json::array();
    for (std::size_t i = 0; i < core.effective_state().services.size(); ++i) {
        ServiceStatus one(*this, live, i);
        list.push_back(one.json());
        judgement.add(one.verdict(), core.effective_state().services[i].name + ": " + one.reason());
    }
    std::vector<std::string> warnings = core.warnings();
    warnings.insert(warnings.end(), facts.warnings.begin(), facts.warnings.end());
    warnings.insert(warnings.end(), facts.host_warnings.begin(), facts.host_warnings.end());
    if (facts.file_differs) {
        warnings.push_back("what was last applied is not what " + facts.config_file +
                           " says now; `shunt config apply " + facts.config_file + "` takes it");
    }
    Json json{{"version", SHUNT_VERSION},
              {"node", core.wanted().desired.node.name},
              {"generation", progress.published.value},
              {"workers", workers_json(passed)},
              {"revision", core.wanted().revision},
              {"dataplane", dataplane_json(progress, state, now)},
              {"controlplane", {{"pid", facts.pid}, {"up_ms", (now.instant - facts.started).in_milliseconds()}}},
              {"config", config_json(core, facts)},
              {"announce", announce_json(core)},
              {"ha", ha()},
              {"traffic", api::to_json(state ? api::traffic(*state) : api::Traffic{})},
              {"warnings", std::move(warnings)},
              {"services", std::move(list)}};
    json.update(overrides());
    std::move(judgement).put_into(json);
    return json;
}

Json Documents::services() const {
    const auto live = api::live_services(tables);
    Json list = Json::array();
    for (std::size_t i = 0; i < core.effective_state().services.size(); ++i) {
        list.push_back({{"service", config::to_json(core.wanted().desired.services[i])},
                        {"status", ServiceStatus(*this, live, i).json()}});
    }
    return {{"services", std::move(list)}};
}

Json Documents::service(const config::Service& service) const {
    const auto& all = core.wanted().desired.services;
    const auto position = static_cast<std::size_t>(&service - all.data());
    return {{"service", config::to_json(service)},
            {"status", ServiceStatus(*this, api::live_services(tables, service.name), position).json()}};
}

Json Documents::backends(const config::Service& service) const {
    Json list = Json::array();
    const Json status = this->service(service)["status"]["backends"];
    for (std::size_t i = 0; i < service.backends.size(); ++i) {
        list.push_back({{"backend", config::to_json(service.backends[i])}, {"status", status[i]}});
    }
    return {{"backends", std::move(list)}};
}

Json Documents::backend(const config::Service& service, const config::Backend& backend) const {
    return backends(service)["backends"][static_cast<std::size_t>(&backend - service.backends.data())];
}

Json Documents::overrides() const {
    Json list = Json::array();
    for (const auto& override : core.wanted().overrides) list.push_back(to_json(override, now));
    return {{"overrides", std::move(list)}};
}

Json Documents::workers() const { return state ? api::workers(*state, now.instant) : Json{{"workers", Json::array()}}; }

Json Documents::drops(bool zeros) const {
    if (!state) return {{"drops", Json::array()}};
    const auto name = [&](ServiceIndex index) { return std::string(shm::name_of(tables.services[index.value])); };
    return api::drops(*state, name, zeros);
}

Json Documents::ports() const { return state ? api::ports(*state) : Json{{"ports", Json::array()}}; }

Json Documents::config() const {
    Json json{{"config", config::to_json(core.wanted().desired)},
              {"toml", config::to_toml(core.wanted().desired)},
              {"revision", core.wanted().revision}};
    json.update(overrides());
    return json;
}

Json Documents::ha() const {
    if (facts.ha == nullptr) return nullptr;
    Json json = to_json(*facts.ha, now);
    json["sync"] = sync();
    return json;
}

Json Documents::sync() const { return to_json(facts.sync); }

Json Documents::events(std::uint64_t since) const {
    Json list = Json::array();
    for (const auto& event : core.events().all()) {
        if (event.id <= since) continue;
        list.push_back({{"id", event.id},
                        {"time_ms", event.unix_ms},
                        {"kind", to_string(event.kind)},
                        {"level", to_string(event.level)},
                        {"service", text_or_null(event.service)},
                        {"backend", text_or_null(event.backend)},
                        {"text", event.text}});
    }
    return {{"events", std::move(list)}};
}

Json to_json(const Override& override, Now now) {
    constexpr std::array kinds{"state", "weight", "node"};
    const bool state = override.kind != OverrideKind::weight;
    Json json{{"id", override.id()},
              {"service", text_or_null(override.service)},
              {"backend", text_or_null(override.backend)},
              {"kind", kinds[static_cast<std::size_t>(override.kind)]},
              {"state", state ? Json(to_string(override.state)) : Json(nullptr)},
              {"weight", state ? Json(nullptr) : Json(override.weight)},
              {"owner", override.owner},
              {"reason", text_or_null(override.reason)},
              {"age_ms", std::max<std::int64_t>(0, now.unix_ms - override.made_unix_ms)},
              {"expires_in_ms", nullptr}};
    if (override.expires) {
        json["expires_in_ms"] = std::max<std::int64_t>(0, (*override.expires - now.instant).in_milliseconds());
    }
    return json;
}

Json to_json(const ChangeReply& reply) {
    Json changes = Json::array();
    for (const auto& change : reply.changes) {
        changes.push_back({{"kind", to_string(change.kind)},
                           {"key", change.key},
                           {"old", text_or_null(change.before)},
                           {"new", text_or_null(change.after)}});
    }
    const std::string workers =
        std::to_string(reply.workers.workers) + "/" + std::to_string(reply.workers.of) + " workers";
    std::string text = "generation " + std::to_string(reply.generation.value) + ", " + workers;
    if (reply.timed_out) text += "; timed out, the change stays";
    return {{"changed", reply.changed},
            {"dry_run", reply.dry_run},
            {"changes", std::move(changes)},
            {"generation", reply.generation.value},
            {"workers", workers_json(reply.workers)},
            {"timed_out", reply.timed_out},
            {"text", std::move(text)},
            {"revision", reply.revision},
            {"warnings", reply.warnings}};
}

}  // namespace shunt::controlplane
