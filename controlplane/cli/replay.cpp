// `shunt replay`: the real packet path on a capture file, without root, huge pages or a daemon, and a verdict for every
// packet. How a user reports a bug, and how anyone replays another project's packets.
#include <algorithm>
#include <filesystem>
#include <ostream>

#include "controlplane/cli/replay_run.h"
#include "controlplane/cli/table.h"
#include "controlplane/state/store.h"
#include "src/api/error.h"
#include "src/config/file.h"
#include "src/config/validate.h"

namespace shunt::cli {
namespace {

using nlohmann::json;
using namespace dataplane;

// What the command line asks for, as far as it can be wrong on its own.
struct Order {
    std::string config, in, out, punt;
    std::vector<IpAddress> down;
};

Result<Order> read_order(const Arguments& arguments) {
    Order order{.config = arguments.get("CONFIG"),
                .in = arguments.get("IN.pcap"),
                .out = arguments.get("--out"),
                .punt = arguments.get("--punt"),
                .down = {}};
    for (const std::string& text : arguments.all("--down")) {
        const auto address = IpAddress::parse(text);
        if (!address) return Error{.message = "\"" + text + "\" is no address", .remedy = "give a backend's address"};
        order.down.push_back(*address);
    }
    // Opening a file for writing empties it.
    const auto same = [](const std::string& a, const std::string& b) {
        std::error_code absent;
        return !a.empty() && !b.empty() && (a == b || std::filesystem::equivalent(a, b, absent));
    };
    if (same(order.in, order.out) || same(order.in, order.punt) || same(order.out, order.punt)) {
        return Error{.message = "two of the three captures are the same file", .remedy = "give each a name of its own"};
    }
    return order;
}

// The configuration as a replay has it: the ports are captures, and checks say what --down says.
Result<config::DesiredState> offline_state(const Order& order) {
    config::Positions positions;
    auto state = config::load_file(order.config, &positions);
    if (!state) return state.error();
    for (config::Port& port : state->dataplane.ports) port.kind = config::CapturePort{};
    config::fix_table_sizes(*state);
    if (const auto valid = config::validate(*state, positions); !valid) return valid.error();
    if (state->dataplane.ports.empty()) {
        return Error{.message = "there is no port for the packets to arrive at",
                     .remedy = "add [[dataplane.port]]",
                     .file = order.config};
    }
    for (const IpAddress& down : order.down) {
        bool known = false;
        for (config::Service& service : state->services) {
            if (std::ranges::find(service.backends, down, &config::Backend::address) == service.backends.end())
                continue;
            if (!service.check) service.check = config::Check{};
            known = true;
        }
        if (known) continue;
        return Error{.message = "no service has the backend " + down.text(),
                     .remedy = "check the address after --down",
                     .file = order.config};
    }
    return state;
}

Result<HashSeed> site_seed(const config::Node& node, const Session& session) {
    if (!node.hash_seed_file.empty()) return controlplane::read_seed(node.hash_seed_file);
    session.err << "note: no hash_seed_file is configured: a seed of zeros chooses the backends\n";
    return HashSeed{};
}

Result<Replay::Files> open_files(const Order& order) {
    Replay::Files files;
    for (auto& [path, file] : {std::pair{&order.out, &files.out}, std::pair{&order.punt, &files.punt}}) {
        if (path->empty()) continue;
        auto writer = CaptureWriter::open(*path);
        if (!writer) return writer.error();
        *file = std::move(*writer);
    }
    return files;
}

json text_or_null(std::string_view text) { return text.empty() ? json() : json(text); }

std::string_view verdict_text(Verdict verdict) {
    if (verdict.keeps()) return "forwarded";
    return verdict.punts() ? "punted" : "dropped";
}

json describe(std::size_t n, const Fate& fate, const shm::Tables& tables) {
    const Verdict verdict = *fate.verdict;
    const bool dropped = !verdict.keeps() && !verdict.punts();
    const shm::BackendRecord& backend = tables.backend(fate.handle);
    return {{"n", n},
            {"verdict", verdict_text(verdict)},
            {"reason", dropped ? json(shm::text_of(verdict.reason()).name) : json()},
            {"service", text_or_null(shm::name_of(tables.services[fate.service.value]))},
            {"backend", fate.handle ? json(address_and_port(backend.address, backend.configured_port)) : json()},
            {"out", fate.out != 0 ? json(fate.out) : json()}};
}

json empty_document() {
    return {{"packets", json::array()}, {"received", 0},   {"forwarded", 0}, {"punted", 0}, {"dropped", 0},
            {"originated", 0},          {"error", nullptr}};
}

json describe(Replay& replay) {
    json document = empty_document();
    const shm::Tables tables = replay.tables();
    std::map<std::string_view, std::size_t> sums;
    for (std::size_t i = 0; i < replay.fates().size(); ++i) {
        document["packets"].push_back(describe(i + 1, replay.fates()[i], tables));
        ++sums[verdict_text(*replay.fates()[i].verdict)];
    }
    document["received"] = replay.fates().size();
    for (const char* verdict : {"forwarded", "punted", "dropped"}) document[verdict] = sums[verdict];
    document["originated"] = replay.originated();
    return document;
}

void print(const Session& session, const json& document) {
    Table table({"N", "VERDICT", "REASON", "SERVICE", "BACKEND", "OUT"});
    for (const json& p : document["packets"]) {
        table.add({cell(p, "n"), cell(p, "verdict"), cell(p, "reason"), cell(p, "service"), cell(p, "backend"),
                   cell(p, "out")});
    }
    table.print(session);
    session.out << cell(document, "received") << " received: " << cell(document, "forwarded") << " forwarded, "
                << cell(document, "punted") << " punted, " << cell(document, "dropped") << " dropped; "
                << cell(document, "originated") << " originated\n";
}

// What was read counts, also if the rest of the file could not be.
int show(const Session& session, const json& document) {
    if (session.json()) {
        print_json(session, document);
    } else {
        print(session, document);
    }
    return document["error"].is_null() ? exit_ok : exit_refused;
}

// `packet`: the one that could not be read; null: none could.
json damage(const Session& session, const Error& error, const json& packet) {
    session.err << error.text() << "\n";
    json document = api::to_json(error);
    document["packet"] = packet;
    return document;
}

// All packets of the capture; what stopped them, or null.
json run(Replay& replay, CaptureReader& in, const Session& session) {
    json stopped = nullptr;
    for (bool more = true; more;) {
        const auto packet = in.next();
        if (!packet) stopped = damage(session, packet.error(), replay.fates().size() + 1);
        more = packet && packet->has_value();
        if (more) replay.take(**packet);
    }
    replay.finish();
    return stopped;
}

int replay(const Arguments& arguments, const Session& session) {
    const auto order = read_order(arguments);
    if (!order) return fail(session, order.error(), exit_usage);
    const auto state = offline_state(*order);
    if (!state) return fail(session, state.error());
    const auto seed = site_seed(state->node, session);
    if (!seed) return fail(session, seed.error());
    auto in = CaptureReader::open(order->in);
    if (!in) {
        json document = empty_document();
        document["error"] = damage(session, in.error(), nullptr);
        return show(session, document);
    }
    auto files = open_files(*order);
    if (!files) return fail(session, files.error());
    auto replay = Replay::make(*state, order->down, *seed, std::move(*files));
    if (!replay) return fail(session, replay.error());

    const json stopped = run(**replay, *in, session);
    if (const auto closed = (*replay)->close(); !closed) return fail(session, closed.error());
    json document = describe(**replay);
    document["error"] = stopped;
    return show(session, document);
}

}  // namespace

std::vector<Verb> replay_verbs() {
    return {{"replay",
             "the real packet path on a capture file, offline; a verdict for every packet",
             {{"CONFIG", Parameter::Kind::required, "a configuration in TOML; its ports are taken as captures"},
              {"IN.pcap", Parameter::Kind::required, "the packets, pcap or pcapng, Ethernet"},
              {"--out", Parameter::Kind::option, "write what is sent to this file"},
              {"--punt", Parameter::Kind::option, "write what is left to the kernel to this file"},
              {"--down", Parameter::Kind::option, "this backend is down; all others are up; may be repeated"}},
             replay}};
}

}  // namespace shunt::cli
