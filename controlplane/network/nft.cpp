#include "controlplane/network/nft.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "controlplane/network/descriptor.h"

namespace shunt::controlplane {
namespace {

constexpr std::array<const char*, 3> programs{"/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"};
constexpr int patience_milliseconds = 10'000;
constexpr std::size_t output_limit = 1'048'576;

Error failed(const std::string& what, int error) { return {what + ": " + std::strerror(error)}; }

// Memory instead of pipes: whatever the order in which nft reads and writes, nobody waits for the other.
bool fill(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t n = ::write(fd, text.data(), text.size());
        if (n <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(n));
    }
    return ::lseek(fd, 0, SEEK_SET) == 0;
}

std::string contents(int fd) {
    std::string text(output_limit, '\0');
    const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
}

int spawn(pid_t& pid, const std::vector<std::string>& arguments, int input, int output) {
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes, &signals);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);

    std::vector<char*> argv{const_cast<char*>("nft")};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    std::array<char*, 2> environment{const_cast<char*>("LC_ALL=C"), nullptr};
    int error = ENOENT;
    for (const char* program : programs) {
        error = posix_spawn(&pid, program, &files, &attributes, argv.data(), environment.data());
        if (error != ENOENT) break;
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return error;
}

// The wait status, or -1 if the program had to be killed.
int wait_for(pid_t pid) {
    const Descriptor handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    pollfd ended{handle.get(), POLLIN, 0};
    int ready = 0;
    do {
        ready = ::poll(&ended, 1, patience_milliseconds);
    } while (ready < 0 && errno == EINTR);
    if (ready == 0) ::kill(pid, SIGKILL);
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return ready == 0 ? -1 : status;
}

Error refused(const std::string& output) {
    const std::string line = output.substr(0, std::min<std::size_t>(output.find('\n'), 300));
    const bool forbidden = line.find("Operation not permitted") != std::string::npos;
    return {"nft: " + (line.empty() ? "failed without a word" : line),
            forbidden ? "run as root, or with the capability CAP_NET_ADMIN" : ""};
}

}  // namespace

Result<std::string> run_nft(const std::vector<std::string>& arguments, std::string_view input) {
    const Descriptor in(::memfd_create("nft-input", MFD_CLOEXEC));
    const Descriptor out(::memfd_create("nft-output", MFD_CLOEXEC));
    if (!in || !out || !fill(in.get(), input)) return failed("cannot prepare nft's input", errno);
    pid_t pid = 0;
    const int error = spawn(pid, arguments, in.get(), out.get());
    if (error == ENOENT) return Error{"the program nft is not installed", "apt-get install nftables"};
    if (error != 0) return failed("cannot run nft", error);
    const int status = wait_for(pid);
    if (status == -1) return Error{"nft did not end within 10 s and was killed"};
    std::string output = contents(out.get());
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return refused(output);
    return output;
}

}  // namespace shunt::controlplane
