// The file of the tables region: found, made, or replaced when it is damaged.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/index.h"
#include "src/base/result.h"
#include "src/net/packet_hash.h"
#include "src/shm/region.h"

namespace shunt::controlplane {

// What a data plane said last of the tables it uses. A file that does not agree was damaged since.
struct TablesInUse {
    std::uint64_t identity{};  // of their file; 0: none
    Generation accepted{};
    bool alive{};
};

struct TablesFile {
    shm::Region region{};
    std::string replaced{};  // why a damaged file was replaced by this new one; empty otherwise
};

// Opens PATH for the one control plane that may use it, or makes it: complete before it has its name, so nobody ever
// sees half a file. What it holds is safe to use: every generation in its ring was validated. Refused and left alone:
// a file of a newer layout, and one that another process uses.
Result<TablesFile> open_tables(const std::string& path, std::uint64_t reserve_bytes, const HashSeed& random_seed,
                               const TablesInUse& in_use);

// An empty region in zeroed memory.
void format_tables(shm::Region& region, const HashSeed& random_seed);

}  // namespace shunt::controlplane
