// The state directory: one file, replaced as a whole.
#pragma once

#include <optional>
#include <string>

#include "src/base/result.h"
#include "src/net/packet_hash.h"

namespace shunt::controlplane {

class Store {
  public:
    static constexpr std::size_t read_limit = 256 * 1024 * 1024;

    explicit Store(std::string directory) : directory_(std::move(directory)) {}

    // Makes the directory (0700) if it is missing.
    Status open();
    // The file's text; nothing if there is none.
    Result<std::optional<std::string>> load() const;
    // Write aside, fsync, rename, fsync the directory: after a crash the file is the old or the new one. When it fails
    // the old one is in force.
    Status save(const std::string& text);
    // Moves a file that cannot be used out of the way, and says where to.
    Result<std::string> set_aside();

    std::string path() const { return directory_ + "/state.toml"; }

  private:
    std::string directory_;
};

// A whole file; an error if it cannot be read or is larger than `limit`.
Result<std::string> read_file(const std::string& path, std::size_t limit);

// The site's seed: made of all bytes of the file, at least 16.
Result<HashSeed> read_seed(const std::string& path);

}  // namespace shunt::controlplane
