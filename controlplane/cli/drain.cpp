// `shunt ha drain-node` and its undoing: this node gives its traffic to others, and waits until it is gone.
#include <ostream>
#include <thread>

#include "controlplane/cli/client.h"
#include "controlplane/cli/table.h"

namespace shunt::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

// So few in a second are strays: a single connection that is used has more.
constexpr std::uint64_t stray_packets = 10;
constexpr auto look_again = std::chrono::seconds(1);

// Packets of services that came here, ever.
Result<std::uint64_t> received(const Client& client) {
    const auto reply = client.call("GET", "/v1/status");
    if (!reply) return reply.error();
    if (!reply->ok()) return Error{.message = "the status is refused"};
    return reply->document["traffic"].value("received", std::uint64_t{});
}

int wait_until_gone(const Client& client, const Session& session, json change) {
    const auto began = Clock::now();
    auto before = received(client);
    for (;;) {
        if (!before) return fail(session, before.error(), exit_unreachable);
        std::this_thread::sleep_for(look_again);
        const auto now = received(client);
        if (!now) return fail(session, now.error(), exit_unreachable);
        const std::uint64_t packets = *now - *before;
        const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began);
        const bool gone = packets <= stray_packets;
        if (gone || waited > session.timeout) {
            change["packets_per_second"] = packets;
            change["waited_ms"] = waited.count();
            const int code = show_change(session, change);
            const std::string left = std::to_string(packets) + " packets in the last second";
            if (gone) {
                session.err << "the traffic is gone: " << left << "\n";
                return code;
            }
            session.err << "traffic still comes: " << left << "; the node stays drained\n";
            return exit_timed_out;
        }
        before = now;
    }
}

int drain(const Arguments& arguments, const Session& session) {
    json body = json::object();
    if (arguments.has("--reason")) body["reason"] = arguments.get("--reason");
    const Client client(session);
    if (!arguments.has("--wait") || session.dry_run) return client.write("POST", "/v1/ha:drain", body);
    const auto reply = client.call("POST", "/v1/ha:drain?wait=0", body);
    if (!reply) return fail(session, reply.error(), exit_unreachable);
    if (!reply->ok()) return client.refuse(*reply);
    return wait_until_gone(client, session, reply->document);
}

int undrain(const Arguments&, const Session& session) {
    return Client(session).write("POST", "/v1/ha:undrain", json::object());
}

}  // namespace

std::vector<Verb> drain_verbs() {
    return {
        {"ha drain-node",
         "give this node's traffic to others: VIPs of [announce] are withdrawn, [ha] says that it cannot serve",
         {{"--wait", Parameter::Kind::flag, "until the traffic is gone, at most --timeout; exit 5 if it is not"},
          {"--reason", Parameter::Kind::option, "shown beside it"}},
         drain},
        {"ha undrain-node", "take traffic again", {}, undrain},
    };
}

}  // namespace shunt::cli
