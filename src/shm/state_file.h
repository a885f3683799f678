// The state region as everybody but the data plane sees it: read-only, and perhaps another file the next time we look,
// because a data plane that could not adopt the old region renames the symbolic link `state` over it (DESIGN section
// 3).
#pragma once

#include <optional>
#include <string>

#include "src/shm/region.h"
#include "src/shm/state.h"

namespace shunt::shm {

class StateFile {
  public:
    explicit StateFile(std::string path) : path_(std::move(path)) {}

    // Maps what the path leads to now, if that is another file than before. Nothing if there is no usable region;
    // what was returned before is then, and whenever the file was replaced, no longer mapped.
    std::optional<StateReader> look();

    // A process serves the region that `look` returned.
    bool held() const noexcept { return region_.data() != nullptr && region_.locked_by_other(); }
    // Why `look` returned nothing; empty if it did not.
    const std::string& problem() const noexcept { return problem_; }

  private:
    Status open();

    std::string path_;
    Region region_{};
    std::string problem_{};
};

}  // namespace shunt::shm
