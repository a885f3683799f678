#include "dataplane/dpdk/environment.h"

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>

namespace shunt::dataplane::dpdk {
namespace {

// DPDK writes its log to a stream; this one cuts it into lines.
class LogStream {
  public:
    void start(LogLine log) {
        log_ = std::move(log);
        cookie_io_functions_t functions{};
        functions.write = write;
        stream_ = fopencookie(this, "w", functions);
        if (stream_ == nullptr) return;
        std::setvbuf(stream_, nullptr, _IOLBF, 1024);
        rte_openlog_stream(stream_);
    }
    std::string last() {
        const std::lock_guard hold(mutex_);
        return last_;
    }

  private:
    static ssize_t write(void* self, const char* text, std::size_t length) {
        static_cast<LogStream*>(self)->add({text, length});
        return static_cast<ssize_t>(length);
    }
    void add(std::string_view text) {
        const std::lock_guard hold(mutex_);
        partial_ += text;
        for (auto end = partial_.find('\n'); end != std::string::npos; end = partial_.find('\n')) {
            last_ = partial_.substr(0, end);
            partial_.erase(0, end + 1);
            if (log_) log_(last_);
        }
    }

    std::mutex mutex_;
    std::string partial_, last_;
    LogLine log_;
    FILE* stream_{};
};

// As long as the process: DPDK's threads may log until the very end.
LogStream& log_stream() {
    static auto* stream = new LogStream;
    return *stream;
}

std::string list_of(const std::vector<std::uint16_t>& cores) {
    std::string text;
    for (const auto core : cores) text += (text.empty() ? "" : ",") + std::to_string(core);
    return text;
}

bool contains(const std::vector<std::uint16_t>& cores, std::uint16_t core) {
    return std::find(cores.begin(), cores.end(), core) != cores.end();
}

unsigned lcore_of(WorkerIndex worker) { return worker.value + 1U; }

int run(void* loop) {
    prctl(PR_SET_TIMERSLACK, 1UL);  // a sleep of 50 us must not become 100
    (*static_cast<const std::function<void()>*>(loop))();
    return 0;
}

}  // namespace

std::vector<std::uint16_t> allowed_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    std::vector<std::uint16_t> cores;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
    for (std::uint16_t core = 0; core < CPU_SETSIZE; ++core) {
        if (CPU_ISSET(core, &set)) cores.push_back(core);
    }
    return cores;
}

void run_on(const std::vector<std::uint16_t>& cores) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const auto core : cores) CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

Result<Cores> plan_cores(std::uint16_t workers, const std::vector<std::uint16_t>& wanted,
                         const std::vector<std::uint16_t>& allowed, bool may_share) {
    Cores cores;
    for (const auto core : wanted) {
        if (contains(allowed, core)) continue;
        return Error{.message = "core " + std::to_string(core) +
                                " is not there, or not for this process, which may use " + list_of(allowed),
                     .remedy = "change dataplane.cores",
                     .key = "dataplane.cores"};
    }
    const auto& source = wanted.empty() ? allowed : wanted;
    if (source.empty() || (!may_share && source.size() < workers)) {
        return Error{.message = std::to_string(workers) + " workers that poll need a core each, and there are " +
                                std::to_string(source.size()) + " (" + list_of(source) + ")",
                     .remedy = "set dataplane.workers to at most that, or dataplane.idle = \"sleep\"",
                     .key = "dataplane.workers"};
    }
    for (std::uint16_t i = 0; i < workers; ++i) cores.workers.push_back(source[i % source.size()]);
    for (const auto core : allowed) {
        if (!contains(cores.workers, core)) cores.main.push_back(core);
    }
    if (cores.main.empty()) cores.main = allowed;
    return cores;
}

std::vector<std::string> eal_arguments(const Cores& cores, const MemoryPlan& memory) {
    std::string lcores = "--lcores=0@(" + list_of(cores.main) + ")";
    for (std::size_t i = 0; i < cores.workers.size(); ++i) {
        lcores += "," + std::to_string(i + 1) + "@" + std::to_string(cores.workers[i]);
    }
    std::vector<std::string> arguments{
        "shunt-dataplane", lcores, "--main-lcore=0", "--no-pci", "--no-telemetry", "--log-level=warning",
        "--file-prefix=shunt",
        // Packet buffers must lie in one piece for the kernel: with physical addresses they would be spaced apart.
        "--iova-mode=va"};
    if (memory.huge_pages) {
        arguments.emplace_back("--in-memory");
    } else {
        const std::string mebibytes = std::to_string((memory.bytes >> 20) + 1);
        arguments.insert(arguments.end(), {"--no-huge", "-m", mebibytes, "--no-shconf"});
    }
    return arguments;
}

Status start_environment(const std::vector<std::string>& arguments, const std::string& directory, LogLine log) {
    log_stream().start(std::move(log));
    setenv("RUNTIME_DIRECTORY", directory.c_str(), 1);
    static auto* kept = new std::vector<std::string>(arguments);  // EAL keeps pointers into its arguments
    std::vector<char*> pointers;
    for (auto& argument : *kept) pointers.push_back(argument.data());
    if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) >= 0) return Done{};
    Error error{.message =
                    std::string("DPDK does not start: ") + rte_strerror(rte_errno) + " (" + last_log_line() + ")"};
    if (rte_errno == EACCES || rte_errno == EPERM) error.remedy = "run it as root";
    return error;
}

std::string last_log_line() { return log_stream().last(); }

Status launch_worker(WorkerIndex worker, const std::function<void()>& loop) {
    void* argument = const_cast<std::function<void()>*>(&loop);
    if (rte_eal_remote_launch(run, argument, lcore_of(worker)) == 0) return Done{};
    return Error{.message = "worker " + std::to_string(worker.value) + " does not start: its core is busy"};
}

void wait_for_workers() { rte_eal_mp_wait_lcore(); }

}  // namespace shunt::dataplane::dpdk
