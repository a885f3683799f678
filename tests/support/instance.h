// A whole balancer in one thread: compiled and published tables, a state region, and workers on in-memory ports, with a
// clock moved by hand. The packet path here is the one that runs in production.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "controlplane/publish/in_process.h"
#include "dataplane/ports/memory_port.h"
#include "dataplane/worker.h"
#include "src/config/desired_state.h"
#include "tests/support/packets.h"

namespace shunt::test {

using Worker = dataplane::Worker<dataplane::MemoryPort, ManualClock>;

// A service of both families with two backends each; change it before handing it to an Instance.
config::Service make_service(const std::string& name, std::vector<std::string> vips, std::vector<std::string> backends);
Vip vip(const std::string& text);                  // "198.18.0.10:443/tcp"
config::Backend backend(const std::string& text);  // "198.18.2.11:8080", or without a port

class Instance {
  public:
    // One port, and a next hop for every backend and for all clients.
    explicit Instance(std::vector<config::Service> services, std::uint16_t workers = 1,
                      std::uint64_t buckets_per_worker = 4096);
    // All as configured, on the first port.
    explicit Instance(config::DesiredState state, std::uint64_t buckets_per_worker = 4096);

    // Publishes the services as they are now; every worker uses them afterwards.
    void publish();
    std::vector<config::Service>& services() { return state_.services; }
    config::DesiredState& desired() { return state_; }
    // What the kernel knows beside the static next hops; from the next publication on.
    void set_routes(std::vector<controlplane::RouteView> routes);
    // Of every next hop; the default is 1500.
    void set_mtu(std::uint16_t mtu) { mtu_ = mtu; }
    void set_verdict(const std::string& service, const std::string& backend_key, shm::Verdict verdict);
    // Hosts of this prefix are neighbours, of whom no link address is known.
    void add_neighbours(const std::string& prefix);
    void allow_punt(bool allowed) { punt_allowed_ = allowed; }

    // Sends packets through one worker in one burst (at most burst_size), and says what came out, in order.
    struct Output {
        std::vector<Bytes> sent;
        std::vector<Bytes> punted;
        std::vector<std::string> dropped;  // a reason for each
    };
    Output burst(const std::vector<Bytes>& packets, std::size_t worker = 0);
    // One packet that must be forwarded.
    Seen forward(const Packet& packet, std::size_t worker = 0);
    // What becomes of one packet: "forwarded", "punted", "waiting", or the name of the drop reason. `sent` takes what
    // came out.
    std::string fate(const Bytes& packet, std::size_t worker = 0, Bytes* sent = nullptr);

    ManualClock clock;
    shm::State state() { return regions_.state(); }
    shm::Tables tables() const { return regions_.tables(); }
    const std::byte* tables_region() const { return regions_.tables_region(); }
    std::uint64_t drops(shm::DropReason reason, std::size_t worker = 0);
    dataplane::MemoryPort& port(std::size_t worker = 0) { return *ports_[worker]; }
    dataplane::MemoryPool& pool() { return pool_; }
    Worker& worker(std::size_t index) { return *workers_[index]; }
    // The main thread's turn: what workers ask of it.
    void hear_news();
    // The main thread's sum of live flows, as every 20 ms.
    void sum_flows();
    // Every worker once, with nothing to do.
    void poll();
    // Lets the time pass that sweeps need for all flow tables, a little over ten seconds.
    void sweep();
    // Other workers take over the state region, as after a restart of the data plane.
    void restart_workers();
    // Lets two seconds pass, so that no fragment waits any longer; what comes out is forgotten.
    void settle();
    // received = forwarded + punted + dropped for every worker, and nothing leaked, once all is settled.
    void expect_conservation();

  private:
    using DropCounts = std::array<std::uint64_t, shm::drop_reasons.size()>;

    void start();
    void make_workers();
    std::vector<std::vector<shm::Verdict>> verdict_rows() const;
    DropCounts drop_counts(std::size_t worker);
    // Since they were last asked for.
    std::vector<std::string> new_drops(std::size_t worker);

    config::DesiredState state_;
    bool adds_next_hops_{};
    std::map<std::pair<std::string, std::string>, shm::Verdict> verdicts_;
    std::shared_ptr<controlplane::NetworkView> network_;
    controlplane::Compiler compiler_;
    controlplane::InProcess regions_;
    dataplane::MemoryPool pool_{2048};
    std::vector<std::unique_ptr<dataplane::MemoryPort>> ports_;
    dataplane::HandOver hand_over_;
    std::vector<std::unique_ptr<Worker>> workers_;
    struct Dropped {
        std::uint64_t all{};
        DropCounts by_reason{};
    };
    std::vector<Dropped> dropped_;  // by worker, as last asked for
    bool punt_allowed_{true};
    std::uint16_t mtu_{1500};
};

inline const MacAddress port_mac{{0x02, 0, 0, 0, 0, 0x02}};
inline const MacAddress gateway_mac{{0x02, 0, 0, 0, 0, 0xfe}};

// The link address this instance gives a backend, from the last byte of its address.
MacAddress backend_mac(const IpAddress& address);

}  // namespace shunt::test
