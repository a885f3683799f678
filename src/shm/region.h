// A block of memory two processes share: a named file on hugetlbfs or tmpfs, or an anonymous block in tests and tools.
// The only place in src that opens or maps files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "src/base/result.h"

namespace shunt::shm {

class Region {
  public:
    enum class Access : std::uint8_t { read_only, read_write };
    // huge: reserved ones if there are enough for all of it, else those the kernel puts together (transparent ones).
    enum class Pages : std::uint8_t { small, huge };

    Region() = default;
    Region(Region&& other) noexcept;
    Region& operator=(Region&& other) noexcept;
    ~Region();

    // Makes a file (it must not exist) of `file_bytes` with `reserve_bytes` of address space mapped over it. Memory is
    // allocated now, so that a lack of it is an error here and not a fault later.
    static Result<Region> create(const std::string& path, std::uint64_t file_bytes, std::uint64_t reserve_bytes);
    // Maps an existing file; `reserve_bytes` 0 maps just what is there.
    static Result<Region> open(const std::string& path, Access access, std::uint64_t reserve_bytes = 0);
    // Zeroed memory of this process.
    static Region anonymous(std::uint64_t bytes, Pages pages = Pages::small);

    std::byte* data() noexcept { return data_; }
    const std::byte* data() const noexcept { return data_; }
    template <class T>
    T& at(std::uint64_t offset) noexcept {
        return *reinterpret_cast<T*>(data_ + offset);
    }
    template <class T>
    const T& at(std::uint64_t offset) const noexcept {
        return *reinterpret_cast<const T*>(data_ + offset);
    }
    std::uint64_t reserved() const noexcept { return reserved_; }
    std::uint64_t file_bytes() const noexcept;  // as the file is now; on hugetlbfs all that is reserved
    // What grow() has seen to: memory that is there, whatever the file's length says.
    std::uint64_t allocated() const noexcept { return allocated_; }
    // Does the path still lead to the file that is mapped? Not after a rename over it, or over a symbolic link to it.
    bool at_its_path() const noexcept { return is_at(path_); }
    // Is this a name of the file?
    bool is_at(const std::string& path) const noexcept;
    const std::string& path() const noexcept { return path_; }
    // The file was renamed.
    void moved_to(std::string path) { path_ = std::move(path); }
    // Of the file system, or of anonymous memory on reserved huge pages; 4096 where nothing was reserved.
    std::uint64_t page_bytes() const noexcept { return page_; }

    // From now on what is missing of the file, because somebody cut it short, reads as zeros in this process; without
    // this a touch of it is SIGBUS. What is written there is lost.
    void survive_truncation() noexcept;

    // Allocates the file up to `bytes`; what was mapped stays where it is.
    Status grow(std::uint64_t bytes);
    // The lock of whoever serves this region; it dies with its holder. False: another process has it.
    bool try_lock() noexcept;
    // It is held by this descriptor of the file, which somebody who is going to end shares with us. Takes ownership.
    void inherit_lock(int descriptor) noexcept { lock_ = descriptor; }
    // The descriptor that holds it, once it is ours.
    int lock_descriptor() const noexcept { return lock_ >= 0 ? lock_ : file_; }
    // Does a process other than this one hold the lock?
    bool locked_by_other() const noexcept;

  private:
    Status map(int protection, std::uint64_t reserve_bytes);

    std::byte* data_{};
    std::uint64_t reserved_{};
    std::uint64_t allocated_{};  // from the start on, as far as this object knows
    int file_{-1};
    int lock_{-1};  // inherited; else it is held by file_
    std::uint64_t page_{4096};
    std::string path_{};
};

}  // namespace shunt::shm
