#include "controlplane/sync/pull.h"

#include <algorithm>

namespace shunt::controlplane::sync {

void Pull::hear(const Chunk& chunk) noexcept {
    if (done_) return;
    if (chunk.space != space_) {  // the first answer, or the peer's tables are others now
        space_ = chunk.space;
        begin_ = {};
        for (std::size_t i = 0; i < lanes; ++i) {
            lanes_[i] = {chunk.end / lanes * i, i + 1 == lanes ? chunk.end : chunk.end / lanes * (i + 1), {}};
        }
    } else {
        for (Lane& lane : lanes_) {
            if (lane.position != chunk.position || lane.position >= lane.end) continue;
            lane.position = std::max(chunk.next, lane.position);
            lane.asked = {};
        }
    }
    done_ = std::ranges::all_of(lanes_, [](const Lane& lane) { return lane.position >= lane.end; });
}

}  // namespace shunt::controlplane::sync
