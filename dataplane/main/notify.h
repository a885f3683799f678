// Telling the world that we are ready: systemd by sd_notify, everybody else by a file.
#pragma once

#include <string>
#include <utility>

#include "src/base/result.h"

namespace shunt::dataplane {

// DIRECTORY/dataplane.ready, there from ready until the end.
class ReadyFile {
  public:
    explicit ReadyFile(const std::string& directory) : path_(directory + "/dataplane.ready") {}
    ReadyFile(ReadyFile&& other) noexcept
        : path_(std::move(other.path_)), is_ours_(std::exchange(other.is_ours_, false)) {}
    ReadyFile& operator=(ReadyFile&&) = delete;
    ~ReadyFile();

    void remove_leftover() const;
    Status announce();
    // A successor is ready, and its file stays: tells systemd that the service is this process from now on.
    void leave_to(int successor);

  private:
    std::string path_;
    bool is_ours_{};  // else it is a predecessor's, or there is none
};

}  // namespace shunt::dataplane
