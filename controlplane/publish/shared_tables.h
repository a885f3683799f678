// The tables as their writer has them: in memory of its own, and in the file in which everybody else sees them. What is
// written goes to both, what is read comes from its own memory alone; so nothing that happens to the file can mislead
// its writer, and the file can be made again at any time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "src/base/result.h"
#include "src/shm/layout.h"
#include "src/shm/region.h"

namespace shunt::controlplane {

class SharedTables {
  public:
    SharedTables() = default;
    // Without a file: readers are in this process and see the memory itself.
    explicit SharedTables(shm::Region own) : own_(std::move(own)) {}
    // A file that holds the same.
    SharedTables(shm::Region own, shm::Region file) : SharedTables(std::move(own)) { use(std::move(file)); }
    void use(shm::Region file);

    const std::byte* data() const noexcept { return own_.data(); }
    const shm::Region& own() const noexcept { return own_; }
    shm::Region& own() noexcept { return own_; }
    const shm::TablesHeader& header() const noexcept { return own_.at<const shm::TablesHeader>(0); }
    // As others see it.
    const std::byte* shared() const noexcept { return file_ ? file_->data() : own_.data(); }
    shm::TablesHeader& shared_header() noexcept { return shared_region().at<shm::TablesHeader>(0); }

    void write(std::uint64_t offset, const void* from, std::uint64_t bytes) noexcept;
    // `change` is called with each of the two headers.
    template <class F>
    void change_header(F&& change) {
        change(own_.at<shm::TablesHeader>(0));
        if (file_) change(file_->at<shm::TablesHeader>(0));
    }
    // Memory that may be written: that of the file.
    Status grow(std::uint64_t bytes) { return shared_region().grow(bytes); }
    std::uint64_t allocated() const noexcept { return file_ ? file_->allocated() : own_.allocated(); }
    std::uint64_t reserved() const noexcept { return own_.reserved(); }

    // The file is gone, shorter than it was, or begins otherwise: who looks for it now does not find what was written.
    bool lost() const noexcept;

  private:
    shm::Region& shared_region() noexcept { return file_ ? *file_ : own_; }

    shm::Region own_{};
    std::optional<shm::Region> file_{};
};

}  // namespace shunt::controlplane
