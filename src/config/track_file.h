// A file that says in one digit whether this node can serve: 0, or 1 if it cannot. Rewritten in place and closed at
// every change, because that is what keepalived's track_file reacts to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "src/base/result.h"

namespace shunt::config {

enum class Track : std::uint8_t { serves = 0, fault = 1 };

class TrackFile {
  public:
    // Without a path there is no file, and nothing to do.
    explicit TrackFile(std::string path = {}) : path_(std::move(path)) {}

    const std::string& path() const noexcept { return path_; }
    // What it says now; nothing if it cannot be read, or says something else.
    std::optional<Track> read() const;
    // Writes it unless that is what it was made to say last. An error: it may still say something else, so call again.
    Status say(Track track);
    // As if we had made it say what it says now: the next `say` of anything else writes. Somebody may have changed or
    // removed it, or it may be a predecessor's.
    void take_as_it_is() {
        if (!path_.empty()) said_ = read();
    }
    std::optional<Track> said() const noexcept { return said_; }

  private:
    std::string path_;
    std::optional<Track> said_{};
};

}  // namespace shunt::config
