// A thousand random changes, ten a second, among packets of thousands of flows in both directions: the real compiler,
// publications and workers against a model of who may get what.
//
// As with a network card, a flow's packets from the client come to one worker, and those from the backend to one, which
// may be another. What the model says of a flow is what the first of them surely knows: an entry it made or renewed
// that is not near its end. After every packet it is checked that
//   a live flow has its backend as long as that is there and not in maintenance (UDP: and up);
//   nothing goes to a backend that was removed;
//   whatever leaves goes to a backend that may have it, to the client whose flow it is, or to the kernel;
// and after every change, that the counters of all workers add up. Seeds are fixed: a failure names its change.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <vector>

#include "src/base/random.h"
#include "tests/support/flow_model.h"
#include "tests/support/instance.h"

namespace shunt::test {
namespace {

constexpr int changes = 1000;
constexpr std::size_t burst_size = 16;  // no more than may look aside at once
constexpr std::size_t flows_count = 3000;
constexpr std::size_t backends_per_family = 4;
constexpr std::size_t backends_per_service = 2 * backends_per_family;
constexpr std::size_t neighbour = schedulers.size();  // the service that comes and goes
constexpr std::uint64_t buckets = 65'536;             // far more room than the flows need: nothing gives way
constexpr std::array<std::uint32_t, 5> weights{0, 1, 50, 100, 1000};
constexpr std::array<std::uint32_t, 3> table_sizes{251, 1021, 4093};

// With SHUNT_FULL=1 in the environment a million packets in all, else a hundred thousand.
int packets_per_change() {
    const char* full = std::getenv("SHUNT_FULL");
    return full != nullptr && full[0] == '1' ? 334 : 34;
}

Duration time_to_live(State state) {
    switch (state) {
        case State::embryonic:
            return Duration::seconds(10);
        case State::established:
            return Duration::seconds(300);
        case State::closing:
            return Duration::seconds(30);
        case State::datagram:
            return Duration::seconds(60);
    }
    return {};
}
// An entry that has less left is not sure to be there.
constexpr Duration near_end = Duration::seconds(1);

IpAddress address(bool v4, std::uint8_t subnet, std::uint32_t n) {
    const auto high = static_cast<std::uint8_t>(n >> 8), low = static_cast<std::uint8_t>(n);
    if (v4) return IpAddress::v4(198, subnet, high, low);
    return IpAddress::v6({0x20, 0x01, 0x0d, 0xb8, 0, subnet, 0, 0, 0, 0, 0, 0, 0, 0, high, low});
}
IpAddress vip_address(bool v4) { return address(v4, 18, 10); }
std::uint16_t vip_port(std::size_t service) { return static_cast<std::uint16_t>(7000 + service); }
bool is_v4(std::size_t backend) { return backend < backends_per_family; }
IpAddress backend_address(std::size_t service, std::size_t backend) {
    return address(is_v4(backend), 18, static_cast<std::uint32_t>(512 + service * backends_per_service + backend));
}
AddressAndPort client_of(std::size_t flow, bool v4) {
    return {address(v4, 19, static_cast<std::uint32_t>(flow / 4)), static_cast<std::uint16_t>(40000 + flow % 4)};
}

config::Service make_service(std::size_t number) {
    config::Service service;
    service.name = "s" + std::to_string(number);
    service.table_size = 1021;
    service.check.emplace();
    service.scheduler = number == neighbour ? default_scheduler : schedulers[number].scheduler;
    service.timeouts = {time_to_live(State::established), time_to_live(State::embryonic), time_to_live(State::closing),
                        time_to_live(State::datagram)};
    for (const bool v4 : {true, false}) {
        for (const Protocol protocol : {Protocol::tcp, Protocol::udp}) {
            service.vips.push_back({vip_address(v4), Be16(vip_port(number)), protocol});
        }
    }
    for (std::size_t b = 0; b < backends_per_service; ++b) {
        service.backends.push_back({.address = backend_address(number, b)});
    }
    return service;
}

std::vector<config::Service> make_services() {
    std::vector<config::Service> services;
    for (std::size_t s = 0; s <= neighbour; ++s) services.push_back(make_service(s));
    return services;
}

struct Flow {
    std::size_t service{};
    bool v4{};
    bool tcp{};
    AddressAndPort client{};
    std::optional<Seat> seat{};  // what the client's worker surely remembers, while it lives
    State state{};               // as seen by that worker
    bool may_be_closing{};       // though that worker need not know
    Instant seen{};
    std::vector<Seat> others{};  // what any worker may remember besides
};

struct Sent {
    std::size_t flow{};
    bool to_backend{};
    std::uint8_t flags{};
    std::size_t from{};  // the backend of a reply
};

class Storm {
  public:
    Storm(std::uint16_t workers, std::uint64_t seed)
        : workers_(workers), random_(seed), instance_(make_services(), workers, buckets), waiting_(workers) {
        for (std::size_t s = 0; s <= neighbour; ++s) machines_.emplace_back(backends_per_service);
        for (std::size_t f = 0; f < flows_count; ++f) {
            const bool v4 = chance(2);
            flows_.push_back(
                {.service = random_.below(neighbour + 1), .v4 = v4, .tcp = !chance(4), .client = client_of(f, v4)});
        }
    }

    void step() {
        change();
        publish();
        for (Flow& flow : flows_) forget_seat(flow);
        instance_.clock.advance(chance(50) ? Duration::seconds(static_cast<std::int64_t>(random_.below(70)))
                                           : Duration::milliseconds(100));
        instance_.poll();
        instance_.sum_flows();
        for (int i = packets_per_change(); i > 0; --i) send(random_.below(flows_count));
        for (std::size_t worker = 0; worker < workers_; ++worker) flush(worker);
        expect_balance();
    }

    void finish() {
        instance_.expect_conservation();
        std::uint64_t received = 0, lost = 0, derived = 0;
        for (const shm::WorkerBlock& worker : instance_.state().workers().first(workers_)) {
            received += worker.received.read();
            lost += worker.flows_evicted.read() + worker.flows_not_remembered.read();
            derived += worker.flows_derived.read();
        }
        EXPECT_EQ(received, static_cast<std::uint64_t>(changes * packets_per_change()));
        EXPECT_EQ(lost, 0U);
        // It was a storm.
        EXPECT_GT(kept_, static_cast<std::size_t>(changes));
        EXPECT_GT(moved_, static_cast<std::size_t>(changes) / 10);
        EXPECT_GT(strays_, static_cast<std::size_t>(changes) / 10);
        EXPECT_GT(derived, 0U);
    }

  private:
    bool chance(std::uint64_t one_in) { return random_.below(one_in) == 0; }
    template <class List>
    auto any_of(const List& list) {
        return list[random_.below(list.size())];
    }

    // Changes

    void change() {
        const std::size_t s = random_.below(machines_.size());
        Machine& machine = machines_[s][random_.below(backends_per_service)];
        switch (random_.below(9)) {
            case 0:
            case 1:
                machine.weight = any_of(weights);
                break;
            case 2:
            case 3:
                machine.state = static_cast<config::BackendState>(random_.below(3));
                break;
            case 4:
                machine.is_up = !machine.is_up;
                break;
            case 5:
                machine.is_there ? machine.remove() : void(machine.is_there = true);
                break;
            case 6:
                settings_[s].table_size = any_of(table_sizes);
                break;
            case 7:
                settings_[s].scheduler = any_of(schedulers).scheduler;
                break;
            default:
                move_neighbour();
        }
    }
    // All that belonged to a service goes with it.
    void move_neighbour() {
        has_neighbour_ = !has_neighbour_;
        for (Machine& machine : machines_[neighbour]) ++machine.incarnation;
    }
    bool is_served(const Flow& flow) const { return flow.service != neighbour || has_neighbour_; }

    // The desired state as the model is.
    void publish() {
        instance_.services().clear();
        for (std::size_t s = 0; s < machines_.size(); ++s) {
            if (s == neighbour && !has_neighbour_) continue;
            config::Service service = settings_[s];
            service.backends.clear();
            for (std::size_t b = 0; b < backends_per_service; ++b) {
                const Machine& machine = machines_[s][b];
                config::Backend backend = settings_[s].backends[b];
                backend.weight = machine.weight;
                backend.state = machine.state;
                if (machine.is_there) service.backends.push_back(backend);
                instance_.set_verdict(service.name, backend.key(),
                                      machine.is_up ? shm::Verdict::up : shm::Verdict::down);
            }
            instance_.services().push_back(service);
        }
        instance_.publish();
    }

    // Packets

    std::uint8_t client_flags(const Flow& flow) {
        if (!flow.seat && !chance(4)) return tcp_syn;
        if (chance(16)) return any_of(std::array<std::uint8_t, 4>{tcp_syn, tcp_rst, tcp_fin | tcp_ack, tcp_ack});
        return tcp_ack;
    }
    // Of the flow's family; mostly the one that has the flow, else one that answers late, or out of turn.
    std::size_t replier(const Flow& flow) {
        if (flow.seat && !chance(5)) return flow.seat->backend;
        return random_.below(backends_per_family) + (flow.v4 ? 0 : backends_per_family);
    }

    bool opens(const Sent& sent) const {
        return flows_[sent.flow].tcp && sent.to_backend && (sent.flags & (tcp_syn | tcp_ack)) == tcp_syn;
    }

    void send(std::size_t f) {
        const Flow& flow = flows_[f];
        Sent sent{.flow = f, .to_backend = !chance(3)};
        sent.flags = sent.to_backend ? client_flags(flow) : chance(16) ? tcp_fin | tcp_ack : tcp_ack;
        if (!sent.to_backend) sent.from = replier(flow);
        // The network card's choice.
        const std::size_t worker = Random(f * 2 + sent.to_backend).below(workers_);
        waiting_[worker].push_back(sent);
        // After its SYN a client has nothing to say before it was answered: the next packet is of a later burst.
        if (waiting_[worker].size() == burst_size || opens(sent)) flush(worker);
    }

    Bytes build(const Sent& sent, std::size_t number) const {
        const Flow& flow = flows_[sent.flow];
        Packet packet{.source = flow.client.address,
                      .destination = vip_address(flow.v4),
                      .source_port = flow.client.port,
                      .destination_port = vip_port(flow.service),
                      .protocol = flow.tcp ? Protocol::tcp : Protocol::udp,
                      .tcp_flags = sent.flags,
                      .payload = std::to_string(number)};
        if (!sent.to_backend) {
            packet.destination = backend_address(flow.service, sent.from);
            std::swap(packet.source, packet.destination);
            std::swap(packet.source_port, packet.destination_port);
        }
        return packet.build();
    }

    // What waits for a worker, in one burst; and what became of each packet.
    void flush(std::size_t worker) {
        const std::vector<Sent> burst = std::exchange(waiting_[worker], {});
        std::vector<Bytes> packets;
        for (std::size_t i = 0; i < burst.size(); ++i) packets.push_back(build(burst[i], i));
        const Instance::Output output = instance_.burst(packets, worker);
        std::vector<std::optional<Seen>> seen(burst.size());
        for (const Bytes& bytes : output.sent) {
            const Seen packet = read(bytes);
            auto& one = seen.at(std::stoul(packet.payload));
            ASSERT_FALSE(one) << "sent twice";
            ASSERT_TRUE(packet.checksums_right);
            one = packet;
        }
        for (std::size_t i = 0; i < burst.size(); ++i) {
            Flow& flow = flows_[burst[i].flow];
            SCOPED_TRACE("flow " + std::to_string(burst[i].flow) + " of service " + std::to_string(flow.service) +
                         (burst[i].to_backend ? ", to a backend" : ", to the client"));
            burst[i].to_backend ? judge_request(flow, burst[i], seen[i]) : judge_reply(flow, burst[i], seen[i]);
            if (testing::Test::HasFailure()) return;
        }
        for (const std::string& reason : output.dropped) {
            ASSERT_TRUE(reason == "no_backend" || reason == "return_unknown") << reason;
        }
    }

    // The model

    const Machine& machine(const Flow& flow, const Seat& seat) const { return machines_[flow.service][seat.backend]; }
    bool keeps(const Flow& flow, const Seat& seat) const {
        const Machine& m = machine(flow, seat);
        return is_served(flow) && m.incarnation == seat.incarnation && m.keeps_flows(flow.tcp);
    }
    bool lives(const Flow& flow) const {
        if (!flow.seat) return false;
        Duration left = time_to_live(flow.state);
        if (flow.may_be_closing) left = std::min(left, time_to_live(State::closing));
        return instance_.clock.now() - flow.seen + near_end < left;
    }
    // Once its backend was away, a flow may choose again at any packet; or find that backend back.
    void forget_seat(Flow& flow) {
        if (flow.seat && !keeps(flow, *flow.seat)) unseat(flow);
    }
    static void unseat(Flow& flow) {
        may_remember(flow, *flow.seat);
        flow.seat.reset();
    }
    bool somebody_takes(const Flow& flow) const {
        const auto& machines = machines_[flow.service];
        for (std::size_t b = 0; b < machines.size(); ++b) {
            if (is_v4(b) == flow.v4 && machines[b].takes_flows()) return true;
        }
        return false;
    }
    static void may_remember(Flow& flow, const Seat& seat) {
        if (std::ranges::find(flow.others, seat) == flow.others.end()) flow.others.push_back(seat);
    }

    void judge_request(Flow& flow, const Sent& sent, const std::optional<Seen>& seen) {
        const bool opening = opens(sent);
        const bool keeps_it = lives(flow) && !(opening && !machine(flow, *flow.seat).takes_flows());
        if (!seen) {
            ASSERT_FALSE(keeps_it) << "a packet of a live flow did not reach its backend";
            ASSERT_TRUE(!is_served(flow) || !somebody_takes(flow)) << "dropped, but there is a backend for it";
            return;
        }
        ASSERT_TRUE(is_served(flow)) << "the kernel's";
        ASSERT_EQ(seen->from(), address_and_port(flow.client.address, flow.client.port));
        ASSERT_EQ(seen->destination_port, vip_port(flow.service));
        ASSERT_EQ(seen->mac_destination, backend_mac(seen->destination));
        Seat now{};
        while (now.backend < backends_per_service && backend_address(flow.service, now.backend) != seen->destination) {
            ++now.backend;
        }
        ASSERT_LT(now.backend, backends_per_service) << seen->to() << " is none of its service's";
        now.incarnation = machine(flow, now).incarnation;
        ASSERT_TRUE(machine(flow, now).is_there) << seen->to() << " was removed";
        const bool elsewhere = std::ranges::find(flow.others, now) != flow.others.end();
        if (keeps_it) {
            ASSERT_EQ(now, *flow.seat) << "a live flow changed its backend";
            ++kept_;
        } else {
            ASSERT_TRUE(machine(flow, now).takes_flows() || ((elsewhere || flow.seat == now) && keeps(flow, now)))
                << seen->to() << " takes no new flows";
        }
        // An entry that was found again, perhaps at another worker, may have been closing; one that begins again is
        // not.
        const bool found_again = elsewhere || (!keeps_it && flow.seat == now);
        flow.may_be_closing = !opening && (flow.may_be_closing || found_again);
        settle(flow, now, next_state(flow.tcp, sent.flags, true, flow.seat == now ? flow.state : State::established));
    }

    // The client's worker remembers this from now on.
    void settle(Flow& flow, const Seat& now, State state) {
        if (flow.seat && flow.seat != now) unseat(flow);
        if (!flow.seat && !flow.others.empty()) ++moved_;
        flow.seat = now;
        flow.state = state;
        flow.seen = instance_.clock.now();
    }

    void judge_reply(Flow& flow, const Sent& sent, const std::optional<Seen>& seen) {
        const Seat from{sent.from, machines_[flow.service][sent.from].incarnation};
        const bool of_it = lives(flow) && flow.seat == from;
        ASSERT_TRUE(seen || !of_it) << "a reply of a live flow did not reach its client";
        if (lives(flow) && !of_it) ++strays_;
        if (!seen) return;
        ASSERT_TRUE(is_served(flow) && machine(flow, from).is_there) << "the kernel's";
        ASSERT_EQ(seen->from(), address_and_port(vip_address(flow.v4), vip_port(flow.service)));
        ASSERT_EQ(seen->to(), address_and_port(flow.client.address, flow.client.port));
        ASSERT_EQ(seen->mac_destination, gateway_mac);
        if (flow.seat != from) may_remember(flow, from);
        if (flow.seat && !lives(flow)) unseat(flow);  // it may have been given to this backend
        flow.may_be_closing |= (sent.flags & (tcp_fin | tcp_rst)) != 0;
    }

    void expect_balance() {
        for (const shm::WorkerBlock& w : instance_.state().workers().first(workers_)) {
            ASSERT_EQ(w.received.read(), w.forwarded.read() + w.punted.read() + w.dropped.read());
        }
    }

    std::size_t workers_;
    Random random_;
    Instance instance_;
    std::vector<config::Service> settings_{make_services()};
    std::vector<std::vector<Machine>> machines_{};  // by service and backend
    bool has_neighbour_{true};
    std::vector<Flow> flows_{};
    std::vector<std::vector<Sent>> waiting_;  // by worker
    std::size_t kept_{}, moved_{}, strays_{};
};

class ChangeStorm : public testing::TestWithParam<std::uint16_t> {};

TEST_P(ChangeStorm, MovesNoLiveFlow) {
    Storm storm(GetParam(), 4U + GetParam());
    for (int i = 0; i < changes; ++i) {
        SCOPED_TRACE("change " + std::to_string(i));
        storm.step();
        if (HasFailure()) return;
    }
    storm.finish();
}
INSTANTIATE_TEST_SUITE_P(Workers, ChangeStorm, testing::Values(1, 2, 4));

}  // namespace
}  // namespace shunt::test
