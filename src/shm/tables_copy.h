// The data plane's own copy of the tables it accepted: the same bytes at the same offsets, each block copied once it
// was found sound. Workers read the copy alone. So what happens to the control plane's file afterwards, it is
// truncated, overwritten or removed, reaches no packet; and a control plane that has lost its file makes it again from
// the copy.
//
// The copy has the file's form, so whoever reads the one reads the other. Offsets never clash: the control plane frees
// no block while anybody may hold it, and what is free there is free here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "src/base/result.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"

namespace shunt::shm {

class TablesCopy {
  public:
    // Where the copy of a tables file lies.
    static std::string path_of(const std::string& tables) { return tables + ".copy"; }

    // An empty one, PATH.<pid>, with the lock of whoever keeps it. What was left by those that are gone is removed;
    // what is at PATH stays.
    static Result<TablesCopy> make(const std::string& path, const TablesHeader& original);
    // In zeroed memory of this process.
    static TablesCopy in_memory(Region memory, const TablesHeader& original);

    const std::byte* data() const noexcept { return region_.data(); }
    std::uint64_t bytes() const noexcept { return region_.allocated(); }

    // The very block, sound.
    bool has(BlockOffset offset, const BlockHeader& header) const noexcept;
    // False: there is no memory for it.
    bool put(BlockOffset offset, const BlockHeader& header, const std::byte* payload) noexcept;
    // From now on this is the newest generation. All its blocks are here.
    void enter(Generation generation, BlockOffset root) noexcept;
    // Makes PATH a name of this copy, once there is a generation in it; to be called every now and then, for a
    // successor that came to nothing may have taken it. An error: then no file has the name, for a stale copy is worse
    // than none.
    Status take_name();
    Region release() && { return std::move(region_); }

  private:
    TablesCopy(Region region, std::string path) : region_(std::move(region)), path_(std::move(path)) {}

    void format(const TablesHeader& original) noexcept;
    bool reach(std::uint64_t end) noexcept;
    TablesHeader& header() noexcept { return region_.at<TablesHeader>(0); }

    Region region_;
    std::string path_;  // empty: it needs no name
};

}  // namespace shunt::shm
