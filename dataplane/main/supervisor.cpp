#include "dataplane/main/supervisor.h"

#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "dataplane/main/back_off.h"
#include "dataplane/main/successor.h"
#include "src/base/clock.h"

namespace shunt::dataplane {
namespace {

constexpr int succeeded = 0, refused = 1;
constexpr Duration for_ever = Duration::seconds(3600);

sigset_t awaited_signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, number);
    return set;
}

pid_t read_pid(const std::string& path) {
    std::ifstream file(path);
    pid_t pid = -1;
    file >> pid;
    return pid;
}

std::string how(int status) {
    if (WIFEXITED(status)) return "ended with exit code " + std::to_string(WEXITSTATUS(status));
    return "was killed by signal " + std::to_string(WTERMSIG(status));
}

}  // namespace

Supervisor::Supervisor(std::vector<std::string> arguments, const std::string& directory)
    : arguments_(std::move(arguments)), directory_(directory) {
    const sigset_t awaited = awaited_signals();
    ::pthread_sigmask(SIG_BLOCK, &awaited, nullptr);
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // a successor outlives the process that started it
}

int Supervisor::run() {
    const MonotonicClock clock;
    BackOff back_off;
    for (bool is_first = true;; is_first = false) {
        const Instant begun = clock.now();
        if (!start()) return refused;
        const int code = wait_for_end();
        const bool was_ready = read_pid(directory_ + "/dataplane.ready") == child_;
        if (ending_ || code == succeeded) return code;
        if (is_first && !was_ready && WIFEXITED(status_)) return code;
        end_leftovers();
        const Duration wait = back_off.after(clock.now() - begun);
        spdlog::error("shunt-dataplane {} {}: it is started again{}", child_, how(status_),
                      wait == Duration{} ? "" : " in " + std::to_string(wait.in_milliseconds()) + " ms");
        if (!pause(wait)) return succeeded;
    }
}

bool Supervisor::start() {
    std::vector<char*> words;
    for (auto& argument : arguments_) words.push_back(argument.data());
    words.push_back(nullptr);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    const std::string program = own_program();
    const int error = posix_spawn(&child_, program.c_str(), nullptr, &attributes, words.data(), environ);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) spdlog::error("{} cannot be executed: {}", program, std::strerror(error));
    return error == 0;
}

// The exit code; one that a signal ended is as good as refused.
int Supervisor::wait_for_end() {
    for (ended_ = false;;) {
        while (!ended_) pause(for_ever);
        if (!follows_successor()) return WIFEXITED(status_) ? WEXITSTATUS(status_) : refused;
        ended_ = false;
        spdlog::info("shunt-dataplane {} has taken over, and is looked after", child_);
        if (ending_) ::kill(child_, SIGTERM);
    }
}

// It handed over if somebody else who lives, and is ours, says that he is the instance.
bool Supervisor::follows_successor() {
    const pid_t holder = read_pid(directory_ + "/dataplane.lock");
    if (holder <= 0 || holder == child_ || ::waitpid(holder, nullptr, WNOHANG) != 0) return false;
    child_ = holder;
    return true;
}

void Supervisor::reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != child_) continue;
        status_ = status;
        ended_ = true;
    }
}

// A successor that prepared itself dies with the one that started it, and holds its locks until then.
void Supervisor::end_leftovers() {
    const timespec moment{.tv_sec = 0, .tv_nsec = 5'000'000};
    for (int i = 0; i < 200 && ::waitpid(-1, nullptr, WNOHANG) >= 0; ++i) ::nanosleep(&moment, nullptr);
}

// True: the time is over; false: we are to end, and nothing runs.
bool Supervisor::pause(Duration time) {
    const MonotonicClock clock;
    const sigset_t awaited = awaited_signals();
    const Instant until = clock.now() + time;
    for (Instant now = clock.now(); now < until; now = clock.now()) {
        const Duration left = until - now;
        const timespec timeout{.tv_sec = left.nanoseconds / 1'000'000'000, .tv_nsec = left.nanoseconds % 1'000'000'000};
        const int number = ::sigtimedwait(&awaited, nullptr, &timeout);
        if (number < 0) continue;
        take_signal(number);
        if (ended_ && time == for_ever) return true;
        if (ended_ && ending_) return false;
    }
    return true;
}

void Supervisor::take_signal(int number) {
    if (number == SIGCHLD) return reap();
    ending_ = true;
    if (!ended_) ::kill(child_, SIGTERM);
}

}  // namespace shunt::dataplane
