// Fuzzes sequences of packets, table changes and time against a model: a flow keeps its backend while it lives, on any
// worker; replies of its backend come from the VIP; what has no flow goes to a backend that takes some.
//
// The model is what docs/packet_path.md says of flows, with a map in the place of the table.
#include <gtest/gtest.h>

#include <optional>

#include "tests/fuzz/script.h"
#include "tests/support/flow_model.h"
#include "tests/support/golden.h"

namespace shunt::test {
namespace {

constexpr const char* two_services = R"(version = 1
[[dataplane.port]]
name = "lan0"
pcap = { in = "unused" }
[[next_hop]]
address = "198.18.1.1"
mac = "02:00:00:00:00:fe"
port = "lan0"
prefix = ["0.0.0.0/0"]
[[service]]
name = "web"
vip = ["198.18.0.10:443/tcp"]
scheduler = "least-connections"
timeouts = { tcp_established = "300s", tcp_syn = "10s", tcp_fin = "30s" }
table_size = 17
[service.check]
[[service.backend]]
address = "198.18.2.11"
[[service.backend]]
address = "198.18.2.12"
[[service.backend]]
address = "198.18.2.13"
[[service]]
name = "dns"
vip = ["198.18.0.53:53/udp"]
timeouts = { udp = "60s" }
table_size = 17
[service.check]
[[service.backend]]
address = "198.18.2.21"
[[service.backend]]
address = "198.18.2.22"
)";

constexpr std::uint16_t workers = 2;
constexpr std::uint8_t clients = 8;
constexpr int most_changes = 4;  // of one script: each builds tables
constexpr std::array<std::uint8_t, 6> flag_sets{tcp_syn,           tcp_ack, tcp_syn | tcp_ack,
                                                tcp_fin | tcp_ack, tcp_rst, tcp_ack};

std::int64_t seconds_to_live(State state) {
    switch (state) {
        case State::embryonic:
            return 10;
        case State::established:
            return 300;
        case State::closing:
            return 30;
        case State::datagram:
            return 60;
    }
    return 0;
}

// What one worker knows of a flow.
struct Known {
    Seat seat{};
    State state{};
    Instant seen{};
};

class Play {
  public:
    Play() : instance_(make_instance(two_services, workers, 256)), original_(instance_->services()) { forget(); }

    void play(ScriptReader script) {
        while (!script.done()) {
            switch (script.below(4)) {
                case 0:
                case 1:
                    packet(script);
                    break;
                case 2:
                    instance_->clock.advance(Duration::seconds(script.below(80)));
                    break;
                default:
                    change(script);
            }
        }
        instance_->expect_conservation();
        forget();
    }

  private:
    using FlowName = std::pair<std::size_t, std::uint8_t>;  // service and client

    bool is_tcp(std::size_t service) const { return service == 0; }
    config::Service& service(std::size_t index) { return instance_->services()[index]; }

    void forget() {
        for (std::uint16_t i = 0; i < workers; ++i) {
            const auto flows = instance_->state().flows(WorkerIndex(i));
            std::memset(static_cast<void*>(flows.data()), 0, flows.size_bytes());
            known_[i].clear();
        }
        if (changes_ != 0 || machines_[0].empty()) {
            instance_->services() = original_;
            for (std::size_t s = 0; s < original_.size(); ++s) {
                machines_[s].assign(original_[s].backends.size(), Machine{});
                for (const auto& b : original_[s].backends) {
                    instance_->set_verdict(original_[s].name, b.key(), shm::Verdict::up);
                }
            }
            instance_->publish();
        }
        changes_ = 0;
    }

    // An entry that still holds.
    Known* find(std::size_t worker, const FlowName& flow) {
        const auto found = known_[worker].find(flow);
        if (found == known_[worker].end()) return nullptr;
        Known& known = found->second;
        const Machine& machine = machines_[flow.first][known.seat.backend];
        const Duration age = instance_->clock.now() - known.seen;
        const bool holds = machine.incarnation == known.seat.incarnation && machine.keeps_flows(is_tcp(flow.first)) &&
                           age <= Duration::seconds(seconds_to_live(known.state));
        return holds ? &known : nullptr;
    }

    void packet(ScriptReader& script) {
        const std::size_t worker = script.below(workers);
        const FlowName flow{script.below(2), script.below(clients)};
        const std::uint8_t flags = flag_sets[script.below(flag_sets.size())];
        const std::uint8_t replier = script.byte();
        const auto replier_of = replier % (machines_[flow.first].size() * 2);
        if (replier_of < machines_[flow.first].size()) {
            reply(worker, flow, flags, replier_of);
        } else {
            request(worker, flow, flags);
        }
    }

    Packet build(const FlowName& flow, std::uint8_t flags, const std::string& from, const std::string& to) const {
        Packet p = test::packet(from, to, is_tcp(flow.first) ? Protocol::tcp : Protocol::udp);
        p.tcp_flags = flags;
        return p;
    }
    static std::string client(const FlowName& flow) {
        return "203.0.113." + std::to_string(1 + flow.second) + ":40000";
    }
    std::string vip(std::size_t s) const {
        return address_and_port(original_[s].vips[0].address, original_[s].vips[0].ports.first.host());
    }
    std::string machine(std::size_t s, std::size_t b) const {
        return address_and_port(original_[s].backends[b].address, original_[s].vips[0].ports.first.host());
    }

    void request(std::size_t worker, const FlowName& flow, std::uint8_t flags) {
        const bool tcp = is_tcp(flow.first);
        const bool opening = tcp && (flags & (tcp_syn | tcp_ack)) == tcp_syn;
        Known* known = find(worker, flow);
        const bool chooses_again = known && opening && !machines_[flow.first][known->seat.backend].takes_flows();
        if (!known && !opening) known = find(1 - worker, flow);
        const Bytes bytes = build(flow, flags, client(flow), vip(flow.first)).build();
        const Instance::Output output = instance_->burst({bytes}, worker);

        const bool is_chosen = !known || chooses_again;
        const auto& machines = machines_[flow.first];
        if (is_chosen && std::ranges::none_of(machines, &Machine::takes_flows)) {
            ASSERT_EQ(output.dropped, std::vector<std::string>{"no_backend"});
            return;
        }
        ASSERT_EQ(output.sent.size(), 1U);
        const std::string went_to = read(output.sent[0]).to();
        if (is_chosen) {
            std::size_t backend = 0;
            while (backend < machines.size() && machine(flow.first, backend) != went_to) ++backend;
            ASSERT_LT(backend, machines.size());
            ASSERT_TRUE(machines[backend].takes_flows()) << went_to;
            remember(worker, flow,
                     {{backend, machines[backend].incarnation}, next_state(tcp, flags, true, State::established), {}});
        } else {
            ASSERT_EQ(went_to, machine(flow.first, known->seat.backend)) << "a flow keeps its backend while it lives";
            remember(worker, flow, {known->seat, next_state(tcp, flags, true, known->state), {}});
        }
    }

    void reply(std::size_t worker, const FlowName& flow, std::uint8_t flags, std::size_t from) {
        const bool tcp = is_tcp(flow.first);
        const auto of_it = [&](Known* known) { return known && known->seat.backend == from ? known : nullptr; };
        Known* known = of_it(find(worker, flow));
        if (!known) known = of_it(find(1 - worker, flow));
        const Bytes bytes = build(flow, flags, machine(flow.first, from), client(flow)).build();
        const Instance::Output output = instance_->burst({bytes}, worker);
        ASSERT_TRUE(!known || output.sent.size() == 1) << "a reply of a flow that lives";
        if (output.sent.empty()) return;  // nobody's: dropped, or the kernel's once no service has that backend
        ASSERT_EQ(read(output.sent[0]).from(), vip(flow.first));
        const bool is_others = !known && (find(worker, flow) || find(1 - worker, flow));
        ASSERT_TRUE(known || (machines_[flow.first][from].takes_flows() && !is_others)) << "derived by the table";
        const State before = known ? known->state : State::established;
        remember(worker, flow,
                 {{from, machines_[flow.first][from].incarnation}, next_state(tcp, flags, false, before), {}});
    }

    void remember(std::size_t worker, const FlowName& flow, Known known) {
        known.seen = instance_->clock.now();
        known_[worker][flow] = known;
    }

    void change(ScriptReader& script) {
        const std::size_t s = script.below(2);
        const std::size_t b = script.below(machines_[s].size());
        Machine& machine = machines_[s][b];
        const std::uint8_t what = script.below(7);
        if (++changes_ > most_changes) return;
        if (what < 3) machine.state = static_cast<config::BackendState>(what);
        if (what == 3 || what == 4) machine.is_up = what == 4;
        if (what == 5 && machine.is_there) machine.remove();
        if (what == 6) machine.is_there = true;
        tell(s);
    }

    // The desired state of a service as the machines are.
    void tell(std::size_t s) {
        auto& backends = service(s).backends;
        backends.clear();
        for (std::size_t b = 0; b < machines_[s].size(); ++b) {
            config::Backend backend = original_[s].backends[b];
            instance_->set_verdict(original_[s].name, backend.key(),
                                   machines_[s][b].is_up ? shm::Verdict::up : shm::Verdict::down);
            if (!machines_[s][b].is_there) continue;
            backend.state = machines_[s][b].state;
            backends.push_back(backend);
        }
        instance_->publish();
    }

    std::unique_ptr<Instance> instance_;
    std::vector<config::Service> original_;
    std::array<std::vector<Machine>, 2> machines_;
    std::array<std::map<FlowName, Known>, workers> known_;
    int changes_{};
};

}  // namespace
}  // namespace shunt::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace shunt::test;
    static Play play = [] {
        GTEST_FLAG_SET(break_on_failure, true);
        return Play();
    }();
    play.play(ScriptReader({data, size}));
    return 0;
}
