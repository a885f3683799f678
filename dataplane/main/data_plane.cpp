#include "dataplane/main/data_plane.h"

#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>

#include "dataplane/worker_loop.h"
#include "dataplane/xdp/library_log.h"

namespace shunt::dataplane {
namespace {

constexpr Duration idle_turn = Duration::milliseconds(1);
constexpr Duration waiting_turn{100'000};  // workers are about to pass a generation
constexpr Duration busy_turn{10'000};      // or to carry out a piece of a request
constexpr Duration links_interval = Duration::seconds(1);
constexpr Duration house_interval = Duration::milliseconds(100);
constexpr int news_per_turn = 64;
constexpr long idle_sleep_nanoseconds = 50'000;

void sleep_a_little() {
    const timespec time{.tv_sec = 0, .tv_nsec = idle_sleep_nanoseconds};
    nanosleep(&time, nullptr);
}

// While DPDK starts it warns of what is as it should be (no pages of 1 GiB); what matters then comes back as an error.
std::atomic<bool> serving{false};

timespec to_timespec(Duration d) {
    return {.tv_sec = d.nanoseconds / 1'000'000'000, .tv_nsec = d.nanoseconds % 1'000'000'000};
}

sigset_t ending_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

constexpr std::array<const char*, static_cast<std::size_t>(shm::RefusalReason::count)> refusal_texts{
    "it is no tables region", "another layout version",  "it is larger than the file",
    "a checksum is wrong",    "an index points nowhere", "it is older than the one in use"};

}  // namespace

Result<std::unique_ptr<DataPlane>> DataPlane::start(const config::Dataplane& settings, const std::string& directory) {
    const sigset_t ending = ending_signals();
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // before DPDK makes threads

    auto lock = InstanceLock::take(directory);
    if (!lock) return lock.error();
    ReadyFile ready(directory);
    auto cores =
        dpdk::plan_cores(settings.workers, settings.cores, dpdk::allowed_cores(), settings.idle == config::Idle::sleep);
    if (!cores) return cores.error();
    auto ports = PortSet::claim(settings, directory);
    if (!ports) return ports.error();
    const dpdk::SystemMemory memory = dpdk::system_memory();
    auto state = StateRegion::take(directory + "/shm", {.shape = shm::state_shape(settings.workers, settings.flows),
                                                        .boot_id = read_boot_id(),
                                                        .flow_seed = random_seed(),
                                                        .now = MonotonicClock().now(),
                                                        .memory_available = memory.available,
                                                        .huge_memory_available = memory.huge_bytes_free()});
    if (!state) return state.error();
    spdlog::log(state->origin() == StateRegion::Origin::damaged ? spdlog::level::err : spdlog::level::info, "{}",
                state->remark());

    std::unique_ptr<DataPlane> self(
        new DataPlane(settings, directory, *std::move(lock), std::move(ready), *std::move(ports), *std::move(state)));
    self->cores_ = *std::move(cores);
    if (auto mapped = self->tables_region_.map(); !mapped) return mapped.error();
    if (auto done = self->start_dpdk(); !done) return done.error();
    if (auto done = self->start_neighbours(); !done) return done.error();
    return self;
}

DataPlane::DataPlane(const config::Dataplane& settings, const std::string& directory, InstanceLock lock,
                     ReadyFile ready, PortSet ports, StateRegion state)
    : settings_(settings),
      directory_(directory),
      lock_(std::move(lock)),
      ready_(std::move(ready)),
      ports_(std::move(ports)),
      region_(std::move(state)),
      state_(region_.state()),
      tables_region_(directory + "/shm/tables"),
      hand_over_(settings.workers),
      path_mtus_(state_.path_mtus(), state_.header().path_mtus_known) {
    const sigset_t ending = ending_signals();
    signals_ = signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC);
}

DataPlane::~DataPlane() {
    if (signals_ >= 0) close(signals_);
}

Status DataPlane::start_dpdk() {
    const dpdk::PoolSize size = ports_.pool_size(settings_.workers);
    const auto memory = dpdk::plan_memory(size.bytes() * settings_.workers, dpdk::system_memory());
    if (!memory) return memory.error();
    if (!memory->warning.empty()) spdlog::warn("{}", memory->warning);
    const auto arguments = dpdk::eal_arguments(cores_, *memory);
    const auto log = [](const std::string& line) {
        spdlog::log(serving ? spdlog::level::warn : spdlog::level::debug, "DPDK: {}", line);
    };
    xdp::set_library_log([](const char* line) { spdlog::debug("{}", line); });
    if (auto done = dpdk::start_environment(arguments, directory_, log); !done) return done;
    for (std::uint16_t i = 0; i < settings_.workers; ++i) {
        auto pool = dpdk::PacketPool::create(WorkerIndex(i), size);
        if (!pool) return pool.error();
        pools_.push_back(*pool);
    }
    if (auto done = ports_.open(pools_); !done) return done;
    ports_.describe(state_);
    return Done{};
}

Status DataPlane::start_neighbours() {
    links_.emplace(LinkAddresses(state_.links(), state_.neighbours()), ports_.interfaces());
    auto neighbours = Neighbours::open(
        [this](const Neighbour& neighbour, const std::optional<MacAddress>& mac) { links_->hear(neighbour, mac); });
    if (!neighbours) return neighbours.error();
    neighbours_.emplace(*std::move(neighbours));
    return neighbours_->process(clock_.now());
}

Status DataPlane::launch_workers() {
    const auto predecessors = region_.predecessors().regions();
    for (std::uint16_t i = 0; i < settings_.workers; ++i) {
        auto running = std::make_unique<Running>();
        running->ports = ports_.queues_of(WorkerIndex(i), pools_[i]);
        std::vector<DpdkPort*> ports;
        for (auto& port : running->ports) ports.push_back(&port);
        running->worker = std::make_unique<DpdkWorker>(tables_region_.data(), state_, WorkerIndex(i), ports, clock_,
                                                       hand_over_, predecessors);
        running->loop = [this, worker = running->worker.get()] {
            run_worker(*worker, stop_workers_, settings_.idle == config::Idle::sleep, sleep_a_little);
        };
        state_.workers()[i].core = cores_.workers[i];
        workers_.push_back(std::move(running));
        if (auto done = dpdk::launch_worker(WorkerIndex(i), workers_.back()->loop); !done) return done;
    }
    std::vector<ForgetList*> lists;
    for (const auto& running : workers_) lists.push_back(&running->worker->forget_list());
    requests_.emplace(tables_region_.header(), state_, std::move(lists), &region_.predecessors());
    return Done{};
}

void DataPlane::stop_workers() {
    stop_workers_ = true;
    dpdk::wait_for_workers();
    for (const auto& running : workers_) running->worker->wind_up();
    report(ports_.count(state_));
    ports_.close();
}

Status DataPlane::run() {
    state_.header().ready.store(1, std::memory_order_release);
    if (auto done = ready_.announce(); !done) return done;
    serving = true;
    spdlog::info("ready: {} workers, {} ports", settings_.workers, settings_.ports.size());
    while (!stop_) {
        turn(clock_.now());
        if (!stop_) wait_for_work();
    }
    state_.header().ready.store(0, std::memory_order_release);
    stop_workers();
    state_.header().heartbeat.store(clock_.now().nanoseconds, std::memory_order_relaxed);
    spdlog::info("stopped; packets for our services are dropped until shunt-dataplane runs again, or --detach");
    return failure_;
}

void DataPlane::turn(Instant now) {
    state_.header().heartbeat.store(now.nanoseconds, std::memory_order_relaxed);
    if (neighbours_spoke_ || now >= next_links_) keep_links(now);
    for (const auto& running : workers_) hear(running->worker->news(), now);
    if (!tables_region_.mapped() || !acceptor_) look_for_tables();
    if (acceptor_) take_newest(now);
    roll_out(now);
    if (requests_) requests_->turn(tables_, tick_at(now));
    region_.predecessors().turn(state_, tables_, now, tick_at(now));
    if (now >= next_sums_) {
        flow_sums_.sum(state_);
        next_sums_ = now + FlowSums::interval;
    }
    if (now >= next_house_) keep_house(now);
}

void DataPlane::hear(News& news, Instant now) {
    // A few at a time: workers may ask faster than the kernel answers.
    for (int i = 0; i < news_per_turn; ++i) {
        const auto request = news.neighbours.pop();
        if (!request) break;
        const auto neighbour = links_->neighbour_of(request->address, request->port);
        if (neighbour) report(neighbours_->request(*neighbour));
    }
    const Tick tick = tick_at(now);
    while (const auto lowered = news.path_mtus.pop()) path_mtus_.lower(lowered->address, lowered->mtu, tick);
}

void DataPlane::wait_for_work() {
    pollfd events[] = {{.fd = signals_, .events = POLLIN, .revents = 0},
                       {.fd = neighbours_->fd(), .events = POLLIN, .revents = 0}};
    const bool busy = requests_ && requests_->busy();
    const timespec timeout = to_timespec(busy ? busy_turn : rollout_.waiting() ? waiting_turn : idle_turn);
    if (ppoll(events, 2, &timeout, nullptr) < 0) return;
    stop_ = events[0].revents != 0;
    neighbours_spoke_ = events[1].revents != 0;
}

// Daemons start in any order: until there are tables, there is nothing to forward by.
void DataPlane::look_for_tables() {
    const auto mapped = tables_region_.mapped() ? Result<bool>(true) : tables_region_.map();
    if (!mapped) return report(mapped.error());
    if (!*mapped) return;
    failure_ = use_tables();
    stop_ = stop_ || !failure_;
}

Status DataPlane::use_tables() {
    if (!region_.bind_tables(shm::identity_of(tables_region_.header()))) {
        spdlog::warn("{} is another one than the flows were learned from: they are given up", tables_region_.path());
    }
    acceptor_.emplace(tables_region_.data(), tables_region_.readable(), state_.header());
    // From here on nothing that is published is freed, until there is a decision about it.
    acceptor_->announce();
    take_newest(clock_.now());
    state_.header().attaching.store(0, std::memory_order_release);
    return launch_workers();
}

void DataPlane::take_newest(Instant now) {
    const std::uint64_t published = tables_region_.header().published.load(std::memory_order_acquire);
    if (published == state_.header().accepted.load(std::memory_order_relaxed) || published == last_refused_) return;
    acceptor_->set_readable(tables_region_.readable());
    const auto tables = acceptor_->validate_newest();
    if (!tables) return tell_refusals();
    const auto known = [this](const Neighbour& neighbour) { return neighbours_->find(neighbour); };
    if (links_->prepare(tables->next_hops(), known)) {
        neighbours_->watch(links_->watched());
        keep_links(now);
    }
    acceptor_->accept(*tables);
    tables_ = *tables;
    flow_sums_.follow(tables_);
    rollout_.accepted(tables_.generation());
}

void DataPlane::tell_refusals() {
    const std::uint64_t refused = state_.header().refused_generation.load(std::memory_order_relaxed);
    if (refused == last_refused_) return;
    last_refused_ = refused;
    std::string reasons;
    for (std::size_t i = 0; i < refusal_texts.size(); ++i) {
        const std::uint64_t count = state_.header().refusals[i].read();
        if (count != 0) reasons += fmt::format("; {} times: {}", count, refusal_texts[i]);
    }
    spdlog::error("generation {} is refused, the one before stays in force{}", refused, reasons);
}

void DataPlane::roll_out(Instant now) {
    if (const auto passed = rollout_.step(now, state_.workers())) {
        to_follow_ = *passed;
        next_follow_ = now;
    }
    if (const auto worker = rollout_.stalled()) {
        spdlog::critical("worker {} has stood still for 2 s: giving up, so that a successor takes over its flows",
                         worker->value);
        std::abort();
    }
    if (!to_follow_ || now < next_follow_) return;
    // Not before every worker has passed: no packet may be steered to one that does not know its service yet.
    if (const auto done = ports_.follow(tables_); !done) {
        next_follow_ = now + links_interval;
        return report(done);
    }
    state_.header().steered.store(to_follow_->value, std::memory_order_release);
    to_follow_.reset();
}

void DataPlane::keep_links(Instant now) {
    report(neighbours_->process(now));
    report(ports_.keep_punting());
    path_mtus_.tidy(tick_at(now));
    neighbours_spoke_ = false;
    next_links_ = now + links_interval;
}

void DataPlane::keep_house(Instant now) {
    next_house_ = now + house_interval;
    report(ports_.count(state_));
    for (const auto& neighbour : links_->next_used()) report(neighbours_->request(neighbour));
    if (tables_region_.mapped() && !replacement_told_ && tables_region_.replaced()) {
        replacement_told_ = true;
        spdlog::error(
            "{} was replaced by another file: the old tables stay in force; restart shunt-dataplane to use the new",
            tables_region_.path());
    }
}

// What goes on being wrong is said once.
void DataPlane::report(const Status& status) {
    if (status || status.error().text() == last_report_) return;
    last_report_ = status.error().text();
    spdlog::error("{}", last_report_);
}

}  // namespace shunt::dataplane
