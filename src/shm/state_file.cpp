#include "src/shm/state_file.h"

#include <algorithm>
#include <utility>

namespace shunt::shm {

std::optional<StateReader> StateFile::look() {
    // A file that was cut short meanwhile must not be touched.
    const bool is_whole = region_.data() != nullptr && region_.file_bytes() >= region_.reserved();
    if (!is_whole || !region_.at_its_path()) {
        left_.clear();
        predecessors_.clear();
        region_ = Region{};
        const Status opened = open();
        problem_ = opened ? std::string{} : opened.error().text();
        if (!opened) {
            region_ = Region{};
            return std::nullopt;
        }
    }
    look_for_predecessors();
    return StateReader(region_.data());
}

Status StateFile::open() {
    auto region = Region::open(path_, Region::Access::read_only);
    if (!region) return region.error();
    region_ = std::move(region).value();
    if (const auto flaw = flaw_of_state(region_.data(), region_.file_bytes())) {
        return Error{.message = "the state region cannot be read: " + flaw->text, .file = path_};
    }
    return Done{};
}

// They are never more than when the region was found, and the oldest goes first. One that cannot be read is as good as
// gone, and those behind it too.
void StateFile::look_for_predecessors() {
    const auto& header = region_.at<StateHeader>(0);
    const std::size_t kept =
        std::min<std::size_t>(header.predecessors_kept.load(std::memory_order_acquire), max_predecessors);
    if (kept == 0 || kept < predecessors_.size()) {
        left_.clear();
        predecessors_.clear();
    }
    while (predecessors_.size() < kept) {
        const std::uint64_t number = header.predecessors[predecessors_.size()].number;
        auto region = Region::open(path_ + "." + std::to_string(number), Region::Access::read_only);
        if (!region || flaw_of_state(region->data(), region->file_bytes())) return;
        predecessors_.push_back(std::move(region).value());
        left_.emplace_back(predecessors_.back().data());
    }
}

}  // namespace shunt::shm
