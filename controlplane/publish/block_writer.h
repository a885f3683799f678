// Puts blocks into free space of the tables region, which grows when there is none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "controlplane/publish/free_space.h"
#include "controlplane/publish/shared_tables.h"
#include "src/base/result.h"
#include "src/shm/layout.h"

namespace shunt::controlplane {

class BlockWriter {
  public:
    BlockWriter(SharedTables& tables, FreeSpace& free, const std::function<void()>& after_store)
        : tables_(tables), free_(free), after_store_(after_store) {}

    // Offset 0 once there was no memory: see `failure`.
    shm::BlockOffset put(shm::BlockKind kind, const void* payload, std::uint64_t bytes);
    const std::optional<Error>& failure() const noexcept { return failure_; }
    std::size_t written() const noexcept { return written_.size(); }
    // Nobody will name what was written.
    void give_up();

    void stored() const {
        if (after_store_) after_store_();
    }

  private:
    std::optional<std::uint64_t> place(std::uint64_t bytes);
    Status grow(std::uint64_t bytes);

    SharedTables& tables_;
    FreeSpace& free_;
    const std::function<void()>& after_store_;
    std::vector<Extent> written_{};
    std::optional<Error> failure_{};
};

}  // namespace shunt::controlplane
