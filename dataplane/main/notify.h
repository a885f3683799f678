// Telling the world that we are ready: systemd by sd_notify, everybody else by a file.
#pragma once

#include <string>
#include <utility>

#include "src/base/result.h"

namespace shunt::dataplane {

// DIRECTORY/dataplane.ready, there from ready until the end. A leftover of a predecessor is removed at once.
class ReadyFile {
  public:
    explicit ReadyFile(const std::string& directory);
    ReadyFile(ReadyFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
    ReadyFile& operator=(ReadyFile&&) = delete;
    ~ReadyFile();

    Status announce();

  private:
    std::string path_;
};

}  // namespace shunt::dataplane
