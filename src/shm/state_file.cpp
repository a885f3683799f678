#include "src/shm/state_file.h"

namespace shunt::shm {

std::optional<StateReader> StateFile::look() {
    if (region_.data() == nullptr || !region_.at_its_path()) {
        region_ = Region{};
        const Status opened = open();
        problem_ = opened ? std::string{} : opened.error().text();
        if (!opened) {
            region_ = Region{};
            return std::nullopt;
        }
    }
    return StateReader(region_.data());
}

Status StateFile::open() {
    auto region = Region::open(path_, Region::Access::read_only);
    if (!region) return region.error();
    region_ = std::move(region).value();
    const auto refuse = [&](std::string why) { return Error{.message = std::move(why), .file = path_}; };
    if (region_.file_bytes() < sizeof(StateHeader)) return refuse("the file is too short for a state region");
    const auto& header = region_.at<StateHeader>(0);
    const auto version = header.version.load(std::memory_order_acquire);
    if (version == 0) return refuse("the state region is not complete yet");
    if (header.magic != state_magic) return refuse("this is not a state region");
    if (!reads_layout(version)) {
        return refuse("the state region has layout " + std::to_string(version) + ", this program reads " +
                      std::to_string(oldest_layout_read) + " to " + std::to_string(layout_version));
    }
    const StateShape& shape = header.shape;
    const auto most = region_.file_bytes() / sizeof(FlowBucket);
    if (shape.buckets_per_worker > most || shape.workers > max_workers || shape.handles > max_handles ||
        shape.services > max_services || region_.file_bytes() < StateLayout::of(shape).total) {
        return refuse("the file is shorter than its header says");
    }
    return Done{};
}

}  // namespace shunt::shm
