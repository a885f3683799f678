#include "src/config/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "src/config/toml.h"

namespace shunt::config {
namespace {

Error cannot_read(const std::string& path, int reason) {
    const char* remedy = reason == ENOENT   ? "check the name"
                         : reason == EACCES ? "check the permissions of the file and of its directories (namei -l)"
                         : reason == EISDIR ? "name a file in it"
                                            : "";
    return {.message = std::string("cannot read this file: ") + std::strerror(reason), .remedy = remedy, .file = path};
}

Error cannot_write(const std::string& path, int reason) {
    return {.message = std::string("cannot write this file: ") + std::strerror(reason), .file = path};
}

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int number() const noexcept { return number_; }

  private:
    int number_;
};

}  // namespace

Result<std::string> read_text(const std::string& path) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.number() < 0) return cannot_read(path, errno);
    std::string text;
    std::array<char, 65536> buffer{};
    for (;;) {
        const ssize_t count = ::read(file.number(), buffer.data(), buffer.size());
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return cannot_read(path, errno);
        if (count == 0) return text;
        text.append(buffer.data(), static_cast<std::size_t>(count));
        if (text.size() > max_toml_bytes) {
            return Error{.message = "it is larger than 32 MiB", .remedy = "name a configuration file", .file = path};
        }
    }
}

Status rewrite_text(const std::string& path, std::string_view text) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    if (file.number() < 0) return cannot_write(path, errno);
    const auto size = static_cast<ssize_t>(text.size());
    const ssize_t written = ::pwrite(file.number(), text.data(), text.size(), 0);
    if (written != size) return cannot_write(path, written < 0 ? errno : ENOSPC);
    if (::ftruncate(file.number(), size) != 0) return cannot_write(path, errno);
    return Done{};
}

Result<DesiredState> load_file(const std::string& path, Positions* positions) {
    const auto text = read_text(path);
    if (!text) return text.error();
    return parse_toml(*text, path, positions);
}

}  // namespace shunt::config
