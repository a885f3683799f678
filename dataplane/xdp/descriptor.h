// A file descriptor with an owner.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <utility>

namespace shunt::dataplane::xdp {

class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) noexcept : fd_(fd) {}  // takes ownership; negative: holds nothing
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }

    // Another one for the same open file; not for programs that this process executes.
    static Descriptor copy_of(int fd) noexcept { return Descriptor(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

    int get() const noexcept { return fd_; }
    // Now the caller's.
    int release() noexcept { return std::exchange(fd_, -1); }
    explicit operator bool() const noexcept { return fd_ >= 0; }

  private:
    int fd_{-1};
};

}  // namespace shunt::dataplane::xdp
