#include "controlplane/publish/shared_tables.h"

#include <cstring>

namespace shunt::controlplane {

void SharedTables::use(shm::Region file) {
    file_.emplace(std::move(file));
    file_->survive_truncation();
}

void SharedTables::write(std::uint64_t offset, const void* from, std::uint64_t bytes) noexcept {
    std::memcpy(own_.data() + offset, from, bytes);
    if (file_) std::memcpy(file_->data() + offset, from, bytes);
}

bool SharedTables::lost() const noexcept {
    if (!file_) return false;
    return !file_->at_its_path() || file_->file_bytes() < header().file_bytes.load(std::memory_order_relaxed) ||
           std::memcmp(file_->data(), own_.data(), shm::written_by_publisher) != 0;
}

}  // namespace shunt::controlplane
