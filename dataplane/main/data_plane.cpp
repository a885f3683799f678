#include "dataplane/main/data_plane.h"

#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <limits>

#include "dataplane/main/test_hooks.h"
#include "dataplane/worker_loop.h"

namespace shunt::dataplane {
namespace {

constexpr Duration idle_turn = Duration::milliseconds(1);
constexpr Duration waiting_turn{100'000};  // workers are about to pass a generation
constexpr Duration busy_turn{10'000};      // or to carry out a piece of a request
constexpr Duration links_interval = Duration::seconds(1);
constexpr Duration house_interval = Duration::milliseconds(100);
constexpr int news_per_turn = 64;
constexpr Duration longest_launch = Duration::seconds(1);
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

StateNeeds state_needs(const config::Dataplane& settings) {
    const dpdk::SystemMemory memory = dpdk::system_memory();
    return {.shape = shm::state_shape(settings.workers, settings.flows),
            .boot_id = read_boot_id(),
            .flow_seed = random_seed(),
            .now = MonotonicClock().now(),
            .memory_available = memory.available,
            .huge_memory_available = memory.huge_bytes_free()};
}

// Beside a predecessor that forwards: one of our own, where we could not adopt its region. So what takes its time, or
// may lack its memory, comes before that one stops.
Result<std::optional<StateRegion>> prepare_region(const std::string& directory, const StateNeeds& needs) {
    const auto adopts = StateRegion::can_adopt(directory, needs);
    if (!adopts) return adopts.error();
    if (*adopts) return std::optional<StateRegion>{};
    auto made = StateRegion::prepare(directory, needs);
    if (!made) return made.error();
    return std::optional(*std::move(made));
}

Result<StateRegion> take_region(const std::string& directory, const StateNeeds& needs,
                                std::optional<StateRegion> prepared) {
    if (!prepared) return StateRegion::take(directory, needs);
    if (auto done = prepared->take_over(needs.now); !done) return done.error();
    return *std::move(prepared);
}

}  // namespace

// In this order: what can be refused is refused before anything is touched, and a predecessor forwards until everything
// is done that does not need its region.
Result<std::unique_ptr<DataPlane>> DataPlane::start(const config::DesiredState& desired, const std::string& directory,
                                                    std::vector<std::string> arguments, Inheritance* from) {
    const config::Dataplane& settings = desired.dataplane;
    const sigset_t ending = ending_signals();
    pthread_sigmask(SIG_BLOCK, &ending, nullptr);  // before DPDK makes threads
    auto all_cores = dpdk::allowed_cores();        // before it binds this one

    auto prepared = prepare(desired, directory, from);
    if (!prepared) return prepared.error();
    const std::string shared = directory + "/shm";
    StateNeeds needs = state_needs(settings);
    auto own = from != nullptr ? prepare_region(shared, needs) : Result(std::optional<StateRegion>{});
    if (!own) return own.error();
    Inheritance::Stopped stopped;
    if (from != nullptr) {
        auto handed_over = from->take_over(prepared->can_inherit);
        if (!handed_over) return handed_over.error();
        stopped = *handed_over;
        if (!stopped.keeps_sockets) prepared->ports.forsake_sockets();
    }
    needs.now = MonotonicClock().now();
    if (from != nullptr && !*own) needs.lock = from->state_lock.release();
    auto state = take_region(shared, needs, *std::move(own));
    if (!state) return state.error();
    spdlog::log(state->origin() == StateRegion::Origin::damaged ? spdlog::level::err : spdlog::level::info, "{}",
                state->remark());
    if (from != nullptr) die_if_asked("adopted");

    std::unique_ptr<DataPlane> self(new DataPlane(settings, directory, *std::move(prepared), *std::move(state)));
    self->arguments_ = std::move(arguments);
    self->all_cores_ = std::move(all_cores);
    if (auto done = self->begin(); !done) return done.error();
    if (from == nullptr) return self;
    if (auto done = self->take_over(*from, stopped); !done) return done.error();
    return self;
}

Result<DataPlane::Prepared> DataPlane::prepare(const config::DesiredState& desired, const std::string& directory,
                                               Inheritance* from) {
    const config::Dataplane& settings = desired.dataplane;
    auto lock = from != nullptr ? InstanceLock::inherit(from->instance_lock.release()) : InstanceLock::take(directory);
    if (!lock) return lock.error();
    ReadyFile ready(directory);
    if (from == nullptr) ready.remove_leftover();
    NodeWatch watch(desired.ha, directory);
    if (auto begun = from == nullptr ? watch.begin() : Done{}; !begun) return begun.error();
    auto cores =
        dpdk::plan_cores(settings.workers, settings.cores, dpdk::allowed_cores(), settings.idle == config::Idle::sleep);
    if (!cores) return cores.error();
    auto ports = PortSet::claim(settings, directory, from);
    if (!ports) return ports.error();
    Prepared prepared{.lock = *std::move(lock),
                      .ready = std::move(ready),
                      .watch = std::move(watch),
                      .cores = *std::move(cores),
                      .ports = *std::move(ports)};
    if (auto done = start_dpdk(settings, directory, prepared, from); !done) return done.error();
    return prepared;
}

DataPlane::DataPlane(const config::Dataplane& settings, const std::string& directory, Prepared prepared,
                     StateRegion state)
    : settings_(settings),
      directory_(directory),
      lock_(std::move(prepared.lock)),
      ready_(std::move(prepared.ready)),
      watch_(std::move(prepared.watch)),
      ports_(std::move(prepared.ports)),
      region_(std::move(state)),
      state_(region_.state()),
      tables_region_(directory + "/shm/tables"),
      peers_region_(directory + "/shm/peers"),
      cores_(std::move(prepared.cores)),
      pools_(std::move(prepared.pools)),
      hand_over_(settings.workers),
      path_mtus_(state_.path_mtus(), state_.header().path_mtus_known) {
    const sigset_t ending = ending_signals();
    signals_ = signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC);
}

DataPlane::~DataPlane() {
    if (signals_ >= 0) close(signals_);
}

Status DataPlane::start_dpdk(const config::Dataplane& settings, const std::string& directory, Prepared& prepared,
                             Inheritance* from) {
    const dpdk::PoolSize size = prepared.ports.pool_size(settings.workers);
    prepared.can_inherit = from != nullptr && prepared.ports.can_inherit(*from, size);
    dpdk::PoolSize wanted = size;
    if (prepared.can_inherit) wanted.data_room = 0;  // the frames are there
    const auto memory = dpdk::plan_memory(wanted, settings.workers, dpdk::system_memory());
    if (!memory) return memory.error();
    if (!memory->warning.empty()) spdlog::warn("{}", memory->warning);
    const auto arguments = dpdk::eal_arguments(prepared.cores, *memory);
    const auto log = [](const std::string& line) {
        spdlog::log(serving ? spdlog::level::warn : spdlog::level::debug, "DPDK: {}", line);
    };
    if (auto done = dpdk::start_environment(arguments, directory, log); !done) return done;
    for (std::uint16_t i = 0; i < settings.workers; ++i) {
        auto frames = prepared.can_inherit ? xdp::Frames::map(std::move(from->frames[i].file), size.frames())
                                           : xdp::Frames::create(size.frames(), memory->huge_pages);
        if (!frames) return frames.error();
        auto pool = dpdk::PacketPool::create(WorkerIndex(i), *std::move(frames));
        if (!pool) return pool.error();
        prepared.pools.push_back(*pool);
    }
    return prepared.can_inherit ? prepared.ports.prepare_sockets(*from) : Status(Done{});
}

Status DataPlane::begin() {
    if (auto mapped = map_tables(); !mapped) return mapped.error();
    if (auto done = ports_.open(pools_); !done) return done;
    ports_.describe(state_);
    return start_neighbours();
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
        running->worker = std::make_unique<DpdkWorker>(copy_->data(), state_, WorkerIndex(i), ports, clock_, hand_over_,
                                                       predecessors);
        running->loop = loop_of(*running);
        state_.workers()[i].core = cores_.workers[i];
        workers_.push_back(std::move(running));
        follow_peers(clock_.now());
        if (auto done = dpdk::launch_worker(WorkerIndex(i), workers_.back()->loop); !done) return done;
    }
    std::vector<ForgetList*> lists;
    std::vector<Wedge*> wedges;
    for (const auto& running : workers_) {
        lists.push_back(&running->worker->forget_list());
        if (has_test_hooks()) wedges.push_back(&running->wedge);
    }
    requests_.emplace(tables_region_.header(), state_, std::move(lists), std::move(wedges), &region_.predecessors(),
                      inherited_request_);
    return Done{};
}

std::function<void()> DataPlane::loop_of(Running& running) {
    const bool may_sleep = settings_.idle == config::Idle::sleep;
    if (!has_test_hooks()) {
        return [this, may_sleep, &running] { run_worker(*running.worker, stop_workers_, may_sleep, sleep_a_little); };
    }
    return [this, may_sleep, &running] {
        Wedgeable worker(*running.worker, running.wedge, clock_, sleep_a_little);
        run_worker(worker, stop_workers_, may_sleep, sleep_a_little);
    };
}

void DataPlane::halt_workers() {
    stop_workers_ = true;
    dpdk::wait_for_workers();
    for (const auto& running : workers_) running->worker->wind_up();
}

void DataPlane::stop_workers() {
    halt_workers();
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
    if (handed_over_) return Done{};
    if (successor_) successor_->kill();
    state_.header().ready.store(0, std::memory_order_release);
    watch_.end(clock_.now(), state_);  // before the packets stop
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
    if (requests_ && inherited_request_ == 0) follow_upgrade(now);
    if (handed_over_) return;  // nothing here is ours any more
    region_.predecessors().turn(state_, tables_, now, tick_at(now));
    if (now >= next_sums_) {
        flow_sums_.sum(state_);
        next_sums_ = now + FlowSums::interval;
    }
    if (now >= next_house_) keep_house(now);
    if (now >= next_watch_) watch_over(now);
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

// The control plane's file; if that is of no use to the flows there are, what was kept of it: then the last tables stay
// in force until there is a better file.
Result<bool> DataPlane::map_tables() {
    const std::uint64_t known = state_.header().tables_identity;
    const auto fits = [known](const TablesRegion& region) {
        return region.is_sound() && (known == 0 || known == shm::identity_of(region.header()));
    };
    auto mapped = tables_region_.map();
    if (tables_region_.is_newer() || (mapped && *mapped && fits(tables_region_))) return mapped;
    TablesRegion kept(tables_region_.path());
    const auto copy = kept.map_copy();
    if (!copy || !*copy || !fits(kept)) return mapped;
    spdlog::error("{} cannot be used: what was kept of it stays in force", tables_region_.path());
    tables_region_ = std::move(kept);
    return true;
}

// Daemons start in any order: until there are tables, there is nothing to forward by.
void DataPlane::look_for_tables() {
    const auto mapped = tables_region_.mapped() ? Result<bool>(true) : map_tables();
    if (!mapped) return report(mapped.error());
    if (!*mapped) return;
    failure_ = use_tables();
    stop_ = stop_ || !failure_;
}

Status DataPlane::use_tables() {
    if (!region_.bind_tables(shm::identity_of(tables_region_.header()))) {
        spdlog::warn("{} is another one than the flows were learned from: they are given up", tables_region_.path());
    }
    auto copy = shm::TablesCopy::make(shm::TablesCopy::path_of(tables_region_.path()), tables_region_.header());
    if (!copy) return copy.error();
    copy_.emplace(*std::move(copy));
    acceptor_.emplace(tables_region_.data(), tables_region_.readable(), state_.header(), &*copy_);
    // From here on nothing that is published is freed, until there is a decision about it.
    acceptor_->announce();
    take_newest(clock_.now());
    state_.header().attaching.store(0, std::memory_order_release);
    return launch_workers();
}

void DataPlane::take_newest(Instant now) {
    const std::uint64_t published = tables_region_.header().published.load(std::memory_order_acquire);
    if (published == state_.header().accepted.load(std::memory_order_relaxed) || published == last_refused_) return;
    acceptor_->set_source(tables_region_.data(), tables_region_.readable());
    const auto tables = acceptor_->validate_newest();
    if (!tables) return tell_refusals();
    const auto known = [this](const Neighbour& neighbour) { return neighbours_->find(neighbour); };
    if (links_->prepare(tables->next_hops(), known)) {
        neighbours_->watch(links_->watched());
        keep_links(now);
    }
    acceptor_->accept(*tables);
    report(copy_->take_name());
    tables_ = *tables;
    flow_sums_.follow(tables_);
    rollout_.accepted(tables_.generation());
}

// What was refused was in a file that is gone: another one may have a generation of the same number.
void DataPlane::forget_refusal() {
    last_refused_ = 0;
    state_.header().refused_generation.store(0, std::memory_order_relaxed);
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
    if (const auto passed = rollout_.step(state_.workers())) {
        to_follow_ = *passed;
        next_follow_ = now;
    }
    give_up_if_stalled();
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
    watch_.counted(signs());
    for (const auto& neighbour : links_->next_used()) report(neighbours_->request(neighbour));
    if (!workers_.empty()) follow_peers(now);
    if (tables_.generation()) report(copy_->take_name());
    if (acceptor_ && tables_region_.replaced()) follow_replacement();
}

// What other nodes know. A worker that sleeps will look for it again; one that stands still keeps what it uses.
void DataPlane::follow_peers(Instant now) {
    const shm::StateHeader& header = state_.header();
    peers_region_.look(header.tables_identity, {header.downtime_nanoseconds});
    Instant since = now;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
        workers_[i]->worker->follow_peers(peers_region_.flows());
        const shm::WorkerBlock& block = state_.workers()[i];
        if (block.online.load(std::memory_order_acquire) == 0) continue;
        since = std::min(since, Instant{static_cast<std::int64_t>(block.heartbeat.read())});
    }
    peers_region_.release(since, clock_.now());
}

// Another file has the name of the one that is mapped. Usually it is that file again, made from our copy, and goes on
// where the copy ends; workers need not know.
void DataPlane::follow_replacement() {
    TablesRegion other(tables_region_.path());
    const auto mapped = other.map();
    if (!mapped) return report(mapped.error());
    if (!*mapped) return;
    if (shm::identity_of(other.header()) != state_.header().tables_identity) return start_over(std::move(other));
    spdlog::warn("{} was replaced by a file that goes on where it left off", tables_region_.path());
    tables_region_ = std::move(other);
    requests_->follow(tables_region_.header());
    forget_refusal();
}

// Its numbers are others than those of the flows. Not before there is something new in it, and sound: it may be the old
// file, damaged.
void DataPlane::start_over(TablesRegion other) {
    const std::uint64_t newest = other.header().published.load(std::memory_order_acquire);
    if (newest <= state_.header().accepted.load(std::memory_order_relaxed) || !other.is_sound()) return;
    halt_workers();
    workers_.clear();
    tables_ = {};
    flow_sums_.follow(tables_);
    to_follow_.reset();
    state_.header().accepted.store(0, std::memory_order_seq_cst);
    tables_region_ = std::move(other);
    forget_refusal();
    stop_workers_ = false;
    failure_ = use_tables();
    stop_ = stop_ || !failure_;
}

// ------------------------------------------------------------------------------------------------ planned upgrade

void DataPlane::follow_upgrade(Instant now) {
    if (successor_ && !requests_->upgrade()) {  // it was given up
        if (!successor_->is_gone()) return;
        successor_.reset();
        region_.remove_others();  // it may have prepared one
        return;
    }
    if (!requests_->upgrade()) return;
    if (!successor_) return start_successor(now);
    const auto progress = successor_->look(now);
    if (progress == Successor::Progress::preparing) return;
    if (progress == Successor::Progress::ready) return hand_over(now);
    spdlog::error("no upgrade, this process goes on: {}", successor_->failure());
    successor_->kill();
    requests_->refuse_upgrade(successor_->failure());
}

void DataPlane::start_successor(Instant now) {
    const auto& wanted = *requests_->upgrade();
    const std::string program = wanted.program.empty() ? own_program() : wanted.program;
    spdlog::info("upgrade: {} is started, to take over", program);
    dpdk::run_on(all_cores_);
    auto successor = Successor::start(program, arguments_, bequests(), now + wanted.limit);
    dpdk::run_on(cores_.main);
    if (successor) {
        successor_.emplace(*std::move(successor));
        return;
    }
    spdlog::error("no upgrade, this process goes on: {}", successor.error().text());
    requests_->refuse_upgrade(successor.error().text());
}

std::vector<Bequest> DataPlane::bequests() const {
    std::vector<Bequest> all{{{.kind = Message::Kind::instance_lock}, lock_.descriptor()},
                             {{.kind = Message::Kind::state_lock}, region_.lock()}};
    for (std::uint32_t i = 0; i < pools_.size(); ++i) {
        const xdp::Frames& frames = pools_[i].frames();
        all.push_back({{.kind = Message::Kind::frames, .worker = i, .shape = frames.shape()}, frames.file()});
    }
    ports_.bequeath(all);
    all.push_back({{.kind = Message::Kind::all, .number = hand_over_protocol}});
    return all;
}

// From here on there is no way back but to start over: the successor may have done anything to the rings.
void DataPlane::hand_over(Instant now) {
    stop_workers();
    const bool keeps_sockets = successor_->wants_sockets() && ports_.settle();
    if (!keeps_sockets) ports_.close_sockets();
    const bool is_fit = state_.header().health.load(std::memory_order_relaxed).state == shm::NodeHealth::State::fit;
    Message stopped{.kind = Message::Kind::stopped, .number = requests_->upgrade()->number, .at = now.nanoseconds};
    stopped.keeps_sockets = keeps_sockets ? 1 : 0;
    stopped.was_fit = is_fit ? 1 : 0;
    if (!successor_->hand_over(stopped)) {
        successor_->kill();
        successor_->wait_until_gone();
        execute_anew("the successor did not forward");
    }
    ready_.leave_to(successor_->pid());
    spdlog::info("handed over to process {}", successor_->pid());
    handed_over_ = stop_ = true;
}

void DataPlane::execute_anew(const std::string& why) {
    spdlog::critical("{}: starting over, with the flows as they are", why);
    dpdk::run_on(all_cores_);
    std::vector<char*> words;
    for (auto& argument : arguments_) words.push_back(argument.data());
    words.push_back(nullptr);
    execv("/proc/self/exe", words.data());
    std::abort();
}

Status DataPlane::take_over(Inheritance& from, const Inheritance::Stopped& stopped) {
    die_if_asked("bound");
    inherited_request_ = stopped.request;
    watch_.take_over(clock_.now(), stopped.was_fit);
    const Instant begun = clock_.now();
    turn(begun);
    if (!requests_ || !tables_.generation()) return Error{.message = "the published tables cannot be used"};
    const Instant deadline = begun + longest_launch;
    while (all_have_polled() < begun && clock_.now() < deadline) sleep_a_little();
    const Instant running = all_have_polled();
    if (running < begun) return Error{.message = "a worker does not run"};
    if (auto done = lock_.sign(directory_); !done) return done;
    from.say_forwarding(running);
    const Duration gap = running - stopped.at;
    spdlog::info("took over after {} us", gap.nanoseconds / 1000);
    requests_->finish_upgrade(gap, static_cast<std::uint32_t>(getpid()));
    inherited_request_ = 0;
    return Done{};
}

// The last worker's last poll.
Instant DataPlane::all_have_polled() const noexcept {
    std::int64_t first = std::numeric_limits<std::int64_t>::max();
    for (const auto& worker : state_.workers()) {
        first = std::min(first, static_cast<std::int64_t>(worker.heartbeat.read()));
    }
    return {first};
}

void DataPlane::watch_over(Instant now) {
    next_watch_ = now + NodeWatch::interval;
    const std::string news = watch_.turn(now, signs(), state_);
    if (!news.empty()) spdlog::warn("{}", news);
}

// Whether a generation waits for it or not: keepalived knows since long, and the share of the flows that is its stands
// still, too.
void DataPlane::give_up_if_stalled() {
    const auto worker = watch_.stalled();
    if (!worker) return;
    spdlog::critical("worker {} has stood still for 2 s: giving up, so that a successor takes over its flows",
                     worker->value);
    std::abort();
}

Signs DataPlane::signs() const noexcept {
    const shm::StateHeader& header = state_.header();
    const bool running = !workers_.empty();
    return {.workers = running ? state_.workers() : std::span<shm::WorkerBlock>{},
            .ports = state_.ports().first(settings_.ports.size()),
            .accepted = Generation(header.accepted.load(std::memory_order_relaxed)),
            .steered = header.steered.load(std::memory_order_relaxed) != 0};
}

// What goes on being wrong is said once.
void DataPlane::report(const Status& status) {
    if (status || status.error().text() == last_report_) return;
    last_report_ = status.error().text();
    spdlog::error("{}", last_report_);
}

}  // namespace shunt::dataplane
