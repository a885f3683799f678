#include "src/config/track_file.h"

#include "src/config/file.h"

namespace shunt::config {

std::optional<Track> TrackFile::read() const {
    const auto text = read_text(path_);
    if (!text) return std::nullopt;
    if (*text == "0\n" || *text == "0") return Track::serves;
    if (*text == "1\n" || *text == "1") return Track::fault;
    return std::nullopt;
}

Status TrackFile::say(Track track) {
    if (path_.empty() || said_ == track) return Done{};
    said_.reset();
    if (auto written = rewrite_text(path_, track == Track::serves ? "0\n" : "1\n"); !written) return written;
    said_ = track;
    return Done{};
}

}  // namespace shunt::config
