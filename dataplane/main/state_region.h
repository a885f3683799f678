// The data plane's own region, DIRECTORY/state.<n>, which outlives it: flows, counters, link addresses (DESIGN section
// 3, "Flows outlive the process"). `DIRECTORY/state` is a second name of the one in force; a hard link, because
// hugetlbfs knows no symbolic ones.
//
// A successor of the same shape adopts the region in place. Another one makes state.<n+1>, whose header names what was
// in force, and what that one looked aside into, as its predecessors; it counts on from there. Only what cannot be
// trusted is given up. Whoever serves a region holds its lock for life.
#pragma once

#include <cstdint>
#include <string>

#include "dataplane/main/predecessors.h"
#include "dataplane/main/state_files.h"
#include "src/base/result.h"
#include "src/base/time.h"
#include "src/net/packet_hash.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"
#include "src/shm/state.h"

namespace shunt::dataplane {

struct StateNeeds {
    shm::StateShape shape{};
    std::string boot_id{};  // of the running kernel: clocks and hugetlbfs do not outlive it
    HashSeed flow_seed{};   // for a region without a predecessor
    Instant now{};
    // Bytes a new region may take.
    std::uint64_t memory_available{};
    std::uint64_t huge_memory_available{};  // where the directory is on huge pages
    // Of a predecessor that hands over: a descriptor that holds the lock of its region, ours from now on; -1: none.
    int lock{-1};
};

// Text of /proc/sys/kernel/random/boot_id, without the newline.
std::string read_boot_id();
// From the kernel's random numbers.
HashSeed random_seed();

class StateRegion {
  public:
    // Where a region comes from.
    enum class Origin : std::uint8_t {
        fresh,      // there was none
        adopted,    // it is a predecessor's, of the same shape
        successor,  // it is new, and looks aside into a predecessor's
        damaged,    // it is new, and what was there could not be trusted: its flows are given up
    };

    // Adopts, or makes a new one and takes over. Refused: a region that another process serves, or one of a newer
    // layout; nothing is touched then. The directory is made if it is not there; one instance at a time may call this
    // for it.
    static Result<StateRegion> take(const std::string& directory, const StateNeeds& needs);

    // Whether take() would adopt what is in force.
    static Result<bool> can_adopt(const std::string& directory, const StateNeeds& needs);
    // Beside a data plane that runs, and goes on with its region meanwhile: a new region that is complete but for what
    // that one still counts. Workers may be made for it, but must not run, and nobody else sees it, until take_over().
    // If that never comes: remove_others() of the one that goes on.
    static Result<StateRegion> prepare(const std::string& directory, const StateNeeds& needs);
    // The predecessor's workers have stopped: counts on from its counters and gives the region the name `state`. Its
    // holder may live, and may take the name back with put_in_force(), if this one's workers never ran.
    Status take_over(Instant now);
    Status put_in_force();
    // Removes every other region but those that are looked aside into.
    void remove_others() const;

    shm::State state() noexcept { return shm::State(region_.data()); }
    Predecessors& predecessors() noexcept { return predecessors_; }
    Origin origin() const noexcept { return origin_; }
    bool adopted() const noexcept { return origin_ == Origin::adopted; }
    // A sentence for the log: what was adopted, or why what was there could not be.
    const std::string& remark() const noexcept { return remark_; }
    // The descriptor that holds its lock.
    int lock() const noexcept { return region_.lock_descriptor(); }

    // Before workers run, and after take_over(): what the region and its predecessors remember in terms of ids holds
    // only with the tables it was learned from. `identity` is that of the tables file. False: they were others, and
    // flows and backend counters are given up.
    bool bind_tables(std::uint64_t identity) noexcept;

  private:
    StateRegion(std::string directory, shm::Region region, Origin origin, std::string remark)
        : directory_(std::move(directory)), region_(std::move(region)), origin_(origin), remark_(std::move(remark)) {}

    // With what is in force as predecessor, if it can be one.
    static Result<StateRegion> make(const std::string& directory, const StateNeeds& needs, const InForce& found);
    void adopt(Instant now) noexcept;
    // Between the two nothing that is sealed may be believed.
    void unseal() noexcept { state().header().seal.store(0, std::memory_order_release); }
    void seal() noexcept { state().header().seal.store(shm::seal_of(state().header()), std::memory_order_release); }

    std::string directory_;
    shm::Region region_;
    Predecessors predecessors_{};
    Origin origin_;
    std::string remark_;
};

}  // namespace shunt::dataplane
