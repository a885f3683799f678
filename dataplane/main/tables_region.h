// The control plane's region as the data plane sees it: mapped, read-only, as soon as it is there.
#pragma once

#include <cstdint>
#include <string>

#include "src/base/result.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"
#include "src/shm/tables_copy.h"

namespace shunt::dataplane {

class TablesRegion {
  public:
    explicit TablesRegion(std::string path) : path_(std::move(path)) {}

    // False: there is none yet, or its writer is still making it. An error: there is one that cannot be used.
    Result<bool> map() { return map_file(path_); }
    // The same of what a data plane kept of it, see shm/tables_copy.h. The file itself then counts as another one.
    Result<bool> map_copy() { return map_file(shm::TablesCopy::path_of(path_)); }
    // What `map` refused is of a later release.
    bool is_newer() const noexcept { return newer_; }
    bool mapped() const noexcept { return region_.data() != nullptr; }

    // What follows needs a mapped region.
    const std::byte* data() const noexcept { return region_.data(); }
    const shm::TablesHeader& header() const noexcept { return region_.at<shm::TablesHeader>(0); }
    // Bytes that may be touched now.
    std::uint64_t readable() const noexcept;
    // There is a generation, and the newest one validates.
    bool is_sound() const;
    // Another file has taken the place of the one that is mapped.
    bool replaced() const;
    const std::string& path() const noexcept { return path_; }

  private:
    Result<bool> map_file(const std::string& path);

    std::string path_;
    shm::Region region_;
    std::uint64_t inode_{};
    bool newer_{};
};

}  // namespace shunt::dataplane
