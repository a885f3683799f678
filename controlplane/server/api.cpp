#include "controlplane/server/api.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "controlplane/server/flows.h"
#include "src/api/error.h"
#include "src/api/flow_filter.h"
#include "src/api/live.h"
#include "src/config/json.h"
#include "src/config/machine.h"
#include "src/config/toml.h"
#include "src/config/validate.h"
#include "src/config/values.h"

namespace shunt::controlplane {
namespace {

std::string dump(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string_view title_of(unsigned status) {
    switch (status) {
        case 400:
            return "Bad Request";
        case 403:
            return "Forbidden";
        case 404:
            return "Not Found";
        case 405:
            return "Method Not Allowed";
        case 412:
            return "Precondition Failed";
        case 413:
            return "Content Too Large";
        case 422:
            return "Unprocessable Content";
        case 431:
            return "Request Header Fields Too Large";
        case 503:
            return "Service Unavailable";
        case 507:
            return "Insufficient Storage";
        default:
            return "Error";
    }
}

HttpResponse problem(unsigned status, const Error& error) {
    const Json json{{"type", "about:blank"},
                    {"title", title_of(status)},
                    {"status", status},
                    {"detail", error.text()},
                    {"pointer", error.pointer.empty() ? Json(nullptr) : Json(error.pointer)},
                    {"error", api::to_json(error)}};
    return {.status = status, .body = dump(json), .content_type = "application/problem+json"};
}

unsigned status_of(Rejection::Why why) {
    switch (why) {
        case Rejection::Why::refused:
            return 422;
        case Rejection::Why::stale:
            return 412;
        case Rejection::Why::storage:
            return 507;
        case Rejection::Why::unavailable:
            return 503;
    }
    return 500;
}

// A number of the query, digits only.
std::optional<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// What is left of a pointer into the whole document below a place like "/service/*"; empty if it leads elsewhere.
std::string within(std::string_view place, std::string_view pointer) {
    while (!place.empty()) {
        const auto piece = place.substr(1, place.find('/', 1) - 1);
        const auto end = std::min(pointer.find('/', 1), pointer.size());
        if (pointer.empty() || (piece != "*" && piece != pointer.substr(1, end - 1))) return {};
        place.remove_prefix(piece.size() + 1);
        pointer.remove_prefix(end);
    }
    return std::string(pointer);
}

// One request on its way: what its path names, and how to answer it.
struct Call {
    Core& core;
    Ha& ha;
    FlowScans& scans;
    Documents documents;
    const HttpRequest& request;
    const HttpReply& reply;
    std::vector<std::string> names{};  // what the pattern's stars stand for
    WriteOptions options{};

    static void answer(const Core& core, const HttpReply& reply, const Json& json) {
        reply({.body = dump(json), .etag = "\"" + std::to_string(core.wanted().revision) + "\""});
    }
    void answer(const Json& json) const { answer(core, reply, json); }
    void refuse(unsigned status, const Error& error) const { reply(problem(status, error)); }

    // With `If-None-Match: *` a PUT only creates. False, and the request answered, if there is one already.
    bool may_put(bool there_is_one, const std::string& what, const std::string& remedy) const {
        if (request.if_none_match.empty() || !there_is_one) return true;
        refuse(412, {.message = what + " exists already", .remedy = remedy});
        return false;
    }

    // Null, and the request answered, if there is no such thing.
    const config::Service* service() const {
        const auto* found = find_service(core.wanted().desired, names[0]);
        if (found == nullptr) {
            refuse(404, {.message = "there is no service \"" + names[0] + "\"",
                         .remedy = "`shunt service list` shows those there are"});
        }
        return found;
    }
    const config::Backend* backend(const config::Service& service) const {
        const auto found = find_backend(service, names[1]);
        if (found) return *found;
        refuse(404, found.error());
        return nullptr;
    }
    // The body, an object; `allowed` empty: whoever reads it says which fields there are.
    std::optional<Json> body(std::span<const std::string_view> allowed = {}) const {
        auto json =
            request.body.empty() && !allowed.empty() ? Result<Json>(Json::object()) : config::parse_json(request.body);
        if (!json) {
            refuse(400, json.error());
            return std::nullopt;
        }
        if (!json->is_object()) {
            refuse(422, {.message = "the body must be a JSON object"});
            return std::nullopt;
        }
        for (const auto& [key, value] : json->items()) {
            if (allowed.empty() || std::find(allowed.begin(), allowed.end(), key) != allowed.end()) continue;
            refuse(422, {.message = "unknown field \"" + key + "\"", .key = key, .pointer = "/" + key});
            return std::nullopt;
        }
        return std::move(*json);
    }

    // With the answer, when it comes; the call is over then.
    auto later() const {
        return [reply = reply, &core = core](const Result<Json>& json) {
            if (!json) return reply(problem(503, json.error()));
            Call::answer(core, reply, *json);
        };
    }

    // `body_at`: where in the whole document the body stands, as a pattern of a JSON pointer.
    void submit(const Request& wanted, std::string_view body_at = {}) const {
        const auto answered = [reply = reply, body_at](Answer outcome) {
            if (const auto* rejection = std::get_if<Rejection>(&outcome)) {
                const unsigned status = status_of(rejection->why);
                Error error = rejection->error;
                error.pointer = within(body_at, error.pointer);
                return reply(problem(status, error));
            }
            const auto& change = std::get<ChangeReply>(outcome);
            reply({.body = dump(to_json(change)), .etag = "\"" + std::to_string(change.revision) + "\""});
        };
        core.request(wanted, options, documents.now, answered);
    }
};

// ------------------------------------------------------------------------------------------------ reads

void get_service(Call& call) {
    if (const auto* service = call.service()) call.answer(call.documents.service(*service));
}

void get_backends(Call& call) {
    if (const auto* service = call.service()) call.answer(call.documents.backends(*service));
}

void get_backend(Call& call) {
    const auto* service = call.service();
    const auto* backend = service == nullptr ? nullptr : call.backend(*service);
    if (backend != nullptr) call.answer(call.documents.backend(*service, *backend));
}

void get_table(Call& call) {
    const auto* service = call.service();
    if (service == nullptr) return;
    const bool has_v4 =
        std::any_of(service->vips.begin(), service->vips.end(), [](const Vip& vip) { return vip.address.is_v4(); });
    const auto asked = call.request.query.find("family");
    const std::string family = asked != call.request.query.end() ? asked->second : (has_v4 ? "4" : "6");
    if (family != "4" && family != "6") return call.refuse(400, {.message = "family is 4 or 6"});
    const auto table =
        api::live_table(call.documents.tables, service->name, family == "4" ? Family::ipv4 : Family::ipv6);
    if (!table) return call.refuse(404, table.error());
    call.answer(*table);
}

void get_drops(Call& call) {
    const auto all = call.request.query.find("all");
    call.answer(call.documents.drops(all != call.request.query.end() && all->second != "0"));
}

void get_events(Call& call) {
    const auto since = call.request.query.find("since");
    const auto id = since == call.request.query.end() ? std::optional<std::uint64_t>(0) : number(since->second);
    if (!id)
        return call.refuse(400, {.message = "\"" + since->second + "\" is no id of an event",
                                 .remedy = "ids are numbers from 1; 0 asks for all there are"});
    call.answer(call.documents.events(*id));
}

// ------------------------------------------------------------------------------------------------ flows

// Nothing if it cannot be understood, and the request was answered.
std::optional<FlowQuestion> flow_question(const Call& call, std::string text, const std::string& pointer = {}) {
    const auto& state = call.documents.state;
    const std::uint32_t workers = state ? state->shape().workers : shm::max_workers;
    auto filter = api::parse_flow_filter(text, call.documents.tables, workers);
    if (filter) return FlowQuestion{*filter, std::move(text)};
    Error error = filter.error();
    error.pointer = pointer;
    call.refuse(422, error);
    return std::nullopt;
}

std::string parameter(const Call& call, const char* name) {
    const auto found = call.request.query.find(name);
    return found == call.request.query.end() ? std::string{} : found->second;
}

void get_flows(Call& call) {
    const std::string asked = parameter(call, "limit");
    const auto limit = asked.empty() ? default_flows_listed : number(asked);
    if (!limit || *limit > most_flows_listed) {
        return call.refuse(400, {.message = "limit " + asked + " is out of range", .remedy = "use 0 to 10000"});
    }
    const auto question = flow_question(call, parameter(call, "filter"));
    if (question) list_flows(call.scans, *question, *limit, call.later());
}

void get_flow_count(Call& call) {
    const std::string asked = parameter(call, "by");
    const auto by = api::FlowCounts::parse(asked);
    if (!asked.empty() && !by) {
        return call.refuse(400, {.message = "flows are not counted by \"" + asked + "\"",
                                 .remedy = "use service, backend, state or worker"});
    }
    const auto question = flow_question(call, parameter(call, "filter"));
    if (question) count_flows(call.scans, *question, by, call.later());
}

void post_kill(Call& call) {
    static constexpr std::array<std::string_view, 1> fields{"filter"};
    const auto json = call.body(fields);
    if (!json) return;
    const bool said = json->contains("filter") && (*json)["filter"].is_string() && (*json)["filter"] != "";
    if (!said) {
        return call.refuse(422, {.message = "\"filter\" says which flows are to be killed",
                                 .remedy = "write \"all\" if you mean every one",
                                 .pointer = "/filter"});
    }
    const auto question = flow_question(call, (*json)["filter"], "/filter");
    if (!question) return;
    if (call.options.dry_run) return preview_kill(call.scans, *question, call.later());
    const auto answered = [reply = call.reply, &core = call.core](const KillAnswer& outcome) {
        if (const auto* rejection = std::get_if<Rejection>(&outcome)) {
            return reply(problem(status_of(rejection->why), rejection->error));
        }
        Call::answer(core, reply, to_json(std::get<KillReply>(outcome), core));
    };
    call.core.kill_flows(question->filter, question->text, call.options, call.documents.now, answered);
}

// ------------------------------------------------------------------------------------------------ this node

// A change that is no part of what is wanted: neither revision nor generation.
ChangeReply change_beside(const Call& call, std::vector<Change> changes) {
    const Progress progress = call.core.progress();
    return {.changed = !changes.empty(),
            .dry_run = call.options.dry_run,
            .changes = std::move(changes),
            .generation = progress.published,
            .workers = passed(progress, progress.published),
            .revision = call.core.wanted().revision};
}

void post_role(Call& call) {
    static constexpr std::array<std::string_view, 1> fields{"role"};
    const auto json = call.body(fields);
    if (!json) return;
    const std::string text = json->contains("role") && (*json)["role"].is_string() ? (*json)["role"] : "";
    const auto role = parse_role(text);
    if (!role) {
        return call.refuse(422, {.message = "\"" + text + "\" is no role",
                                 .remedy = "use master, backup, fault or none",
                                 .pointer = "/role"});
    }
    const RoleTaken before = call.ha.role();
    std::vector<Change> changes;
    if (before.role != *role) {
        changes.push_back(
            {ChangeKind::change, "ha.role", std::string(to_string(before.role)), std::string(to_string(*role))});
    }
    if (!call.options.dry_run) {
        const Status kept = call.ha.take_role(*role, call.options.who, call.documents.now);
        if (!kept) return call.refuse(507, kept.error());
    }
    Json answer = to_json(change_beside(call, std::move(changes)));
    answer["text"] = "role " + std::string(to_string(*role));
    call.answer(answer);
}

void add_to(Json& answer, const UpgradeReply& reply) {
    const double milliseconds = static_cast<double>(reply.gap.nanoseconds / 1000) / 1000;
    answer["timed_out"] = reply.timed_out;
    answer["gap_ms"] = reply.timed_out ? Json(nullptr) : Json(milliseconds);
    answer["pid"] = reply.timed_out ? Json(nullptr) : Json(reply.successor);
    answer["text"] = reply.timed_out ? std::string("timed out, the upgrade goes on")
                                     : "process " + answer["pid"].dump() + " took over; nobody forwarded for " +
                                           answer["gap_ms"].dump() + " ms";
}

void post_upgrade(Call& call) {
    static constexpr std::array<std::string_view, 1> fields{"program"};
    const auto json = call.body(fields);
    if (!json) return;
    const Json program = json->value("program", Json(""));
    const bool fits = program.is_string() && program.get_ref<const std::string&>().size() <= longest_program;
    if (!fits || (program != "" && program.get_ref<const std::string&>()[0] != '/')) {
        return call.refuse(
            422, {.message = "\"program\" is an absolute path of at most " + std::to_string(longest_program) + " bytes",
                  .pointer = "/program"});
    }
    const auto changes = std::vector<Change>{{ChangeKind::change, "dataplane", "this process", "a new process"}};
    Json answer = to_json(change_beside(call, changes));
    if (call.options.dry_run) return call.answer(answer);
    const auto answered = [reply = call.reply, &core = call.core, answer](const UpgradeAnswer& outcome) mutable {
        if (const auto* rejection = std::get_if<Rejection>(&outcome)) {
            return reply(problem(status_of(rejection->why), rejection->error));
        }
        add_to(answer, std::get<UpgradeReply>(outcome));
        Call::answer(core, reply, answer);
    };
    call.core.upgrade(program, call.options, call.documents.now, answered);
}

constexpr std::int64_t longest_wedge_ms = 60'000;

// "1:wedge"
void post_worker(Call& call) {
    static constexpr std::array<std::string_view, 1> fields{"for_ms"};
    const std::string& name = call.names[0];
    const auto colon = std::min(name.find(':'), name.size());
    const auto worker = number(std::string_view(name).substr(0, colon));
    if (name.substr(colon) != ":wedge") return call.refuse(404, {.message = "POST takes a worker followed by :wedge"});
    const std::size_t workers = call.core.progress().workers.size();
    if (colon == 0 || !worker || *worker >= workers) {
        return call.refuse(404, {.message = "there is no worker \"" + name.substr(0, colon) + "\"",
                                 .remedy = "`shunt worker list` shows those there are"});
    }
    const auto json = call.body(fields);
    if (!json) return;
    const Json time = json->value("for_ms", Json(500));
    if (!time.is_number_integer() || time < 1 || time > longest_wedge_ms) {
        return call.refuse(422,
                           {.message = "\"for_ms\" is a number of milliseconds, up to a minute", .pointer = "/for_ms"});
    }
    const std::string text = "worker " + std::to_string(*worker) + " stands still for " + time.dump() + " ms";
    Json answer = to_json(change_beside(call, {{ChangeKind::change, "worker." + std::to_string(*worker), "", text}}));
    answer["text"] = text;
    if (call.options.dry_run) return call.answer(answer);
    const auto over = [reply = call.reply, &core = call.core, answer](const Status& done) {
        if (!done) return reply(problem(503, done.error()));
        Call::answer(core, reply, answer);
    };
    call.core.wedge_worker(WorkerIndex(static_cast<std::uint16_t>(*worker)), Duration::milliseconds(time), call.options,
                           call.documents.now, over);
}

// ------------------------------------------------------------------------------------------------ services and
// backends

// Where the body leaves the name out, the path has it; where both name it, they agree.
bool name_from_path(const Call& call, Json& json, const char* field, const Json& name) {
    if (!json.contains(field)) json[field] = name;
    if (json[field] == name) return true;
    call.refuse(422, {.message = std::string("\"") + field + "\" differs from the path",
                      .remedy = "leave it out, or say the same",
                      .pointer = std::string("/") + field});
    return false;
}

void submit_service(Call& call, Json json) {
    if (!name_from_path(call, json, "name", call.names[0])) return;
    auto service = config::service_from_json(json);
    if (!service) return call.refuse(422, service.error());
    call.submit(PutService{std::move(*service)}, "/service/*");
}

void put_service(Call& call) {
    const std::string& name = call.names[0];
    const bool there_is_one = find_service(call.core.wanted().desired, name) != nullptr;
    if (!call.may_put(there_is_one, "service \"" + name + "\"",
                      "`shunt service set` changes it, `shunt service delete` removes it")) {
        return;
    }
    if (auto json = call.body()) submit_service(call, std::move(*json));
}

void patch_service(Call& call) {
    const auto* service = call.service();
    const auto patch = service == nullptr ? std::nullopt : call.body();
    if (!patch) return;
    Json json = config::to_json(*service);
    json.merge_patch(*patch);
    submit_service(call, std::move(json));
}

void delete_service(Call& call) {
    if (const auto* service = call.service()) call.submit(DeleteService{service->name});
}

void submit_backend(Call& call, Json json, const IpAddress& address, std::uint16_t port) {
    if (!name_from_path(call, json, "address", address.text())) return;
    if (port != 0 && !name_from_path(call, json, "port", port)) return;
    auto backend = config::backend_from_json(json);
    if (!backend) return call.refuse(422, backend.error());
    call.submit(PutBackend{call.names[0], std::move(*backend)}, "/service/*/backend/*");
}

void put_backend(Call& call) {
    const auto* service = call.service();
    if (service == nullptr) return;
    const auto address = IpAddress::parse(call.names[1]);
    const auto with_port = parse_address_and_port(call.names[1]);
    if (!address && !with_port) {
        return call.refuse(422, {.message = "\"" + call.names[1] + "\" is no address",
                                 .remedy = "write 198.18.2.11, 198.18.2.11:8080 or [2001:db8:2::11]:8080"});
    }
    const config::Backend wanted{.address = address ? *address : with_port->address,
                                 .port = address ? std::uint16_t{0} : with_port->port};
    const bool there_is_one = std::any_of(service->backends.begin(), service->backends.end(),
                                          [&](const auto& backend) { return backend.key() == wanted.key(); });
    if (!call.may_put(there_is_one, "backend " + config::label(wanted) + " of \"" + service->name + "\"",
                      "`shunt backend set` changes it")) {
        return;
    }
    if (auto json = call.body()) submit_backend(call, std::move(*json), wanted.address, wanted.port);
}

void patch_backend(Call& call) {
    const auto* service = call.service();
    const auto* backend = service == nullptr ? nullptr : call.backend(*service);
    const auto patch = backend == nullptr ? std::nullopt : call.body();
    if (!patch) return;
    Json json = config::to_json(*backend);
    json.merge_patch(*patch);
    submit_backend(call, std::move(json), backend->address, backend->port);
}

void delete_backend(Call& call) {
    const auto* service = call.service();
    const auto* backend = service == nullptr ? nullptr : call.backend(*service);
    if (backend != nullptr) call.submit(DeleteBackend{service->name, backend->key()});
}

// ------------------------------------------------------------------------------------------------ overrides

constexpr std::uint32_t max_weight = 1000;
constexpr std::int64_t max_for_ms = std::int64_t{366} * 24 * 3600 * 1000;

// The fields every override may have; false if the request was answered.
bool read_override(Call& call, const Json& json, Override& into) {
    const auto refuse = [&](const std::string& field, const std::string& sentence) {
        call.refuse(422, {.message = "\"" + field + "\" " + sentence, .key = field, .pointer = "/" + field});
        return false;
    };
    if (json.contains("reason")) {
        if (!json["reason"].is_string()) return refuse("reason", "is a text");
        into.reason = json["reason"];
        if (into.reason.size() > 1000) return refuse("reason", "is longer than 1,000 bytes");
    }
    if (json.contains("for_ms") && !json["for_ms"].is_null()) {
        const auto& span = json["for_ms"];
        if (!span.is_number_integer() || span < 1 || span > max_for_ms) {
            return refuse("for_ms", "is a number of milliseconds, up to a year");
        }
        into.expires = call.documents.now.instant + Duration::milliseconds(span);
    }
    if (into.kind != OverrideKind::weight) return true;
    if (!json.contains("weight") || !json["weight"].is_number_integer() || json["weight"] < 0 ||
        json["weight"] > max_weight) {
        return refuse("weight", "is a number from 0 to 1000");
    }
    into.weight = json["weight"];
    return true;
}

void post_override(Call& call, std::string_view verb) {
    static constexpr std::array<std::string_view, 3> fields{"reason", "for_ms", "weight"};
    const bool weight = verb == "weight";
    const auto* service = call.service();
    const auto* backend = service == nullptr ? nullptr : call.backend(*service);
    const auto json = backend == nullptr ? std::nullopt : call.body(std::span(fields).first(weight ? 3 : 2));
    if (!json) return;
    Override added{.service = service->name,
                   .backend = backend->key(),
                   .kind = weight ? OverrideKind::weight : OverrideKind::state,
                   .owner = call.options.who,
                   .made_unix_ms = call.documents.now.unix_ms};
    if (!weight) added.state = parse_backend_state(verb).value();
    if (!read_override(call, *json, added)) return;
    call.submit(SetOverride{std::move(added), !json->contains("reason"), !json->contains("for_ms")});
}

// "198.18.2.11:443:drain": what comes after the last colon is the verb.
void post_backend(Call& call) {
    std::string& name = call.names[1];
    const auto colon = name.rfind(':');
    const std::string verb = colon == std::string::npos ? "" : name.substr(colon + 1);
    if (verb != "drain" && verb != "maint" && verb != "ready" && verb != "weight") {
        return call.refuse(404, {.message = "POST takes a backend followed by :drain, :maint, :ready or :weight"});
    }
    name.resize(colon);
    post_override(call, verb);
}

// The node has one override at most: that it is drained. To be ready is to have none.
void submit_node(Call& call, config::BackendState state) {
    static constexpr std::array<std::string_view, 2> fields{"reason", "for_ms"};
    const auto json = call.body(fields);
    if (!json) return;
    Override added{.kind = OverrideKind::node,
                   .state = state,
                   .owner = call.options.who,
                   .made_unix_ms = call.documents.now.unix_ms};
    if (!read_override(call, *json, added)) return;
    call.submit(SetOverride{std::move(added), !json->contains("reason"), !json->contains("for_ms")});
}

void post_drain(Call& call) { submit_node(call, config::BackendState::drain); }
void post_undrain(Call& call) { submit_node(call, config::BackendState::ready); }

void delete_override(Call& call) {
    const auto& all = call.core.wanted().overrides;
    const std::string& id = call.names[0];
    const bool there = id == "all" || std::any_of(all.begin(), all.end(), [&](const auto& o) { return o.id() == id; });
    if (!there) {
        return call.refuse(404, {.message = "there is no override \"" + id + "\"",
                                 .remedy = "`shunt override list` shows those there are"});
    }
    call.submit(ClearOverride{id});
}

// ------------------------------------------------------------------------------------------------ the whole document

struct ReadConfig {
    ApplyConfig request{};
    std::vector<Error> warnings{};
};

// Nothing if the request was answered.
std::optional<ReadConfig> read_config(Call& call) {
    static constexpr std::array<std::string_view, 3> fields{"toml", "file", "config"};
    const auto json = call.body(fields);
    if (!json) return std::nullopt;
    const auto refuse = [&](const char* sentence) {
        call.refuse(422, {.message = sentence});
        return std::nullopt;
    };
    if (json->contains("toml") == json->contains("config")) return refuse("the body has either \"toml\" or \"config\"");
    const bool toml = json->contains("toml");
    if (toml && !(*json)["toml"].is_string()) return refuse("\"toml\" is a text");
    if (json->contains("file") && !(*json)["file"].is_string()) return refuse("\"file\" is a text");
    const std::string text = toml ? (*json)["toml"].get<std::string>() : std::string{};
    config::Positions positions;
    auto state = toml ? config::parse_toml(text, json->value("file", "request"), &positions)
                      : config::from_json((*json)["config"]);
    auto findings = state ? config::examine_here(*state, positions) : config::Findings{.errors = {state.error()}};
    if (findings.errors.empty()) {
        return ReadConfig{{std::move(*state), Origin::api, toml ? std::optional(text_hash(text)) : std::nullopt},
                          std::move(findings.warnings)};
    }
    Error error = std::move(findings.errors.front());
    error.pointer = toml ? "" : "/config" + error.pointer;
    call.refuse(422, error);
    return std::nullopt;
}

void post_apply(Call& call) {
    if (auto read = read_config(call)) call.submit(std::move(read->request));
}

void post_diff(Call& call) {
    call.options.dry_run = true;
    post_apply(call);
}

void post_check(Call& call) {
    auto read = read_config(call);
    if (!read) return;
    Json warnings = Json::array();
    for (const auto& warning : read->warnings) warnings.push_back(warning.text());
    const auto answered = [&](const Answer& outcome) {
        if (const auto* rejection = std::get_if<Rejection>(&outcome)) return call.refuse(422, rejection->error);
        call.answer({{"valid", true}, {"warnings", std::move(warnings)}});
    };
    call.core.request(std::move(read->request), {.dry_run = true}, call.documents.now, answered);
}

// ------------------------------------------------------------------------------------------------ which is which

enum class Access : std::uint8_t { read, write, preview };  // a preview has a body and changes nothing

struct Resource {
    std::string_view method;
    std::string_view pattern;  // below /v1/; a star stands for one segment
    Access access;
    void (*action)(Call&);
    std::array<std::string_view, 2> parameters{};  // of a read: those it takes
};

constexpr auto get_status = [](Call& call) { call.answer(call.documents.status()); };
constexpr auto services_of = [](Call& call) { call.answer(call.documents.services()); };
constexpr auto overrides_of = [](Call& call) { call.answer(call.documents.overrides()); };
constexpr auto workers_of = [](Call& call) { call.answer(call.documents.workers()); };
constexpr auto ports_of = [](Call& call) { call.answer(call.documents.ports()); };
constexpr auto ha_of = [](Call& call) { call.answer(call.documents.ha()); };
constexpr auto sync_of = [](Call& call) { call.answer(call.documents.sync()); };
constexpr auto config_of = [](Call& call) { call.answer(call.documents.config()); };

constexpr std::array resources{
    Resource{"GET", "status", Access::read, get_status},
    Resource{"GET", "services", Access::read, services_of},
    Resource{"GET", "services/*", Access::read, get_service},
    Resource{"PUT", "services/*", Access::write, put_service},
    Resource{"PATCH", "services/*", Access::write, patch_service},
    Resource{"DELETE", "services/*", Access::write, delete_service},
    Resource{"GET", "services/*/table", Access::read, get_table, {"family"}},
    Resource{"GET", "services/*/backends", Access::read, get_backends},
    Resource{"GET", "services/*/backends/*", Access::read, get_backend},
    Resource{"PUT", "services/*/backends/*", Access::write, put_backend},
    Resource{"PATCH", "services/*/backends/*", Access::write, patch_backend},
    Resource{"DELETE", "services/*/backends/*", Access::write, delete_backend},
    Resource{"POST", "services/*/backends/*", Access::write, post_backend},
    Resource{"GET", "overrides", Access::read, overrides_of},
    Resource{"DELETE", "overrides/*", Access::write, delete_override},
    Resource{"POST", "ha:drain", Access::write, post_drain},
    Resource{"POST", "ha:undrain", Access::write, post_undrain},
    Resource{"GET", "workers", Access::read, workers_of},
    Resource{"POST", "workers/*", Access::write, post_worker},
    Resource{"GET", "ha", Access::read, ha_of},
    Resource{"POST", "ha/role", Access::write, post_role},
    Resource{"GET", "sync", Access::read, sync_of},
    Resource{"GET", "drops", Access::read, get_drops, {"all"}},
    Resource{"GET", "ports", Access::read, ports_of},
    Resource{"GET", "config", Access::read, config_of},
    Resource{"POST", "config:apply", Access::write, post_apply},
    Resource{"POST", "config:diff", Access::preview, post_diff},
    Resource{"POST", "config:check", Access::preview, post_check},
    Resource{"GET", "flows", Access::read, get_flows, {"filter", "limit"}},
    Resource{"GET", "flows:count", Access::read, get_flow_count, {"filter", "by"}},
    Resource{"POST", "flows:kill", Access::write, post_kill},
    Resource{"POST", "dataplane:upgrade", Access::write, post_upgrade},
    Resource{"GET", "events", Access::read, get_events, {"since"}},
};

// What the stars stand for; nothing if the path is another.
std::optional<std::vector<std::string>> match(std::string_view pattern, const std::vector<std::string>& path) {
    if (path.empty() || path[0] != "v1") return std::nullopt;
    std::vector<std::string> names;
    std::size_t at = 1;
    for (;; ++at) {
        const auto end = pattern.find('/');
        const std::string_view piece = pattern.substr(0, end);
        if (at >= path.size() || path[at].empty()) return std::nullopt;
        if (piece == "*") {
            names.push_back(path[at]);
        } else if (piece != path[at]) {
            return std::nullopt;
        }
        if (end == std::string_view::npos) break;
        pattern.remove_prefix(end + 1);
    }
    return at + 1 == path.size() ? std::optional(names) : std::nullopt;
}

constexpr std::uint64_t max_wait_seconds = 60;

// The options of a write, from query and header. An error says which is wrong.
Status read_options(const HttpRequest& request, WriteOptions& options) {
    for (const auto& [name, value] : request.query) {
        const auto parsed = number(value);
        if (name == "dry_run" && parsed && *parsed <= 1) {
            options.dry_run = *parsed == 1;
        } else if (name == "wait" && parsed && *parsed <= max_wait_seconds) {
            options.wait = Duration::seconds(static_cast<std::int64_t>(*parsed));
        } else {
            return Error{.message = "query parameter \"" + name + "\" is unknown or out of range",
                         .remedy = "writes take dry_run=0 or 1, and wait=0 to 60 seconds"};
        }
    }
    if (!request.if_none_match.empty() && request.if_none_match != "*") {
        return Error{.message = "If-None-Match other than * is not known", .remedy = "use it with PUT, to create only"};
    }
    if (request.if_match.empty() || request.if_match == "*") return Done{};
    std::string_view revision = request.if_match;
    if (revision.size() > 2 && revision.front() == '"' && revision.back() == '"') {
        revision = revision.substr(1, revision.size() - 2);
    }
    options.if_revision = number(revision);
    if (!options.if_revision) return Error{.message = "If-Match is a revision, a number in quotes"};
    return Done{};
}

Status read_parameters(const HttpRequest& request, const Resource& resource) {
    for (const auto& [name, value] : request.query) {
        if (std::ranges::find(resource.parameters, name) == resource.parameters.end())
            return Error{.message = "unknown query parameter \"" + name + "\""};
    }
    return Done{};
}

}  // namespace

HttpResponse Api::error_page(unsigned status, const std::string& sentence) {
    return problem(status, {.message = sentence});
}

void Api::handle(const HttpRequest& request, const HttpReply& reply) {
    std::string allowed;
    for (const Resource& resource : resources) {
        auto names = match(resource.pattern, request.path);
        if (!names) continue;
        if (resource.method != request.method) {
            allowed += (allowed.empty() ? "" : ", ") + std::string(resource.method);
            continue;
        }
        Call call{core_, ha_, scans_, documents_(), request, reply, std::move(*names)};
        call.options.who = "uid " + std::to_string(request.uid);
        if (resource.pattern.starts_with("services/*")) {
            call.names[0] = name_of_service(core_.wanted().desired, call.names[0]);
        }
        if (resource.access == Access::write && request.uid != 0 && request.uid != own_uid_) {
            const std::string sentence = call.options.who + " may not change anything here";
            events_.add({.unix_ms = call.documents.now.unix_ms,
                         .kind = EventKind::audit,
                         .level = EventLevel::warn,
                         .text = sentence + ": " + request.method + " refused"});
            return call.refuse(
                403, {.message = sentence, .remedy = "ask as root, or as the user that runs shunt-controlplane"});
        }
        const Status sound =
            resource.access == Access::read ? read_parameters(request, resource) : read_options(request, call.options);
        if (!sound) return call.refuse(400, sound.error());
        return resource.action(call);
    }
    if (allowed.empty()) return reply(error_page(404, "there is nothing at this path; docs/api.md says what there is"));
    HttpResponse response = error_page(405, "this method is not for this path, but " + allowed);
    response.allow = allowed;
    reply(std::move(response));
}

}  // namespace shunt::controlplane
