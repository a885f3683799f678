// Generations: gives an image its place in the tables region, and lets the data plane have it (docs/shared_memory.md).
//
// One writer. Blocks are never changed once a root names them, only left behind; what no root of the ring names any
// more is free again. The order of stores makes every instant a good one to die: whoever reads sees the old generation
// or the new one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "controlplane/compile/image.h"
#include "controlplane/publish/block_writer.h"
#include "controlplane/publish/free_space.h"
#include "controlplane/publish/generation_writer.h"
#include "controlplane/publish/requests.h"
#include "controlplane/publish/shared_tables.h"
#include "controlplane/publish/state_watch.h"
#include "controlplane/publish/tables_file.h"
#include "src/base/result.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"
#include "src/shm/tables.h"

namespace shunt::controlplane {

class Publisher {
  public:
    // Opens DIRECTORY/tables or makes it. `state_path`: the data plane's region, usually DIRECTORY/state; it need not
    // exist, and may be replaced at any time. A file of a newer layout, or one that another control plane uses, is
    // refused and left alone; one that is lost or damaged is made again from the data plane's copy, else anew, without
    // the ids.
    static Result<Publisher> open(const std::string& directory, const std::string& state_path, NewTables options = {});
    // A region of this process, for tests, `explain` and `replay`.
    static Publisher in_memory(std::uint64_t bytes = std::uint64_t{256} << 20, NewTables options = {},
                               shm::Region::Pages pages = shm::Region::Pages::small);
    // A state region of this process, held as if by a data plane; must outlive the publisher. For tests.
    void follow(const std::byte* state) { watch_.follow(state); }

    // The newest generation: for Book::read and read_verdicts after a start. Generation 0: none yet.
    shm::Tables tables() const noexcept;
    // Used where no seed file is configured: random, but the same after a restart.
    const HashSeed& random_seed() const noexcept { return header().random_seed; }
    // Of the file, and of the ids in it.
    std::uint64_t identity() const noexcept { return shm::identity_of(header()); }
    // The region as readers map it.
    const std::byte* region() const noexcept { return tables_.shared(); }
    std::uint64_t readable_bytes() const noexcept { return header().file_bytes.load(std::memory_order_acquire); }
    // Not empty if `open` had to replace a lost or damaged file: a sentence for the log.
    const std::string& replaced() const noexcept { return replaced_; }

    // False while a data plane attaches, or has not taken over any of the last generations: changes coalesce. Ask again
    // a little later.
    bool may_publish();
    // The generation that says what the image says: the present one if nothing changed. A file that was damaged since
    // is made again first. An error (no memory, or may_publish() is false) leaves the present one in force.
    Result<Generation> publish(const Image& image);

    Progress progress();

    // What is asked of the data plane that runs: see requests.h.
    Result<std::uint64_t> ask(const Asked& asked);
    std::optional<RequestEnd> end_of(std::uint64_t request);

  private:
    Publisher() = default;
    void recover();
    Generation next() const noexcept { return Generation(std::max(newest_, above_).value + 1); }
    const shm::Root* newest_root() const noexcept;
    void forget_before_ring();
    void announce(Generation generation, shm::BlockOffset root);
    void settle(Generation generation, shm::BlockOffset root, const Image& image);

    bool damaged() const;
    Status mend();
    void stored() const {
        if (options_.after_store) options_.after_store();
    }
    const shm::TablesHeader& header() const noexcept { return tables_.header(); }

    SharedTables tables_{};
    std::string path_{};
    StateWatch watch_{};
    NewTables options_{};
    std::string replaced_{};
    Generation newest_{};  // as published
    Generation above_{};   // the next generation is above this one, too
    // Of these and older ones the file knows no blocks though somebody may hold them: it was made again.
    Generation forgotten_{};
    Generation mended_{};  // when the file was made again because the data plane refused it
    FreeSpace free_{};
    std::vector<Extent> current_{};                            // blocks of the newest generation, by offset
    std::map<Generation, std::vector<Extent>> left_behind_{};  // by the last generation that had them
    Origins origins_{};
};

}  // namespace shunt::controlplane
