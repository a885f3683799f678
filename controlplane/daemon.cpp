#include "controlplane/daemon.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "controlplane/ha/ha.h"
#include "controlplane/health/prober.h"
#include "controlplane/network/host_settings.h"
#include "controlplane/network/routes.h"
#include "controlplane/server/api.h"
#include "controlplane/server/http.h"
#include "controlplane/server/monitor.h"
#include "controlplane/state/boot.h"
#include "controlplane/state/core.h"
#include "controlplane/state/live_outside.h"
#include "controlplane/sync/service.h"
#include "src/base/clock.h"
#include "src/config/file.h"
#include "src/shm/node_health.h"
#include "src/shm/state_file.h"

namespace shunt::controlplane {
namespace {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;

Now now() {
    const auto unix = std::chrono::system_clock::now().time_since_epoch();
    return {MonotonicClock{}.now(), std::chrono::duration_cast<std::chrono::milliseconds>(unix).count()};
}

Error failure(const std::string& path, const std::string& what) {
    const int error = errno;
    return {.message = what + ": " + std::strerror(error),
            .remedy = error == EACCES || error == EPERM ? "run as root or as the owner of the directory" : "",
            .file = path};
}

// The lock of the instance; it dies with the process.
class InstanceLock {
  public:
    InstanceLock() = default;
    ~InstanceLock() {
        if (fd_ >= 0) ::close(fd_);
    }
    InstanceLock(const InstanceLock&) = delete;
    InstanceLock& operator=(const InstanceLock&) = delete;

    Status take(const std::string& path) {
        fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd_ < 0) return failure(path, "cannot make the lock file");
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        if (fcntl(fd_, F_OFD_SETLK, &lock) == 0) {
            const std::string pid = std::to_string(getpid()) + "\n";
            if (ftruncate(fd_, 0) != 0 || ::pwrite(fd_, pid.data(), pid.size(), 0) < 0)
                return failure(path, "cannot write");
            return Done{};
        }
        char holder[32]{};
        const ssize_t size = ::pread(fd_, holder, sizeof holder - 1, 0);
        const std::string pid(holder, size > 0 ? std::strcspn(holder, "\n") : 0);
        return Error{.message = "another shunt-controlplane" + (pid.empty() ? "" : " (process " + pid + ")") +
                                " serves this run directory",
                     .remedy = "stop it first, or give this one another --run-dir and --state-dir",
                     .file = path};
    }

  private:
    int fd_{-1};
};

// A file that says to others that we are ready; gone when we are.
class ReadyFile {
  public:
    explicit ReadyFile(std::string path) : path_(std::move(path)) { unlink(path_.c_str()); }
    ~ReadyFile() { unlink(path_.c_str()); }
    ReadyFile(const ReadyFile&) = delete;
    ReadyFile& operator=(const ReadyFile&) = delete;
    void write() const { std::ofstream(path_) << getpid() << "\n"; }

  private:
    std::string path_;
};

// The configuration file, looked at again whenever somebody asks for the status.
class WatchedFile {
  public:
    explicit WatchedFile(std::string path) : path_(std::move(path)) {}

    bool differs_from(std::uint64_t hash) {
        struct stat found {};
        if (stat(path_.c_str(), &found) != 0) return false;  // gone is not edited
        if (found.st_mtim.tv_sec != seen_.tv_sec || found.st_mtim.tv_nsec != seen_.tv_nsec || found.st_size != size_) {
            seen_ = found.st_mtim;
            size_ = found.st_size;
            const auto text = config::read_text(path_);
            hash_ = text ? text_hash(*text) : 0;
        }
        return hash_ != hash;
    }

  private:
    std::string path_;
    timespec seen_{};
    off_t size_{-1};
    std::uint64_t hash_{};
};

Status make_directory(const std::string& path, mode_t mode) {
    if (mkdir(path.c_str(), mode) == 0 || errno == EEXIST) return Done{};
    Error e = failure(path, "cannot make the directory");
    if (errno == ENOENT) e.remedy = "make the directories above it first";
    return e;
}

void write_log(const Event& event) {
    const auto level = event.level == EventLevel::error  ? spdlog::level::err
                       : event.level == EventLevel::warn ? spdlog::level::warn
                                                         : spdlog::level::info;
    const std::string subject =
        event.service + (event.service.empty() || event.backend.empty() ? "" : "/") + event.backend;
    spdlog::log(level, "{}: {}{}{}", to_string(event.kind), subject, subject.empty() ? "" : ": ", event.text);
}

void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

// What makes several instances on one machine different.
std::string instance_name(const std::string& run_directory) {
    std::unique_ptr<char, decltype(&std::free)> real(realpath(run_directory.c_str(), nullptr), &std::free);
    const std::string path = real ? real.get() : run_directory;
    constexpr std::string_view usual = "/run/";
    return path.starts_with(usual) ? path.substr(usual.size()) : path.substr(1);
}

// Event loop around the core. Whoever has told the core something calls `wake`.
class Daemon {
  public:
    Daemon(const DaemonOptions& options, Boot boot, Events& events, LiveOutside& outside,
           std::unique_ptr<NetworkWatch> network)
        : options_(options),
          facts_{.config_file = options.config_file,
                 .started = MonotonicClock{}.now(),
                 .pid = static_cast<std::uint32_t>(getpid()),
                 .from_saved_state = boot.from_saved_state},
          events_(events),
          outside_(outside),
          network_(std::move(network)),
          netlink_(io_, ::dup(network_->fd())),
          core_(outside, events, std::move(boot.wanted), network_->snapshot(), outside.read_back(),
                std::random_device{}(), now()),
          prober_(io_, core_.wanted().desired.node.source),
          ha_(options.run_directory, events),
          sync_(io_, options.run_directory + "/shm", sync_surroundings()),
          api_(
              core_, events_, ha_, [this] { return documents(); }, geteuid(),
              [this](std::function<void()> work) { asio::post(io_, std::move(work)); }),
          monitor_([this] { return documents(); }),
          file_(options.config_file),
          state_file_(options.run_directory + "/shm/state"),
          watched_state_(options.run_directory + "/shm/state"),
          synced_state_(options.run_directory + "/shm/state") {
        outside_.when_killing([this](const shm::FlowFilter& filter) { sync_.erase(filter); });
    }

    Status run();
    void warn(std::string sentence) { facts_.warnings.push_back(std::move(sentence)); }

  private:
    Status listen();
    void listen_openly();
    Documents documents();
    void wake();
    void advance();
    void follow_network();
    void follow_signals();
    sync::Surroundings sync_surroundings();
    void follow_sync();
    void watch_dataplane();
    DataplaneSigns dataplane_signs();
    void reload();
    void log(EventKind kind, EventLevel level, std::string text) {
        events_.add({.unix_ms = now().unix_ms, .kind = kind, .level = level, .text = std::move(text)});
    }

    const DaemonOptions& options_;
    ProcessFacts facts_;
    Events& events_;
    LiveOutside& outside_;
    asio::io_context io_{1};
    std::unique_ptr<NetworkWatch> network_;
    asio::posix::stream_descriptor netlink_;
    Core core_;
    Prober prober_;
    Ha ha_;
    sync::Service sync_;
    Api api_;
    Monitor monitor_;
    WatchedFile file_;
    shm::StateFile state_file_;
    shm::StateFile watched_state_;  // another one: what documents read of the first stays mapped
    shm::StateFile synced_state_;   // the same
    std::unique_ptr<HttpServer> server_{};
    std::unique_ptr<HttpServer> open_server_{};  // on a TCP port, if one is wanted
    std::optional<AddressAndPort> open_at_{};    // as wanted, whether it could be had or not
    Instant next_open_{};
    std::string open_problem_{};
    asio::steady_timer timer_{io_};
    asio::steady_timer watch_timer_{io_};
    asio::signal_set signals_{io_, SIGTERM, SIGINT, SIGHUP};
    bool waking_{};
};

Status Daemon::run() {
    const ReadyFile ready(options_.run_directory + "/controlplane.ready");
    if (const Status started = core_.start(now()); !started) return started.error();
    if (!facts_.from_saved_state) core_.save_now(now());
    if (const Status listening = listen(); !listening) return listening.error();
    follow_signals();
    follow_network();
    watch_dataplane();
    wake();
    ready.write();
    sd_notify(0, "READY=1");
    log(EventKind::controlplane, EventLevel::info,
        "shunt-controlplane " SHUNT_VERSION " serves with generation " +
            std::to_string(core_.progress().published.value) + " from " +
            (facts_.from_saved_state ? "the saved state" : options_.config_file));
    io_.run();
    log(EventKind::controlplane, EventLevel::info, "stopping; tables and guard stay as they are");
    sd_notify(0, "STOPPING=1");
    return Done{};
}

Status Daemon::listen() {
    const auto& configured = core_.wanted().desired.api_socket;
    auto server = HttpServer::listen(
        io_, configured.empty() ? options_.run_directory + "/api.sock" : configured,
        [this](const HttpRequest& request, const HttpReply& reply) {
            api_.handle(request, reply);
            wake();
        },
        Api::error_page);
    if (!server) return server.error();
    server_ = std::move(*server);
    return Done{};
}

// Where [http] says; if that is impossible now, again a little later. The API does not depend on it.
void Daemon::listen_openly() {
    const auto& wanted = core_.wanted().desired.http_listen;
    const bool as_wanted = wanted == open_at_ && (open_server_ != nullptr || !wanted);
    const Now at = now();
    if (as_wanted || (wanted == open_at_ && at.instant < next_open_)) return;
    open_at_ = wanted;
    next_open_ = at.instant + Core::retry;
    open_server_.reset();
    std::string problem;
    if (wanted) {
        auto server = HttpServer::listen(
            io_, *wanted,
            [this](const HttpRequest& request, const HttpReply& reply) { monitor_.handle(request, reply); },
            Monitor::error_page, Monitor::limits);
        if (server) open_server_ = std::move(*server);
        if (!server) problem = server.error().text();
    }
    if (problem == open_problem_) return;
    open_problem_ = problem;
    if (!problem.empty()) log(EventKind::controlplane, EventLevel::error, problem);
}

Documents Daemon::documents() {
    facts_.file_differs = file_.differs_from(core_.wanted().file_hash);
    facts_.host_warnings = host_warnings();
    if (!open_problem_.empty()) facts_.host_warnings.push_back(open_problem_);
    facts_.ha = &ha_;
    facts_.sync = sync_.standing();
    const auto state = state_file_.look();
    return {core_, state, state_file_.left(), outside_.tables(), facts_, now()};
}

// Soon, and once for however many events come together.
void Daemon::wake() {
    if (std::exchange(waking_, true)) return;
    asio::post(io_, [this] { advance(); });
}

void Daemon::advance() {
    waking_ = false;
    const Now at = now();
    for (const ProbeRequest& request : core_.advance(at)) {
        prober_.probe(request, [this](const ProbeResult& result) {
            core_.probe_finished(result, now());
            wake();
        });
    }
    follow_sync();
    timer_.expires_at(asio::steady_timer::time_point(std::chrono::nanoseconds(core_.next_wakeup(at).nanoseconds)));
    timer_.async_wait([this](const ErrorCode& error) {
        if (!error) wake();
    });
}

sync::Surroundings Daemon::sync_surroundings() {
    return {.state = [this] { return synced_state_.look(); },
            .left = [this] { return synced_state_.left(); },
            .tables = [this] { return outside_.tables(); },
            .tables_identity = [this] { return outside_.tables_identity(); },
            .tell =
                [this](bool problem, const std::string& sentence) {
                    log(EventKind::ha, problem ? EventLevel::warn : EventLevel::info, sentence);
                }};
}

void Daemon::follow_sync() {
    sync_.follow(core_.wanted().desired, core_.wanted().revision);
    sync_.wake();
    ha_.hold_back(sync_.in_sync() ? "" : "the flows of the peers are not all here yet");
}

void Daemon::watch_dataplane() {
    follow_sync();
    listen_openly();
    ha_.configure(core_.wanted().desired.ha);
    ha_.withdraw(is_drained(core_.wanted()) ? "the node is drained" : "");
    ha_.look(dataplane_signs(), now());
    watch_timer_.expires_after(std::chrono::nanoseconds(Ha::interval.nanoseconds));
    watch_timer_.async_wait([this](const ErrorCode& error) {
        if (!error) watch_dataplane();
    });
}

DataplaneSigns Daemon::dataplane_signs() {
    const auto state = watched_state_.look();
    if (!state || !watched_state_.held()) return {};
    const shm::StateHeader& header = state->header();
    // Until it is ready the word may still be a predecessor's.
    const bool ready = header.ready.load(std::memory_order_acquire) != 0;
    constexpr shm::NodeHealth starting{.state = shm::NodeHealth::State::unfit, .fault = shm::NodeFault::starting};
    const shm::NodeHealth health = ready ? header.health.load(std::memory_order_acquire) : starting;
    return {.held = true,
            .heartbeat = header.heartbeat.load(std::memory_order_relaxed),
            .health = health,
            .health_since = header.health_since.load(std::memory_order_relaxed),
            .track_file_failed = header.track_file_failed.load(std::memory_order_relaxed) != 0,
            .fault = shm::text_of(health, state->ports())};
}

void Daemon::follow_network() {
    netlink_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const ErrorCode& error) {
        if (error) return;
        const auto changed = network_->process();
        if (!changed) {
            log(EventKind::controlplane, EventLevel::warn, "reading the kernel's routes: " + changed.error().text());
        } else if (*changed) {
            core_.network_changed(network_->snapshot());
            wake();
        }
        follow_network();
    });
}

void Daemon::follow_signals() {
    signals_.async_wait([this](const ErrorCode& error, int signal) {
        if (error) return;
        if (signal != SIGHUP) return io_.stop();
        reload();
        follow_signals();
    });
}

void Daemon::reload() {
    auto file = read_config_file(options_.config_file);
    if (!file) {
        return log(EventKind::config, EventLevel::error,
                   "SIGHUP: the file is refused, nothing changed: " + file.error().text());
    }
    const auto answered = [this](const Answer& answer) {
        if (const auto* rejection = std::get_if<Rejection>(&answer)) {
            log(EventKind::config, EventLevel::error, "SIGHUP: refused, nothing changed: " + rejection->error.text());
        } else {
            const auto count = std::get<ChangeReply>(answer).changes.size();
            log(EventKind::config, EventLevel::info,
                "SIGHUP: " + options_.config_file + " is taken, " + std::to_string(count) + " keys changed");
        }
    };
    core_.request(ApplyConfig{std::move(file->desired), Origin::file, file->hash}, {.wait = {}, .who = "SIGHUP"}, now(),
                  answered);
    wake();
}

Status make_run_directory(const std::string& path) {
    if (const Status made = make_directory(path, 0755); !made) return made.error();
    return make_directory(path + "/shm", 0700);
}

// Shared memory on a disk would be written back to it all the time.
bool in_memory(const std::string& directory) {
    struct statfs found {};
    if (statfs(directory.c_str(), &found) != 0) return true;
    return found.f_type == TMPFS_MAGIC || found.f_type == HUGETLBFS_MAGIC;
}

}  // namespace

Status detach(const DaemonOptions& options) {
    InstanceLock lock;
    if (access(options.run_directory.c_str(), F_OK) == 0) {  // else nobody can run there
        if (const Status locked = lock.take(options.run_directory + "/controlplane.lock"); !locked)
            return locked.error();
    }
    if (const auto file = read_config_file(options.config_file); file && !file->desired.announce_device.empty()) {
        Announcer announcer;
        const auto found = announcer.found_on(file->desired.announce_device);
        if (!found) return found.error();
        if (const Status gone = announcer.announce({}); !gone) return gone.error();
    }
    return Guard(instance_name(options.run_directory)).remove();
}

Status run_daemon(const DaemonOptions& options) {
    spdlog::set_default_logger(spdlog::stderr_color_mt("shunt-controlplane"));
    std::signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    Store store(options.state_directory);
    if (access(store.path().c_str(), F_OK) != 0) {  // with nothing to serve, nothing is left behind
        if (const auto file = read_config_file(options.config_file); !file) return file.error();
    }
    if (const Status made = make_run_directory(options.run_directory); !made) return made.error();
    InstanceLock lock;
    if (const Status locked = lock.take(options.run_directory + "/controlplane.lock"); !locked) return locked.error();

    Events events(write_log);
    if (const Status opened = store.open(); !opened) return opened.error();
    auto start = boot(store, options.config_file, events, now());
    if (!start) return start.error();

    const std::string shared = options.run_directory + "/shm";
    NewTables publishing;
    std::random_device entropy;
    for (auto& word : publishing.random_seed.words) word = std::uint64_t{entropy()} << 32 | entropy();
    auto publisher = Publisher::open(shared, shared + "/state", publishing);
    if (!publisher) return publisher.error();
    auto network = NetworkWatch::open();
    if (!network) return network.error();

    const std::string replaced = publisher->replaced();
    LiveOutside outside(std::move(store), std::move(*publisher), Guard(instance_name(options.run_directory)));
    Daemon daemon(options, std::move(*start), events, outside, std::move(*network));
    if (!in_memory(shared)) {
        daemon.warn(shared + " is neither on tmpfs nor on hugetlbfs: shared memory will be written to a disk");
    }
    if (!replaced.empty()) {
        daemon.warn(replaced);
        events.add(
            {.unix_ms = now().unix_ms, .kind = EventKind::publish, .level = EventLevel::error, .text = replaced});
    }
    return daemon.run();
}

}  // namespace shunt::controlplane
