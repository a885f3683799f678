// The region `peers` as the data plane sees it: mapped, read-only, while it is there and speaks of the tables in force.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/tables/peer_flows.h"
#include "src/shm/region.h"

namespace shunt::dataplane {

class PeersRegion {
  public:
    explicit PeersRegion(std::string path) : path_(std::move(path)) {}

    // Maps what the path leads to now, if that is another file than before. What it replaces stays mapped until
    // release().
    void look(std::uint64_t tables_identity, Duration downtime);
    // For workers; null: there is nothing that fits.
    const PeerFlows* flows() const noexcept { return current_ ? &current_->flows : nullptr; }
    // All workers have what flows() said, by `now`; and those that run have begun a poll after `since`: nobody looks
    // into what was replaced before then.
    void release(Instant since, Instant now);
    std::size_t replaced() const noexcept { return replaced_.size(); }

  private:
    struct Mapped {
        shm::Region region;
        PeerFlows flows;
        std::optional<Instant> replaced_at{};  // and workers told so
    };

    std::string path_;
    std::unique_ptr<Mapped> current_{};
    std::vector<std::unique_ptr<Mapped>> replaced_{};
};

}  // namespace shunt::dataplane
