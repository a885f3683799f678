// The state region as everybody but the data plane sees it: read-only, and perhaps another file the next time we look,
// because a data plane that could not adopt the old region gives the name `state` to a new one (DESIGN section 3). With
// it come the regions of its predecessors, as long as it looks aside into them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "src/shm/region.h"
#include "src/shm/state.h"

namespace shunt::shm {

class StateFile {
  public:
    explicit StateFile(std::string path) : path_(std::move(path)) {}

    // Maps what the path leads to now, if that is another file than before. Nothing if there is no usable region;
    // what was returned before is then, and whenever the file was replaced, no longer mapped.
    std::optional<StateReader> look();
    // Its predecessors' regions as of the last look, newest first.
    std::span<const StateReader> left() const noexcept { return left_; }

    // A process serves the region that `look` returned.
    bool held() const noexcept { return region_.data() != nullptr && region_.locked_by_other(); }
    // Why `look` returned nothing; empty if it did not.
    const std::string& problem() const noexcept { return problem_; }

  private:
    Status open();
    void look_for_predecessors();

    std::string path_;
    Region region_{};
    std::vector<Region> predecessors_{};
    std::vector<StateReader> left_{};
    std::string problem_{};
};

}  // namespace shunt::shm
