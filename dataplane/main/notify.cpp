#include "dataplane/main/notify.h"

#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace shunt::dataplane {

void ReadyFile::remove_leftover() const {
    std::error_code ignored;
    std::filesystem::remove(path_, ignored);
}

ReadyFile::~ReadyFile() {
    if (is_ours_) remove_leftover();
}

void ReadyFile::leave_to(int successor) {
    is_ours_ = false;
    sd_notifyf(0, "MAINPID=%d", successor);
}

Status ReadyFile::announce() {
    // Renamed into place: whoever sees the file sees all of it.
    const std::string fresh = path_ + ".new";
    std::ofstream file(fresh);
    file << getpid() << '\n';
    file.close();
    std::error_code error;
    if (file) std::filesystem::rename(fresh, path_, error);
    if (!file || error) return Error{.message = "cannot write the file that says ready", .file = path_};
    is_ours_ = true;
    sd_notify(0, "READY=1");
    return Done{};
}

}  // namespace shunt::dataplane
