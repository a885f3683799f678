#include "controlplane/state/core.h"

#include <algorithm>
#include <utility>

#include "controlplane/state/running.h"
#include "src/config/validate.h"

namespace shunt::controlplane {
namespace {

std::vector<std::string> texts(const std::vector<Error>& findings) {
    std::vector<std::string> all;
    for (const auto& finding : findings) all.push_back(finding.text());
    return all;
}

bool contains(const std::vector<std::string>& all, const std::string& text) {
    return std::find(all.begin(), all.end(), text) != all.end();
}

// Beyond the time in which a successor is to be ready: to give it up, or to hand over.
constexpr Duration upgrade_slack = Duration::milliseconds(1500);

std::string upgrade_text(const RequestEnd& end) {
    if (end.carried_out) {
        return "process " + std::to_string(end.successor) + " took over as the data plane after " +
               std::to_string(end.gap.nanoseconds / 1000) + " us";
    }
    if (end.refused) return "no upgrade, the data plane that runs goes on: " + end.refusal;
    return "the data plane ended or started over instead of handing over; flows are kept";
}

}  // namespace

GuardRules guard_rules(const config::DesiredState& state) {
    GuardRules rules;
    for (const auto& service : state.services) {
        for (const auto& vip : service.vips) {
            rules.listeners.push_back(vip);
            if (!traits_of(service.mode).translates) continue;
            for (const auto& backend : service.backends) {
                if (!can_serve(service.mode, vip.address.family(), backend.address.family())) continue;
                const bool keeps = backend.port == 0 && !vip.ports.is_one();
                const PortRange ports = keeps               ? PortRange::all()
                                        : backend.port != 0 ? PortRange(Be16(backend.port))
                                                            : vip.ports;
                rules.nat_backends.push_back({backend.address, ports, vip.protocol});
            }
        }
    }
    for (const auto& port : state.dataplane.ports) {
        if (const auto device = device_of(port); !device.empty()) rules.interfaces.push_back(device);
    }
    return rules;
}

Core::Core(Outside& outside, Events& events, Wanted wanted, NetworkSnapshot network, const ReadBack& read_back,
           std::uint64_t seed, Now now)
    : outside_(outside),
      events_(events),
      scene_{.wanted = std::move(wanted)},
      health_(seed),
      network_(std::move(network)) {
    scene_.warnings = texts(config::warnings(scene_.wanted.desired));
    seen_ = outside_.progress();
    scene_.effective = effective_of(scene_.wanted);
    scene_.verdicts = Verdicts{}.reconfigured(scene_.effective, read_back);
    scene_.network = view_of(scene_.effective);
    health_.reconfigure(scene_.verdicts.checks(), now.instant);
    count_quorums(now);
    next_guard_watch_ = now.instant + guard_watch;
}

Status Core::start(Now now) {
    apply_guard(now);
    find_announced(now);
    if (const Status prepared = outside_.prepare(scene_.picture(), now); !prepared) {
        return prepared.error();
    }
    prepared_change_ = change_;
    publish(now);
    return Done{};
}

// ------------------------------------------------------------------------------------------------ requests

Result<Wanted> Core::next_wanted(const Request& request, Now now) const {
    auto decided = decide(scene_.wanted, request, now);
    if (!decided) return decided;
    Wanted next = std::move(decided).value();
    config::fix_table_sizes(next.desired, &scene_.wanted.desired);
    return next;
}

std::optional<Rejection> Core::stale(const WriteOptions& options, std::uint64_t revision) {
    if (!options.if_revision || *options.if_revision == revision) return std::nullopt;
    return Rejection{Rejection::Why::stale,
                     {.message = "revision " + std::to_string(*options.if_revision) + " is not the present one, " +
                                 std::to_string(revision),
                      .remedy = "read what is there now, and decide again"}};
}

void Core::request(const Request& request, const WriteOptions& options, Now now, Reply reply) {
    if (auto rejection = stale(options, scene_.wanted.revision)) return reply(std::move(*rejection));
    auto next = next_wanted(request, now);
    if (!next) return reply(Rejection{Rejection::Why::refused, next.error()});
    auto findings = config::examine(next->desired);
    if (!findings.errors.empty()) return reply(Rejection{Rejection::Why::refused, std::move(findings.errors.front())});

    const bool differs = !(*next == scene_.wanted);  // also in where it comes from
    ChangeReply answer{.dry_run = options.dry_run,
                       .changes = plan(scene_.wanted, *next, now.instant),
                       .revision = scene_.wanted.revision};
    answer.changed = !answer.changes.empty();
    answer.warnings = remarks(scene_.wanted, *next);
    for (auto& warning : texts(findings.warnings)) {
        if (!contains(scene_.warnings, warning)) answer.warnings.push_back(std::move(warning));
    }
    if (differs) {
        next->revision = scene_.wanted.revision + 1;
        Scene scene = scene_of(std::move(*next), findings.warnings);
        if (const Status possible = try_out(scene, now); !possible) {
            return reply(Rejection{Rejection::Why::refused, possible.error()});
        }
        const auto before = starved(scene_);
        for (auto& warning : starved(scene)) {
            if (!contains(before, warning)) answer.warnings.push_back(std::move(warning));
        }
        if (!options.dry_run) {
            if (auto rejection = commit(std::move(scene), now)) return reply(std::move(*rejection));
            answer.revision = scene_.wanted.revision;
            audit(options.who, answer.changes, now);
        }
    }
    reply_when_passed(std::move(answer), options, now, std::move(reply));
}

// The VIPs that nobody takes new flows of.
std::vector<std::string> Core::starved(const Scene& scene) {
    std::vector<std::string> all;
    const auto& services = scene.effective.services;
    for (std::size_t s = 0; s < services.size(); ++s) {
        const auto& backends = services[s].backends;
        for (const Vip& vip : services[s].vips) {
            bool taken = false;
            for (std::size_t b = 0; b < backends.size() && !taken; ++b) {
                taken = backends[b].state == config::BackendState::ready && backends[b].weight != 0 &&
                        can_serve(services[s].mode, vip.address.family(), backends[b].address.family()) &&
                        scene.verdicts.of(s, b) != Verdict::down;
            }
            if (!taken) all.push_back(services[s].name + ": no backend takes new flows of " + vip.text());
        }
    }
    return all;
}

void Core::audit(const std::string& who, const std::vector<Change>& changes, Now now) {
    std::string what = "nothing but where it comes from";
    if (!changes.empty()) what = text_of(changes.front());
    if (changes.size() > 1) what += ", and " + std::to_string(changes.size() - 1) + " more";
    log({.kind = EventKind::audit, .text = who + " changed " + what}, now);
}

// What is compiled: with the overrides, and as the running data plane can take it.
config::DesiredState Core::effective_of(const Wanted& wanted) const {
    config::DesiredState state = effective(wanted);
    fit_to_running(state, seen_);
    return state;
}

Core::Scene Core::scene_of(Wanted wanted, const std::vector<Error>& warnings) const {
    Scene scene{.wanted = std::move(wanted), .warnings = texts(warnings)};
    scene.effective = effective_of(scene.wanted);
    scene.verdicts = scene_.verdicts.reconfigured(scene.effective);
    scene.network = view_of(scene.effective);
    return scene;
}

// Whether it can be expressed as tables; what was prepared before has to be prepared again.
Status Core::try_out(const Scene& scene, Now now) {
    prepared_change_ = 0;
    return outside_.prepare(scene.picture(), now);
}

std::optional<Rejection> Core::commit(Scene next, Now now) {
    if (const Status saved = save(next.wanted, now); !saved) return Rejection{Rejection::Why::storage, saved.error()};
    Scene before = std::exchange(scene_, std::move(next));
    count_quorums(now);
    prepared_change_ = ++change_;
    urgent_ = true;
    apply_guard(now);
    if (publish(now)) {
        health_.reconfigure(scene_.verdicts.checks(), now.instant);
        return std::nullopt;
    }
    // Taken back as if it had never been.
    Rejection rejection{Rejection::Why::storage, {.message = publication_problem_.text}};
    scene_ = std::move(before);
    count_quorums(now);
    ++change_;
    static_cast<void>(save(scene_.wanted, now));  // a failure is a problem that `status` shows
    apply_guard(now);
    return rejection;
}

Status Core::save(const Wanted& wanted, Now now) {
    Status saved = outside_.save(wanted, now);
    save_problem_.set(saved ? "" : saved.error().text(), EventKind::config, *this, now);
    return saved;
}

void Core::reply_when_passed(ChangeReply reply, const WriteOptions& options, Now now, Reply answer) {
    const Progress progress = outside_.progress();
    reply.generation = progress.published;
    reply.workers = passed(progress, reply.generation);
    const bool published = published_change_ == change_;
    if (options.dry_run || !reply.changed || options.wait.nanoseconds <= 0 || (published && reply.workers.all)) {
        return answer(std::move(reply));
    }
    waiters_.push_back({.change = change_,
                        .generation = published ? progress.published : Generation{},
                        .deadline = now.instant + options.wait,
                        .reply = std::move(reply),
                        .answer = std::move(answer)});
}

void Core::expire_overrides(Now now) {
    const bool any =
        std::any_of(scene_.wanted.overrides.begin(), scene_.wanted.overrides.end(),
                    [&](const Override& override) { return override.expires && *override.expires <= now.instant; });
    if (!any || now.instant < not_before_) return;
    for (const auto& override : scene_.wanted.overrides) {
        if (!override.expires || *override.expires > now.instant) continue;
        log({.kind = EventKind::overrides,
             .service = override.service,
             .backend = override.backend,
             .text = "override " + override.id() + " expired: " + override.value()},
            now);
    }
    request(ExpireOverrides{}, {.wait = {}, .who = "the clock"}, now, [&](const Answer& answer) {
        if (std::holds_alternative<Rejection>(answer)) not_before_ = now.instant + retry;
    });
}

// ------------------------------------------------------------------------------------------------ what happens by
// itself

void Core::network_changed(NetworkSnapshot network) {
    if (network == network_) return;
    network_ = std::move(network);
    next_announcement_ = {};  // an address of ours may be what changed
    auto view = view_of(scene_.effective);
    if (view == scene_.network) return;
    scene_.network = std::move(view);
    ++change_;
    urgent_ = true;
}

// The same object as long as it says the same: the compiler then knows that nothing changed.
std::shared_ptr<const NetworkView> Core::view_of(const config::DesiredState& state) const {
    NetworkView view = network_view(network_, state.dataplane.ports);
    if (scene_.network != nullptr && *scene_.network == view) return scene_.network;
    return std::make_shared<const NetworkView>(std::move(view));
}

void Core::probe_finished(const ProbeResult& result, Now now) {
    const auto transition = health_.apply(result);
    if (!transition) return;
    if (!scene_.verdicts.apply(transition->spec, transition->to)) return;
    ++change_;
    const bool up = transition->to == Verdict::up;
    log({.kind = EventKind::health,
         .level = up ? EventLevel::info : EventLevel::warn,
         .backend = address_and_port(transition->spec.address, transition->spec.check.port.value_or(0)),
         .text = transition->spec.text() + " is " + std::string(to_string(transition->to)) + ": " + transition->text},
        now);
}

std::vector<ProbeRequest> Core::advance(Now now) {
    expire_overrides(now);
    publish_if_due(now);
    const bool pending = !waiters_.empty() || published_change_ != change_;
    if (pending || now.instant >= next_housekeeping_) {
        const Progress progress = outside_.progress();
        settle(progress, now);
        watch_dataplane(progress, now);
        keep_announced(progress, now);
        next_housekeeping_ = now.instant + housekeeping;
    }
    if (now.instant >= next_guard_watch_) watch_guard(now);
    follow_errands(now);
    return health_.due(now.instant);
}

Instant Core::next_wakeup(Now now) const {
    Instant next = std::min(next_housekeeping_, next_guard_watch_);
    if (const auto due = health_.next_due()) next = std::min(next, *due);
    if (!waiters_.empty() || !errands_.empty()) next = std::min(next, now.instant + publication_poll);
    if (published_change_ != change_) {
        const Instant paced = urgent_ ? now.instant + publication_poll : last_publication_ + health_pacing;
        next = std::min(next, std::max(paced, not_before_));
    }
    return std::max(next, now.instant);
}

// ------------------------------------------------------------------------------------------------ publication

void Core::publish_if_due(Now now) {
    if (published_change_ == change_ || now.instant < not_before_) return;
    if (!urgent_ && now.instant < last_publication_ + health_pacing) return;
    publish(now);
}

// False if it failed (not if it has to wait); then it is tried again later.
bool Core::publish(Now now) {
    const auto failed = [&](const Error& error) {
        not_before_ = now.instant + retry;
        publication_problem_.set("the tables could not be published: " + error.text(), EventKind::publish, *this, now);
        return false;
    };
    if (prepared_change_ != change_) {
        if (const Status prepared = outside_.prepare(scene_.picture(), now); !prepared) {
            return failed(prepared.error());
        }
        prepared_change_ = change_;
    }
    const auto outcome = outside_.publish();
    if (!outcome) return failed(outcome.error());
    publication_problem_.set("", EventKind::publish, *this, now);
    if (*outcome == Road::busy) return true;
    published_change_ = change_;
    last_publication_ = now.instant;
    urgent_ = false;
    const Generation generation = outside_.progress().published;
    for (Waiter& waiter : waiters_) {
        if (!waiter.generation) waiter.generation = generation;
    }
    return true;
}

Passed passed(const Progress& progress, Generation generation) {
    return {progress.workers_past(generation), progress.alive ? progress.workers.size() : 0,
            progress.passed_by_all(generation)};
}

// Answers those who wait and need wait no longer.
void Core::settle(const Progress& progress, Now now) {
    std::vector<Waiter> done;
    std::erase_if(waiters_, [&](Waiter& waiter) {
        // While it has no generation it needs a newer one than the present.
        const Generation needed = waiter.generation ? waiter.generation : Generation(progress.published.value + 1);
        waiter.reply.generation = waiter.generation ? waiter.generation : progress.published;
        waiter.reply.workers = passed(progress, needed);
        const bool complete = waiter.generation && waiter.reply.workers.all;
        waiter.reply.timed_out = !complete && now.instant >= waiter.deadline;
        if (!complete && !waiter.reply.timed_out) return false;
        done.push_back(std::move(waiter));
        return true;
    });
    for (Waiter& waiter : done) waiter.answer(std::move(waiter.reply));  // may ask for something new
}

void Core::watch_dataplane(const Progress& progress, Now now) {
    if (progress.alive != seen_.alive) {
        log({.kind = EventKind::dataplane,
             .level = progress.alive ? EventLevel::info : EventLevel::warn,
             .text = progress.alive
                         ? "a data plane with " + std::to_string(progress.workers.size()) + " workers is there"
                         : "the data plane is gone; the tables stay for its successor"},
            now);
    }
    if (progress.refused != seen_.refused && progress.refused) {
        log({.kind = EventKind::publish,
             .level = EventLevel::error,
             .text = "the data plane refused generation " + std::to_string(progress.refused.value) +
                     " and stays with " + std::to_string(progress.accepted.value)},
            now);
    }
    if (progress.file_damaged && !seen_.file_damaged) {
        log({.kind = EventKind::publish,
             .level = EventLevel::error,
             .text = "the tables file was damaged or removed: it is made again"},
            now);
    }
    if (progress.file_damaged) {
        ++change_;
        urgent_ = true;
    }
    const bool other_ports = progress.ports != seen_.ports;
    seen_ = progress;
    if (!other_ports) return;
    scene_.effective = effective_of(scene_.wanted);
    scene_.network = view_of(scene_.effective);
    ++change_;
    urgent_ = true;
    apply_guard(now);
}

// ------------------------------------------------------------------------------------------------ the data plane's
// errands

void Core::kill_flows(const shm::FlowFilter& filter, const std::string& text, const WriteOptions& options, Now now,
                      std::function<void(KillAnswer)> reply) {
    if (auto rejection = stale(options, scene_.wanted.revision)) return reply(std::move(*rejection));
    const auto request = outside_.ask({.kind = shm::RequestKind::kill_flows, .filter = filter});
    if (!request) return reply(Rejection{Rejection::Why::unavailable, request.error()});
    log({.kind = EventKind::audit, .text = options.who + " kills flows: " + text}, now);
    const auto answer = std::make_shared<std::function<void(KillAnswer)>>(std::move(reply));  // called once
    const auto over = [this, answer, text, who = options.who](const RequestEnd& end, Now then) {
        const std::string what = end.carried_out ? std::to_string(end.flows) + " flows were killed"
                                                 : "the data plane ended before it had killed all flows";
        log({.kind = EventKind::dataplane,
             .level = end.carried_out ? EventLevel::info : EventLevel::warn,
             .text = what + ", for " + who + ": " + text},
            then);
        const auto said = std::exchange(*answer, {});
        if (!said) return;
        if (end.carried_out) return said(KillReply{.filter = text, .flows = end.flows});
        said(Rejection{Rejection::Why::unavailable,
                       {.message = what, .remedy = "ask again when it runs: what matches then is killed"}});
    };
    const auto late = [answer, text] { std::exchange(*answer, {})(KillReply{.filter = text, .timed_out = true}); };
    errands_.push_back({*request, now.instant + options.wait, over, late});
    follow_errands(now);
}

// It says itself when the successor is not ready in time: the reply waits for that, and for the hand-over.
void Core::upgrade(const std::string& program, const WriteOptions& options, Now now,
                   std::function<void(UpgradeAnswer)> reply) {
    constexpr auto unavailable = Rejection::Why::unavailable;
    if (auto rejection = stale(options, scene_.wanted.revision)) return reply(std::move(*rejection));
    if (upgrading_) return reply(Rejection{unavailable, {.message = "an upgrade of the data plane is under way"}});
    const auto request = outside_.ask({.kind = shm::RequestKind::upgrade,
                                       .milliseconds = static_cast<std::uint32_t>(options.wait.in_milliseconds()),
                                       .program = program});
    if (!request) return reply(Rejection{unavailable, request.error()});
    upgrading_ = true;
    log({.kind = EventKind::audit, .text = options.who + " upgrades the data plane"}, now);
    const auto answer = std::make_shared<std::function<void(UpgradeAnswer)>>(std::move(reply));  // called once
    const auto over = [this, answer, who = options.who](const RequestEnd& end, Now then) {
        upgrading_ = false;
        const std::string what = upgrade_text(end);
        log({.kind = EventKind::dataplane,
             .level = end.carried_out ? EventLevel::info : EventLevel::error,
             .text = what + ", for " + who},
            then);
        const auto said = std::exchange(*answer, {});
        if (!said) return;
        if (end.carried_out) return said(UpgradeReply{.gap = end.gap, .successor = end.successor});
        said(Rejection{unavailable, {.message = what, .remedy = "see the data plane's log"}});
    };
    const auto late = [answer] { std::exchange(*answer, {})(UpgradeReply{.timed_out = true}); };
    errands_.push_back({*request, now.instant + options.wait + upgrade_slack, over, late});
    follow_errands(now);
}

void Core::wedge_worker(WorkerIndex worker, Duration time, const WriteOptions& options, Now now,
                        std::function<void(Status)> reply) {
    Asked asked{.kind = shm::RequestKind::wedge_worker,
                .milliseconds = static_cast<std::uint32_t>(time.in_milliseconds())};
    asked.filter.workers = std::uint64_t{1} << worker.value;
    const auto request = outside_.ask(asked);
    if (!request) return reply(request.error());
    log({.kind = EventKind::audit,
         .level = EventLevel::warn,
         .text = options.who + " wedges worker " + std::to_string(worker.value) + " for " +
                 std::to_string(asked.milliseconds) + " ms"},
        now);
    const auto over = [reply](const RequestEnd& end, Now) {
        if (end.carried_out) return reply(Done{});
        reply(Error{.message = end.refused ? "the data plane takes no test hooks" : "the data plane has not done it",
                    .remedy = "start it with SHUNT_TEST_HOOKS=1 in its environment"});
    };
    errands_.push_back({*request, now.instant + options.wait, over, {}});
    follow_errands(now);
}

void Core::follow_errands(Now now) {
    std::erase_if(errands_, [&](Errand& errand) { return follow(errand, now); });
}

// True: it is over.
bool Core::follow(Errand& errand, Now now) {
    const auto end = outside_.end_of(errand.request);
    if (end) {
        errand.over(*end, now);
    } else if (errand.late && now.instant >= errand.deadline) {
        std::exchange(errand.late, {})();
    }
    return end.has_value();
}

// ------------------------------------------------------------------------------------------------ announcing VIPs

void Core::count_quorums(Now now) {
    counted_change_ = change_;
    for (const QuorumChange& change : quorums_.count(scene_.effective, scene_.verdicts)) {
        const config::Service& service = scene_.effective.services[change.service];
        const std::string family = change.family == Family::ipv4 ? "IPv4" : "IPv6";
        log({.kind = EventKind::health,
             .level = change.now.held ? EventLevel::info : EventLevel::warn,
             .service = service.name,
             .text = (change.now.held ? "its quorum is there again over " : "its quorum is lost over ") + family +
                     ": " + std::to_string(change.now.up) + " backends are up, wanted are " +
                     std::to_string(service.quorum.up)},
            now);
    }
}

// What a control plane before this one announced stays until something speaks against it.
void Core::find_announced(Now now) {
    const std::string& device = scene_.effective.announce_device;
    if (device.empty()) return;
    auto found = outside_.announced_on(device);
    announce_problem_.set(found ? "" : "VIPs are not announced: " + found.error().text(), EventKind::announce, *this,
                          now);
    if (!found) return;
    std::sort(found->begin(), found->end());
    for (const IpAddress& address : *found) announced_.push_back({address, Withheld::no});
}

Fitness Core::fitness(const Progress& progress) const {
    using shm::NodeFault;
    // One that starts or stops says so, too; but it may be about to take over from another, and then nobody waits.
    const NodeFault fault =
        progress.health.state == shm::NodeHealth::State::unfit ? progress.health.fault : NodeFault::none;
    return {.drained = is_drained(scene_.wanted),
            .beats = pulse_.beats(),
            .unfit = fault != NodeFault::none && fault != NodeFault::starting && fault != NodeFault::stopping,
            .serves = progress.alive && published_change_ == change_ && progress.steered &&
                      progress.steered >= progress.published};
}

void Core::keep_announced(const Progress& progress, Now now) {
    // A data plane that cannot be understood may forward as well as any: nothing is held against it.
    if (progress.problem.empty()) pulse_.look(progress.heartbeat, now.instant);
    if (counted_change_ != change_) count_quorums(now);
    const std::string& device = scene_.effective.announce_device;
    if (device.empty() && announced_.empty()) return;
    std::vector<Announced> next;
    if (!device.empty()) next = announcements(scene_.effective, quorums_, fitness(progress), announced_);
    if (next == announced_ && now.instant < next_announcement_) return;
    if (now.instant < announce_not_before_) return;
    Announcement announcement{.device = device};
    for (const Announced& one : next) {
        if (one.withheld == Withheld::no) announcement.addresses.push_back(one.address);
    }
    const Status done = outside_.announce(announcement);
    announce_problem_.set(done ? "" : "VIPs are not announced as they should be: " + done.error().text(),
                          EventKind::announce, *this, now);
    announce_not_before_ = done ? Instant{} : now.instant + retry;
    next_announcement_ = now.instant + guard_watch;
    if (!done) return;
    tell_announced(next, now);
    announced_ = std::move(next);
}

void Core::tell_announced(const std::vector<Announced>& next, Now now) {
    const auto is_in = [](const std::vector<Announced>& list, const IpAddress& address) {
        return std::ranges::find(list, Announced{address, Withheld::no}) != list.end();
    };
    for (const Announced& one : next) {
        const bool announced = one.withheld == Withheld::no;
        if (announced == is_in(announced_, one.address)) continue;
        log({.kind = EventKind::announce,
             .level = announced || one.withheld == Withheld::drained ? EventLevel::info : EventLevel::warn,
             .text = one.address.text() +
                     (announced ? " is announced" : " is withdrawn: " + std::string(to_string(one.withheld)))},
            now);
    }
    for (const Announced& old : announced_) {
        const bool kept = std::ranges::find(next, old.address, &Announced::address) != next.end();
        if (kept || old.withheld != Withheld::no) continue;
        log({.kind = EventKind::announce, .text = old.address.text() + " is withdrawn: no service has it"}, now);
    }
}

// ------------------------------------------------------------------------------------------------ guard and problems

void Core::apply_guard(Now now) {
    const Status applied = outside_.guard(guard_rules(scene_.effective));
    guard_problem_.set(applied ? "" : "the nftables guard is not in force: " + applied.error().text(),
                       EventKind::controlplane, *this, now);
}

void Core::watch_guard(Now now) {
    next_guard_watch_ = now.instant + guard_watch;
    const auto present = outside_.guard_present();
    if (present && *present) return;
    if (present) {
        log({.kind = EventKind::controlplane,
             .level = EventLevel::warn,
             .text = "somebody removed the nftables guard; it is put back"},
            now);
    }
    apply_guard(now);
}

std::vector<std::string> Core::problems() const {
    std::vector<std::string> all;
    for (const Problem* problem : {&publication_problem_, &save_problem_, &guard_problem_, &announce_problem_}) {
        if (!problem->text.empty()) all.push_back(problem->text);
    }
    if (seen_.alive && seen_.refused && seen_.refused > seen_.accepted) {
        all.push_back("the data plane refused generation " + std::to_string(seen_.refused.value) + " and stays with " +
                      std::to_string(seen_.accepted.value));
    }
    return all;
}

std::vector<std::string> Core::warnings() const {
    std::vector<std::string> all = scene_.warnings;
    for (auto& difference : differences(scene_.wanted.desired.dataplane, seen_)) all.push_back(std::move(difference));
    if (network_.routes_ignored != 0) {
        all.push_back(std::to_string(network_.routes_ignored) +
                      " kernel routes are beyond the bound and not followed; next hops may be wrong");
    }
    if (network_.policy_rules) all.push_back("the kernel has policy routing rules, which are not followed");
    return all;
}

void Core::Problem::set(std::string now_text, EventKind kind, Core& core, Now now) {
    if (now_text == text) return;
    core.log({.kind = kind,
              .level = now_text.empty() ? EventLevel::info : EventLevel::error,
              .text = now_text.empty() ? "over: " + text : now_text},
             now);
    text = std::move(now_text);
}

void Core::log(Event event, Now now) {
    event.unix_ms = now.unix_ms;
    events_.add(std::move(event));
}

}  // namespace shunt::controlplane
