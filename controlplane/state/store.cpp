#include "controlplane/state/store.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

namespace shunt::controlplane {
namespace {

class File {
  public:
    File(const std::string& path, int flags, mode_t mode = 0600) : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
    ~File() { close(); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    explicit operator bool() const noexcept { return fd_ >= 0; }
    bool write(std::string_view text) noexcept {
        while (!text.empty()) {
            const ssize_t written = ::write(fd_, text.data(), text.size());
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) return false;
            text.remove_prefix(static_cast<std::size_t>(written));
        }
        return true;
    }
    ssize_t read(char* into, std::size_t size) noexcept {
        for (;;) {
            const ssize_t got = ::read(fd_, into, size);
            if (got >= 0 || errno != EINTR) return got;
        }
    }
    bool sync() noexcept { return fsync(fd_) == 0; }
    bool close() noexcept {
        const int fd = std::exchange(fd_, -1);
        return fd < 0 || ::close(fd) == 0;
    }

  private:
    int fd_;
};

Error failure(const std::string& path, const std::string& what) {
    const int error = errno;
    Error e{.message = what + ": " + std::strerror(error), .file = path};
    if (error == ENOSPC || error == EDQUOT) e.remedy = "make room there; nothing was changed";
    if (error == EACCES || error == EPERM) e.remedy = "run as root or as the owner of the directory";
    return e;
}

// Makes a directory and those above it.
bool make_directories(const std::string& path) {
    for (std::size_t at = 1; at != std::string::npos && at <= path.size();) {
        at = path.find('/', at);
        const std::string part = path.substr(0, at);
        if (mkdir(part.c_str(), at == std::string::npos ? 0700 : 0755) != 0 && errno != EEXIST) return false;
        if (at != std::string::npos) ++at;
    }
    return true;
}

}  // namespace

Status Store::open() {
    if (!make_directories(directory_)) {
        Error e = failure(directory_, "cannot make the state directory");
        e.remedy = "choose another with --state-dir";
        return e;
    }
    return Done{};
}

Result<std::optional<std::string>> Store::load() const {
    if (access(path().c_str(), F_OK) != 0 && errno == ENOENT) return std::optional<std::string>{};
    auto text = read_file(path(), read_limit);
    if (!text) return text.error();
    return std::optional<std::string>(std::move(text).value());
}

Status Store::save(const std::string& text) {
    const std::string aside = path() + ".new";
    {
        File file(aside, O_WRONLY | O_CREAT | O_TRUNC);
        if (!file) return failure(aside, "cannot save the state");
        if (!file.write(text) || !file.sync() || !file.close()) {
            const Error e = failure(aside, "cannot save the state");
            unlink(aside.c_str());
            return e;
        }
    }
    if (rename(aside.c_str(), path().c_str()) != 0) return failure(path(), "cannot save the state");
    File directory(directory_, O_RDONLY | O_DIRECTORY);
    if (!directory || !directory.sync()) return failure(directory_, "cannot save the state");
    return Done{};
}

Result<std::string> Store::set_aside() {
    for (int n = 1; n < 1000; ++n) {
        const std::string to = path() + ".damaged." + std::to_string(n);
        if (link(path().c_str(), to.c_str()) != 0) {
            if (errno == EEXIST) continue;
            break;
        }
        if (unlink(path().c_str()) != 0) break;
        return to;
    }
    return failure(path(), "cannot set the file aside");
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
    File file(path, O_RDONLY);
    if (!file) {
        Error e = failure(path, "cannot read the file");
        if (errno == ENOENT) e.remedy = "check the path";
        return e;
    }
    std::string text;
    char piece[65536];
    for (;;) {
        const ssize_t got = file.read(piece, sizeof piece);
        if (got < 0) return failure(path, "cannot read the file");
        if (got == 0) return text;
        if (text.size() + static_cast<std::size_t>(got) > limit) {
            return Error{.message = "the file is larger than " + std::to_string(limit >> 20) + " MiB", .file = path};
        }
        text.append(piece, static_cast<std::size_t>(got));
    }
}

Result<HashSeed> read_seed(const std::string& path) {
    auto text = read_file(path, 1 << 20);
    if (!text) return text.error();
    if (text->size() < 16) {
        return Error{.message = "the seed file holds less than 16 bytes",
                     .remedy = "make one with `head -c 32 /dev/urandom`; the same on every node that shares VIPs",
                     .file = path};
    }
    HashSeed seed;
    for (std::size_t i = 0; i < seed.words.size(); ++i) seed.words[i] = XXH64(text->data(), text->size(), i);
    return seed;
}

}  // namespace shunt::controlplane
