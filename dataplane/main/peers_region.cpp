#include "dataplane/main/peers_region.h"

#include <utility>

namespace shunt::dataplane {

void PeersRegion::look(std::uint64_t tables_identity, Duration downtime) {
    const bool same =
        current_ && current_->region.at_its_path() && current_->flows.tables_identity() == tables_identity;
    if (same) return;
    if (current_) replaced_.push_back(std::move(current_));
    auto region = shm::Region::open(path_, shm::Region::Access::read_only);
    if (!region || !shm::check_peers(*region)) return;  // none, or its writer is still making it
    const PeerFlows flows(region->data(), downtime);
    if (flows.tables_identity() != tables_identity) return;
    current_.reset(new Mapped{*std::move(region), flows, {}});
}

void PeersRegion::release(Instant since, Instant now) {
    std::erase_if(replaced_,
                  [since](const auto& mapped) { return mapped->replaced_at && *mapped->replaced_at < since; });
    for (const auto& mapped : replaced_) mapped->replaced_at = mapped->replaced_at.value_or(now);
}

}  // namespace shunt::dataplane
