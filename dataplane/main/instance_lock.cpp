#include "dataplane/main/instance_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

namespace shunt::dataplane {
namespace {

Error failure(const std::string& path, const std::string& what, int error) {
    Error result{.message = what + ": " + std::strerror(error), .file = path};
    if (error == EACCES || error == EPERM || error == EROFS) {
        result.remedy = "run it as root, or choose a directory that can be written with --run-dir";
    }
    return result;
}

std::string path_in(const std::string& directory) { return directory + "/dataplane.lock"; }

bool lock(int file) {
    struct flock whole {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    return fcntl(file, F_OFD_SETLK, &whole) == 0;
}

std::string read_holder(int file) {
    char text[32]{};
    const ssize_t length = pread(file, text, sizeof text - 1, 0);
    return length > 0 ? " (pid " + std::string(text, std::strcspn(text, "\n")) + ")" : "";
}

}  // namespace

Result<InstanceLock> InstanceLock::take(const std::string& directory) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) return failure(directory, "cannot make the run directory", error.value());
    const std::string path = path_in(directory);
    InstanceLock result(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (result.file_ < 0) return failure(path, "cannot open the lock file", errno);
    if (!lock(result.file_)) {
        return Error{.message = "another shunt-dataplane" + read_holder(result.file_) + " runs in " + directory,
                     .remedy = "stop that one first, or give this one another --run-dir",
                     .file = path};
    }
    if (auto signed_ = result.sign(directory); !signed_) return signed_.error();
    return result;
}

Status InstanceLock::sign(const std::string& directory) const {
    const std::string pid = std::to_string(getpid()) + "\n";
    if (ftruncate(file_, 0) == 0 && pwrite(file_, pid.data(), pid.size(), 0) > 0) return Done{};
    return failure(path_in(directory), "cannot write", errno);
}

InstanceLock::~InstanceLock() {
    if (file_ >= 0) ::close(file_);
}

}  // namespace shunt::dataplane
