// The data plane's own region, DIRECTORY/state.<n>, which outlives it: flows, counters, link addresses (DESIGN section
// 3, "Flows outlive the process"). `DIRECTORY/state` is a second name of the one in force; a hard link, because
// hugetlbfs knows no symbolic ones.
//
// A successor of the same shape adopts the region in place; anything else gets a new one, and the flows of the old are
// given up. Whoever serves a region holds its lock for life.
#pragma once

#include <cstdint>
#include <string>

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
    HashSeed flow_seed{};   // for a new region
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
    // Adopts or makes. Refused: a region that another process serves, or one of a newer layout. The directory is made
    // if it is not there; one instance at a time may call this for it.
    static Result<StateRegion> take(const std::string& directory, const StateNeeds& needs);

    shm::State state() noexcept { return shm::State(region_.data()); }
    bool adopted() const noexcept { return adopted_; }
    // A sentence for the log: what was adopted, or why what was there could not be.
    const std::string& remark() const noexcept { return remark_; }
    // The descriptor that holds its lock.
    int lock() const noexcept { return region_.lock_descriptor(); }

    // Before workers run: what the region remembers in terms of ids holds only with the tables it was learned from.
    // `identity` is that of the tables file. False: they were others, and flows and backend counters are given up.
    bool bind_tables(std::uint64_t identity) noexcept;

  private:
    StateRegion(shm::Region region, bool adopted, std::string remark)
        : region_(std::move(region)), adopted_(adopted), remark_(std::move(remark)) {}

    static Result<StateRegion> make(const std::string& directory, const StateNeeds& needs, std::string remark);
    void adopt(Instant now) noexcept;

    shm::Region region_;
    bool adopted_;
    std::string remark_;
};

}  // namespace shunt::dataplane
