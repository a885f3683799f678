// The file of the tables region: found, made, or replaced when it is damaged.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "src/base/index.h"
#include "src/base/result.h"
#include "src/net/packet_hash.h"
#include "src/shm/region.h"

namespace shunt::controlplane {

struct NewTables {
    std::uint64_t reserve_bytes{std::uint64_t{16} << 30};  // of address space, for a new file; memory grows as needed
    // Fresh randomness, kept in a new file: see Publisher::random_seed. Also tells one file from another.
    HashSeed random_seed{};
    std::function<void()> after_store{};  // for tests: called after each store into the region
};

// What a data plane said last of the tables it uses. A file that does not agree was damaged since.
struct TablesInUse {
    std::uint64_t identity{};  // of their file; 0: none
    Generation accepted{};
    bool alive{};
    std::uint64_t answered{};  // the newest request it has answered
    std::uint64_t kept{};      // identity of the tables it kept a copy of; 0: none
};

struct TablesFile {
    shm::Region own{};       // what it holds, in memory of this process
    shm::Region file{};      // the file itself
    std::string replaced{};  // why a damaged or lost file was replaced by this new one; empty otherwise
    bool restored{};         // the new one has the generation of the data plane's copy, and no other
};

// Opens PATH for the one control plane that may use it, or makes it: complete before it has its name, so nobody ever
// sees half a file. What it holds is safe to use: every generation in its ring was validated. Refused and left alone:
// a file of a newer layout, and one that another process uses. In the place of one that is lost or damaged comes what
// the data plane accepted last, block for block, if its copy is sound.
Result<TablesFile> open_tables(const std::string& path, const NewTables& options, TablesInUse in_use);

// A new file in the place of whatever is there, with all that `own` holds.
Result<shm::Region> make_again(const std::string& path, const NewTables& options, shm::Region& own);

// An empty region in zeroed memory.
void format_tables(shm::Region& region, const HashSeed& random_seed);

}  // namespace shunt::controlplane
