// `shunt explain`: which backend a packet would reach, and why, from the live tables. The decision is made by the steps
// of the packet path themselves, on the regions the daemons share, with a flow table of this process in the worker's
// place: all live tables are looked into as another worker would, and nothing is written.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <ostream>

#include "controlplane/cli/table.h"
#include "controlplane/cli/verb.h"
#include "dataplane/path/choose_backend.h"
#include "dataplane/path/find_service.h"
#include "dataplane/tables/link_addresses.h"
#include "src/balance/schedule.h"
#include "src/base/clock.h"
#include "src/shm/generation.h"
#include "src/shm/region.h"
#include "src/shm/state.h"
#include "src/shm/state_file.h"

namespace shunt::cli {
namespace {

using nlohmann::json;
using namespace dataplane;

struct Question {
    FiveTuple tuple;
    std::vector<IpAddress> if_down;
};

// What the steps decided.
struct Answer {
    Verdict verdict{Verdict::keep()};
    Lane lane;
    std::optional<std::uint16_t> worker{};  // whose flow table knew the flow
    bool is_left{};                         // no worker's did yet, but a predecessor's
    bool is_flow() const noexcept { return worker || is_left; }
    shm::Handle table_backend{};  // no flow is known, and the table is not all that the scheduler goes by
};

// The two regions as a reader maps them. Without a data plane there is only the control plane's.
struct Regions {
    shm::Region tables;
    shm::StateFile state;
};

Result<Question> read_question(const Arguments& arguments) {
    const std::string destination = arguments.get("DST:PORT/PROTO");
    const auto slash = destination.rfind('/');
    const auto from = parse_address_and_port(arguments.get("SRC:PORT"));
    const auto to = parse_address_and_port(std::string_view(destination).substr(0, slash));
    const auto protocol =
        slash == std::string::npos ? std::nullopt : parse_protocol(std::string_view(destination).substr(slash + 1));
    const bool known = protocol == Protocol::tcp || protocol == Protocol::udp;
    if (!from || !to || !known || from->address.family() != to->address.family()) {
        const std::string flow = "\"" + arguments.get("SRC:PORT") + " " + destination + "\"";
        if (from && to && known) {
            return Error{.message = flow + ": one address is IPv4, the other IPv6", .remedy = "give two of one family"};
        }
        return Error{.message = flow + " is no flow",
                     .remedy = "write 203.0.113.7:40000 198.18.0.10:443/tcp, IPv6 addresses in brackets"};
    }
    Question question{{from->address, to->address, Be16(from->port), Be16(to->port), *protocol}, {}};
    for (const std::string& text : arguments.all("--if-down")) {
        const auto address = IpAddress::parse(text);
        if (!address) return Error{.message = "\"" + text + "\" is no address", .remedy = "give a backend's address"};
        question.if_down.push_back(*address);
    }
    return question;
}

Result<Regions> open_regions(const std::string& directory) {
    auto tables = shm::Region::open(directory + "/tables", shm::Region::Access::read_only);
    if (!tables) return tables.error();
    const auto& header = tables->at<const shm::TablesHeader>(0);
    if (header.magic != shm::tables_magic || !shm::reads_layout(header.version.load(std::memory_order_acquire))) {
        return Error{.message = "the tables are of another version",
                     .remedy = "use the tool that came with the daemons",
                     .file = tables->path()};
    }
    return Regions{std::move(*tables), shm::StateFile(directory + "/state")};
}

// Tables of flows as the steps take them: the steps only read those of others.
void add_flows(std::vector<FlowTable>& flows, const shm::StateReader& state) {
    for (std::uint16_t i = 0; i < state.shape().workers; ++i) {
        const auto buckets = state.flows(WorkerIndex(i));
        flows.emplace_back(std::span(const_cast<shm::FlowBucket*>(buckets.data()), buckets.size()));
    }
}

Answer decide(const shm::Tables& tables, Regions& regions, const FiveTuple& tuple) {
    std::vector<FlowTable> flows;
    std::vector<FlowTable> left;
    HashSeed flow_seed{};
    Tick tick = Tick::at(MonotonicClock{}.now());
    if (const auto state = regions.state.look()) {
        add_flows(flows, *state);
        for (const shm::StateReader& region : regions.state.left()) add_flows(left, region);
        flow_seed = state->header().flow_seed;
        tick = Tick::at(MonotonicClock{}.now() - Duration{state->header().downtime_nanoseconds});
    }
    std::vector<shm::FlowBucket> own_memory(2);
    FlowTable own(own_memory, flow_seed);
    const auto counters = std::make_unique<shm::WorkerBlock>();
    const auto killed = std::make_unique<ForgetList>();  // none
    LookAsideBudget budget;
    FlowContext context{tables, own, flows, left, *killed, {tables, tick}, budget, *counters};

    Answer answer;
    answer.lane.tuple = tuple;
    answer.lane.family = tuple.source.family();
    answer.lane.plain = true;
    answer.lane.tcp_flags = tcp_ack;             // as a packet of a connection that may exist already
    const auto news = std::make_unique<News>();  // nobody listens
    FindService find_service{tables, tables.listener_map, flow_seed, *news};
    find_service.prefetch(answer.lane);
    answer.verdict = find_service.apply(answer.lane);
    for (std::uint16_t i = 0; i < flows.size() && answer.verdict.keeps(); ++i) {
        Lane lane = answer.lane;
        if (context.find(flows[i], lane)) answer.worker = answer.worker.value_or(i);
    }
    answer.is_left = !answer.worker && answer.verdict.keeps() && std::ranges::any_of(left, [&](const auto& table) {
        Lane lane = answer.lane;
        return context.find(table, lane).has_value();
    });
    const ForwardingCache cache(1);  // nothing was forwarded yet
    LookUpFlow look_up{context, cache};
    look_up.prefetch(answer.lane);
    if (answer.verdict.keeps()) answer.verdict = look_up.apply(answer.lane);
    SchedulerMemory memory({}, WorkerIndex(0), 1, 0);
    if (answer.verdict.keeps()) answer.verdict = ChooseBackend{context, memory}.apply(answer.lane);
    const shm::ListenerRecord& listener = tables.listeners[answer.lane.listener.value];
    const bool chosen = answer.verdict.keeps() && !answer.is_flow() && answer.lane.direction == Direction::to_backend;
    if (chosen && listener.choice != Choice::by_table) {
        answer.table_backend = tables.choose(listener, tables.hash(listener, tuple));
        answer.lane.handle = {};  // whom a worker would choose, only that worker can say
    }
    return answer;
}

std::string key_of(const shm::BackendRecord& backend) {
    return address_and_port(backend.address, backend.configured_port);
}

std::string_view text_of(shm::BackendStatus status) {
    switch (status) {
        case shm::BackendStatus::absent:
            return "absent";
        case shm::BackendStatus::ready:
            return "up";
        case shm::BackendStatus::drain:
            return "draining";
        case shm::BackendStatus::down:
            return "down";
        case shm::BackendStatus::maint:
            return "in maintenance";
    }
    return "?";
}

// Where a packet to this port of the VIP goes.
std::string target_of(const shm::BackendRecord& backend, Be16 asked) {
    return address_and_port(backend.address, (backend.port == shm::any_port ? asked : backend.port).host());
}

Scheduler scheduler_of(const shm::Tables& tables, const shm::ListenerRecord& listener) {
    return tables.services[listener.service.value].scheduler;
}

// The choice without some of the backends: the same table building, the same slot.
std::optional<std::string> without(const shm::Tables& tables, const shm::ListenerRecord& listener, std::uint64_t hash,
                                   const std::vector<IpAddress>& gone) {
    std::vector<WeightedKey> left;
    for (const shm::Handle handle : tables.handles(listener)) {
        const shm::BackendRecord& backend = tables.backend(handle);
        if (std::find(gone.begin(), gone.end(), backend.address) == gone.end()) {
            left.push_back({key_of(backend), backend.weight});
        }
    }
    if (left.empty() || listener.table_size == 0) return std::nullopt;
    std::sort(left.begin(), left.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    const auto slots = slot_table(scheduler_of(tables, listener), left, listener.table_size);
    return left[slots[scale_hash(hash, slots.size())]].key;
}

std::string reason_of(const Answer& answer, const shm::Tables& tables) {
    if (answer.verdict.punts()) return "no service listens there: the kernel's packet";
    if (!answer.verdict.keeps()) return std::string(shm::text_of(answer.verdict.reason()).meaning);
    if (answer.table_backend) {
        return "no flow is known: the backend of one that opens depends on what is live then; a packet that opens none "
               "goes by the table, to " +
               target_of(tables.backend(answer.table_backend), answer.lane.tuple.destination_port);
    }
    const std::string status(text_of(tables.backend(answer.lane.handle).status));
    std::string known = answer.is_left ? "a flow that a data plane before this one left" : "by the table";
    if (answer.worker) known = "a flow known to worker " + std::to_string(*answer.worker);
    return known + "; the backend is " + status;
}

json describe(const Answer& answer, const shm::Tables& tables, const Question& question) {
    json document{{"service", nullptr},
                  {"scheduler", nullptr},
                  {"backend", nullptr},
                  {"target", nullptr},
                  {"table_target", nullptr},
                  {"slot", nullptr},
                  {"hash", nullptr},
                  {"source", "none"},
                  {"worker", nullptr},
                  {"mode", nullptr},
                  {"if_down", nullptr},
                  {"generation", tables.generation().value},
                  {"reason", reason_of(answer, tables)}};
    const shm::ListenerRecord& listener = tables.listeners[answer.lane.listener.value];
    if (!listener.in_use || answer.lane.direction != Direction::to_backend) return document;
    const std::uint64_t hash = tables.hash(listener, question.tuple);
    char hex[17];
    std::snprintf(hex, sizeof hex, "%016llx", static_cast<unsigned long long>(hash));
    document["service"] = name_of(tables.services[listener.service.value]);
    document["mode"] = to_string(listener.mode);
    document["hash"] = hex;
    document["scheduler"] = to_string(scheduler_of(tables, listener));
    document["table_size"] = listener.table_size;
    const bool by_table = listener.choice == Choice::by_table;
    if (listener.slots && by_table) document["slot"] = scale_hash(hash, listener.table_size);
    if (answer.verdict.keeps() && answer.lane.handle) {
        const shm::BackendRecord& backend = tables.backend(answer.lane.handle);
        document["backend"] = key_of(backend);
        document["target"] = target_of(backend, question.tuple.destination_port);
        document["source"] = answer.is_flow() ? "flow" : "table";
        if (answer.worker) document["worker"] = *answer.worker;
    }
    if (answer.table_backend)
        document["table_target"] = target_of(tables.backend(answer.table_backend), question.tuple.destination_port);
    if (!question.if_down.empty() && by_table) {
        const auto next = without(tables, listener, hash, question.if_down);
        document["if_down"] = next ? json(*next) : json();
    }
    return document;
}

void print(const Session& session, const json& d, const Question& question) {
    if (d["service"].is_null()) {
        session.out << cell(d, "reason") << "\n";
        return;
    }
    session.out << "service " << cell(d, "service") << ", scheduler " << cell(d, "scheduler");
    if (!d["slot"].is_null()) session.out << ", slot " << cell(d, "slot") << " of " << cell(d, "table_size");
    session.out << ", generation " << cell(d, "generation") << "\n";
    session.out << cell(d, "reason");
    if (!d["target"].is_null()) session.out << "  ->  " << cell(d, "target") << ", mode " << cell(d, "mode");
    session.out << "\n";
    if (question.if_down.empty()) return;
    if (d["slot"].is_null()) {
        session.out << "new flows go by what is live then: without these backends to one of the others\n";
        return;
    }
    session.out << "new flows, if";
    for (const IpAddress& address : question.if_down) session.out << " " << address.text();
    session.out << (question.if_down.size() == 1 ? " goes" : " go") << " down: " << cell(d, "if_down") << "\n";
}

// A generation is only lent to readers: what was read counts if the ring still names it afterwards.
Result<json> ask(Regions& regions, const Question& question) {
    const auto& header = regions.tables.at<const shm::TablesHeader>(0);
    constexpr int tries = 100;
    for (int i = 0; i < tries; ++i) {
        const auto state = regions.state.look();
        const std::uint64_t accepted = state ? state->header().accepted.load() : 0;
        const Generation generation(accepted ? accepted : header.published.load());
        const auto root = shm::find_root(header, generation);
        if (!root) continue;
        const shm::Tables tables(regions.tables.data(),
                                 regions.tables.at<const shm::Root>(*root + sizeof(shm::BlockHeader)));
        const json document = describe(decide(tables, regions, question.tuple), tables, question);
        if (shm::find_root(header, generation)) return document;
    }
    return Error{.message = "nothing was published yet", .remedy = "is shunt-controlplane running?"};
}

int explain(const Arguments& arguments, const Session& session) {
    const auto question = read_question(arguments);
    if (!question) return fail(session, question.error(), exit_usage);
    const std::string beside = std::filesystem::path(session.socket).parent_path();
    auto regions = open_regions(arguments.get("--run-dir", beside) + "/shm");
    if (!regions) return fail(session, regions.error(), exit_unreachable);
    const auto document = ask(*regions, *question);
    if (!document) return fail(session, document.error());
    if (session.json()) {
        print_json(session, *document);
    } else {
        print(session, *document, *question);
    }
    const bool leads_on = !(*document)["target"].is_null() || !(*document)["table_target"].is_null();
    return leads_on ? exit_ok : exit_refused;
}

}  // namespace

std::vector<Verb> explain_verbs() {
    return {
        {"explain",
         "which backend a packet reaches, and why, by the packet path's own code",
         {{"SRC:PORT", Parameter::Kind::required, "the client, 203.0.113.7:40000 or [2001:db8::7]:40000"},
          {"DST:PORT/PROTO", Parameter::Kind::required, "the VIP, 198.18.0.10:443/tcp"},
          {"--if-down", Parameter::Kind::option, "and where new flows would go without this backend; may be repeated"},
          {"--run-dir", Parameter::Kind::option, "of the daemons; by default that of the socket"}},
         explain}};
}

}  // namespace shunt::cli
