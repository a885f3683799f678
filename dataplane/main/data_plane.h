// The forwarding process: starts everything in the order that lets each refusal leave the world as it was, runs one
// worker per core, and is the main thread, which does everything slow.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/dpdk/environment.h"
#include "dataplane/main/inheritance.h"
#include "dataplane/main/instance_lock.h"
#include "dataplane/main/link_book.h"
#include "dataplane/main/node_watch.h"
#include "dataplane/main/notify.h"
#include "dataplane/main/peers_region.h"
#include "dataplane/main/port_set.h"
#include "dataplane/main/requests.h"
#include "dataplane/main/rollout.h"
#include "dataplane/main/state_region.h"
#include "dataplane/main/successor.h"
#include "dataplane/main/tables_region.h"
#include "dataplane/neighbours/neighbours.h"
#include "dataplane/wedge.h"
#include "dataplane/worker.h"
#include "src/base/clock.h"
#include "src/config/desired_state.h"
#include "src/shm/generation.h"
#include "src/shm/tables_copy.h"

namespace shunt::dataplane {

class DataPlane {
  public:
    // Takes the run directory and the interfaces, and starts DPDK. Once per process: DPDK is never given back. The
    // signals TERM and INT are blocked from here on. Of the configuration it takes what concerns this process:
    // [dataplane] and [ha]. `arguments`: of this program, for a successor. `from`: the data plane that runs and hands
    // over; null: none does.
    static Result<std::unique_ptr<DataPlane>> start(const config::DesiredState& desired, const std::string& directory,
                                                    std::vector<std::string> arguments, Inheritance* from);

    // Serves until TERM or INT, or until a successor does.
    Status run();

    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;
    ~DataPlane();

  private:
    using DpdkWorker = Worker<DpdkPort, MonotonicClock>;
    struct Running {
        std::vector<DpdkPort> ports;
        std::unique_ptr<DpdkWorker> worker;
        Wedge wedge{};
        std::function<void()> loop;
    };

    // What is there before the region is.
    struct Prepared {
        InstanceLock lock;
        ReadyFile ready;
        NodeWatch watch;
        dpdk::Cores cores;
        PortSet ports;
        std::vector<dpdk::PacketPool> pools{};
        bool can_inherit{};  // sockets and packet memory
    };
    DataPlane(const config::Dataplane& settings, const std::string& directory, Prepared prepared, StateRegion state);

    static Result<Prepared> prepare(const config::DesiredState& desired, const std::string& directory,
                                    Inheritance* from);
    static Status start_dpdk(const config::Dataplane& settings, const std::string& directory, Prepared& prepared,
                             Inheritance* from);
    Status begin();
    Status start_neighbours();
    Status launch_workers();
    std::function<void()> loop_of(Running& running);
    void stop_workers();
    void halt_workers();

    // Planned upgrade: of the old one, and of the new one.
    void follow_upgrade(Instant now);
    void start_successor(Instant now);
    std::vector<Bequest> bequests() const;
    void hand_over(Instant now);
    [[noreturn]] void execute_anew(const std::string& why);
    Status take_over(Inheritance& from, const Inheritance::Stopped& stopped);
    Instant all_have_polled() const noexcept;

    // One turn of the main thread.
    void turn(Instant now);
    void hear(News& news, Instant now);
    void wait_for_work();
    Result<bool> map_tables();
    void look_for_tables();
    Status use_tables();
    void follow_replacement();
    void start_over(TablesRegion other);
    void take_newest(Instant now);
    void tell_refusals();
    void forget_refusal();
    void roll_out(Instant now);
    void keep_links(Instant now);
    void keep_house(Instant now);
    void follow_peers(Instant now);
    void watch_over(Instant now);
    void give_up_if_stalled();
    Signs signs() const noexcept;
    void report(const Status& status);
    Tick tick_at(Instant now) const noexcept {
        return Tick::at({now.nanoseconds - state_.header().downtime_nanoseconds});
    }

    config::Dataplane settings_;
    std::string directory_;
    std::vector<std::string> arguments_{};
    std::vector<std::uint16_t> all_cores_{};  // that this process was given
    InstanceLock lock_;
    ReadyFile ready_;
    NodeWatch watch_;
    PortSet ports_;
    StateRegion region_;
    shm::State state_;
    TablesRegion tables_region_;
    PeersRegion peers_region_;
    dpdk::Cores cores_{};
    std::vector<dpdk::PacketPool> pools_{};
    std::optional<LinkBook> links_{};
    std::optional<Neighbours> neighbours_{};
    std::optional<shm::TablesCopy> copy_{};  // what workers read
    std::optional<shm::Acceptor> acceptor_{};
    Rollout rollout_{};
    shm::Tables tables_{};  // as accepted last

    MonotonicClock clock_{};
    HandOver hand_over_;
    PathMtus path_mtus_;
    FlowSums flow_sums_{};
    std::vector<std::unique_ptr<Running>> workers_{};
    std::optional<Requests> requests_{};  // once there are workers
    std::uint64_t inherited_request_{};   // that asked for us
    std::optional<Successor> successor_{};
    bool handed_over_{false};
    std::atomic<bool> stop_workers_{false};
    bool stop_{false};
    Status failure_{Done{}};
    int signals_{-1};
    bool neighbours_spoke_{true};
    Instant next_links_{}, next_house_{}, next_follow_{}, next_sums_{}, next_watch_{};
    std::optional<Generation> to_follow_{};  // passed by all workers, not yet by the steering programs
    std::string last_report_{};
    std::uint64_t last_refused_{};
};

}  // namespace shunt::dataplane
