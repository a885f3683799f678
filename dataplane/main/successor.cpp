#include "dataplane/main/successor.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace shunt::dataplane {
namespace {

constexpr int channel_of_child = 3;
constexpr Duration until_forwarding = Duration::seconds(2);

// 0 or the errno.
int spawn(pid_t& pid, const std::string& program, std::vector<std::string>& arguments, int channel) {
    std::vector<char*> words;
    for (auto& argument : arguments) words.push_back(argument.data());
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&actions, channel, channel_of_child);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes, words.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

}  // namespace

std::string own_program() {
    constexpr std::string_view mark = " (deleted)";
    std::error_code ignored;
    std::string path = std::filesystem::read_symlink("/proc/self/exe", ignored);
    if (path.ends_with(mark)) path.resize(path.size() - mark.size());
    return path;
}

Result<Successor> Successor::start(const std::string& program, std::vector<std::string> arguments,
                                   const std::vector<Bequest>& bequests, Instant deadline) {
    auto channel = Channel::open();
    if (!channel) return channel.error();
    auto& [ours, theirs] = *channel;
    // The descriptor must not be the one it becomes: dup2 would leave its close-on-exec flag.
    const xdp::Descriptor apart(::fcntl(theirs.get(), F_DUPFD_CLOEXEC, channel_of_child + 1));
    arguments.insert(arguments.end(), {"--successor", std::to_string(channel_of_child)});
    pid_t pid = -1;
    const int error = spawn(pid, program, arguments, apart.get());
    if (error != 0) return Error{.message = program + " cannot be executed: " + std::strerror(error)};
    for (const Bequest& bequest : bequests) ours.send(bequest.message, bequest.descriptor);
    return Successor(pid, program, std::move(ours), deadline);
}

Successor::Progress Successor::look(Instant now) {
    if (const auto received = channel_.receive(Duration{})) {
        if (received->message.kind == Message::Kind::ready) {
            wants_sockets_ = received->message.keeps_sockets != 0;
            return Progress::ready;
        }
        return fail("the successor refuses: " + std::string(received->message.text.data()));
    }
    if (is_gone()) return fail(program_ + " " + how_it_ended() + " before it was ready");
    if (now < deadline_) return Progress::preparing;
    return fail(program_ + " was not ready in time");
}

Successor::Progress Successor::fail(std::string sentence) {
    failure_ = std::move(sentence);
    return Progress::failed;
}

std::string Successor::how_it_ended() const {
    if (WIFEXITED(*status_)) return "ended with exit code " + std::to_string(WEXITSTATUS(*status_));
    return "was killed by signal " + std::to_string(WTERMSIG(*status_));
}

bool Successor::hand_over(const Message& stopped) {
    if (!channel_.send(stopped)) return false;
    const auto received = channel_.receive(until_forwarding);
    return received && received->message.kind == Message::Kind::forwarding;
}

void Successor::kill() noexcept {
    if (!is_gone()) ::kill(pid_, SIGKILL);
}

bool Successor::is_gone() noexcept {
    int status = 0;
    if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
    return status_.has_value();
}

void Successor::wait_until_gone() noexcept {
    int status = 0;
    if (!status_ && ::waitpid(pid_, &status, 0) == pid_) status_ = status;
}

}  // namespace shunt::dataplane
