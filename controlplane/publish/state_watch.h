// The data plane seen from here: its state region, read-only, and whether somebody holds it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/publish/tables_file.h"
#include "src/base/index.h"
#include "src/base/result.h"
#include "src/base/time.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"

namespace shunt::controlplane {

struct WorkerProgress {
    bool online{};        // asleep otherwise, and holds nothing
    Generation passed{};  // in use at the end of its last burst
};

struct RunningPort {
    std::string name{};    // its first 15 characters
    std::string device{};  // empty: none
    bool operator==(const RunningPort&) const = default;
};

struct Progress {
    Generation published{};
    Generation accepted{};               // by the data plane that runs; 0: none runs, or it accepted nothing yet
    bool alive{};                        // a data plane holds the state region
    std::string problem{};               // why nothing is known; a sentence
    shm::NodeHealth health{};            // what that says of its own fitness
    std::optional<Instant> heartbeat{};  // of the data plane that holds it
    bool attaching{};                    // and is about to read what is published
    std::vector<WorkerProgress> workers{};
    std::vector<RunningPort> ports{};  // in the order of their numbers; empty before it is ready
    std::uint64_t buckets_per_worker{};
    Generation steered{};  // the newest whose listeners its ports let through
    Generation refused{};  // the last one it refused
    bool file_damaged{};   // the tables file, after it was written: publish again
    std::array<std::uint64_t, static_cast<std::size_t>(shm::RefusalReason::count)> refusals{};  // by reason

    // Workers that use this generation or a newer one; those asleep count once it is accepted.
    std::size_t workers_past(Generation generation) const noexcept;
    // A change is complete: nobody uses an older generation. At once if no data plane runs.
    bool passed_by_all(Generation generation) const noexcept;
};

class StateWatch {
  public:
    StateWatch() = default;  // nobody, ever
    explicit StateWatch(std::string path) : path_(std::move(path)) {}
    void follow(const std::byte* state) noexcept { followed_ = state; }

    // Looks where the path leads now. A region that was replaced is remembered while its holder lives. An error: the
    // region cannot be understood (another layout), so nothing may be freed under its holder.
    Status refresh();

    Progress progress() const;
    // Of the data plane that runs; null if none does.
    const shm::StateHeader* serving() const noexcept;
    // Somebody is between announcing itself and accepting.
    bool attaching() const noexcept;
    // Somebody may still use this generation or an older one.
    bool holds_at_or_before(Generation generation) const noexcept;
    // By the present region, whether its data plane lives or not.
    TablesInUse tables_in_use() const noexcept;

  private:
    struct Watched {
        shm::Region region{};
        std::uint64_t device{};
        std::uint64_t inode{};
    };

    template <class F>
    bool any_held(F&& f) const;
    const std::byte* served() const noexcept;

    std::string path_{};
    std::vector<Watched> regions_{};  // the present one last
    const std::byte* followed_{};
};

}  // namespace shunt::controlplane
