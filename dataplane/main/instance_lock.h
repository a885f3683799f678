// One data plane per run directory. Held for life, released by death; taken before anything else is touched, so that a
// second one is refused without disturbing the first.
#pragma once

#include <string>
#include <utility>

#include "src/base/result.h"

namespace shunt::dataplane {

class InstanceLock {
  public:
    // Makes DIRECTORY if it is not there. The lock is the file DIRECTORY/dataplane.lock, which holds our process id.
    static Result<InstanceLock> take(const std::string& directory);

    // By the descriptor of a predecessor who holds it and is going to end; ours from now on.
    static InstanceLock inherit(int descriptor) noexcept { return InstanceLock(descriptor); }
    // Writes our process id into the file.
    Status sign(const std::string& directory) const;
    int descriptor() const noexcept { return file_; }

    InstanceLock(InstanceLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
    InstanceLock& operator=(InstanceLock&& other) noexcept {
        std::swap(file_, other.file_);
        return *this;
    }
    ~InstanceLock();

  private:
    explicit InstanceLock(int file) noexcept : file_(file) {}
    int file_;
};

}  // namespace shunt::dataplane
