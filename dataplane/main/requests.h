// What the control plane asks of the running data plane, by the ring of requests in the tables region (shm/layout.h).
// The main thread takes one at a time and answers in order: to kill flows, to hand over to a successor, and for tests
// to wedge workers.
//
// The main thread looks for the flows, a piece at every turn, and has every worker forget them, a list at a time.
// Nothing is stopped: a worker pays for one list between two bursts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/forget_list.h"
#include "dataplane/main/predecessors.h"
#include "dataplane/wedge.h"
#include "src/shm/flow_scan.h"
#include "src/shm/layout.h"
#include "src/shm/state.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

class Requests {
  public:
    // `workers`: where each of them is told, `wedges` where each is held up; none of these without test hooks. The
    // tables region was bound; what was asked before is void. `predecessors`: whose flows are killed as well.
    // `upgrade`: of a successor, the number of the request that it was started for; this one is under way, and what was
    // asked after it is not void.
    Requests(const shm::TablesHeader& header, const shm::State& state, std::vector<ForgetList*> workers,
             std::vector<Wedge*> wedges = {}, Predecessors* predecessors = nullptr, std::uint64_t upgrade = 0);

    // Another tables file has taken the place of the first, and its requests go on where those left off.
    void follow(const shm::TablesHeader& header) noexcept { header_ = &header; }

    // A piece of work, if there is any; half a millisecond at most. `tables` are those in force, `now` as workers
    // count.
    void turn(const shm::Tables& tables, Tick now);
    // Something is under way: call again soon.
    bool busy() const noexcept { return kill_.has_value(); }

    // Asked for, and under way until it is answered by one of these.
    struct Upgrade {
        std::uint64_t number{};
        std::string program{};  // empty: the one that runs
        Duration limit{};       // until the successor is ready
    };
    const std::optional<Upgrade>& upgrade() const noexcept { return upgrade_; }
    void refuse_upgrade(const std::string& sentence);
    void finish_upgrade(Duration gap, std::uint32_t successor);

  private:
    // One request to kill flows, on its way through the tables.
    struct Kill {
        shm::FlowScan scan;
        std::vector<shm::FlowKey> found{};  // in the piece seen last
        std::size_t given{};                // of them
        bool seen_all{};
        std::uint64_t flows{};
    };

    void take_next();
    void take_upgrade(const shm::Request& request);
    void wedge(const shm::Request& request);
    void go_on(Kill& kill, const shm::Tables& tables, Tick now);
    void give_next(Kill& kill);
    void answer(shm::RequestAnswer answer);

    const shm::TablesHeader* header_;
    shm::State state_;
    std::vector<ForgetList*> workers_;
    std::vector<Wedge*> wedges_;
    Predecessors* predecessors_;  // null: there never were any
    std::optional<Kill> kill_{};
    std::optional<Upgrade> upgrade_{};
};

}  // namespace shunt::dataplane
