// The deciding core: what is wanted, what the checks say and what the network looks like become one picture, which is
// compiled and published. Pure: time is handed in with every call, randomness is a seed, and files, tables and kernel
// are behind Outside; so the whole of it runs in one thread from one seed.
//
// One road for every change: decide -> validate -> plan -> compile -> save -> publish -> every worker has passed ->
// reply. A request is refused with a sentence before it touches anything, and what could not be saved is not done.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "controlplane/compile/network_view.h"
#include "controlplane/health/machine.h"
#include "controlplane/network/announcer.h"
#include "controlplane/network/guard.h"
#include "controlplane/network/snapshot.h"
#include "controlplane/publish/requests.h"
#include "controlplane/publish/state_watch.h"
#include "controlplane/state/announcement.h"
#include "controlplane/state/events.h"
#include "controlplane/state/plan.h"
#include "controlplane/state/pulse.h"
#include "controlplane/state/quorum.h"
#include "controlplane/state/verdicts.h"
#include "controlplane/state/wanted.h"
#include "src/base/result.h"
#include "src/base/time.h"

namespace shunt::controlplane {

// All that tables are made from.
struct Picture {
    const config::DesiredState& state;                       // overrides applied
    const std::vector<std::vector<shm::Verdict>>& verdicts;  // in the order of its services and backends
    std::shared_ptr<const NetworkView> network;
};

enum class Road : std::uint8_t {
    published,  // or the tables in force say all this already
    busy,       // too many generations are outstanding: try again, nothing is lost
};

class Outside {
  public:
    virtual ~Outside() = default;
    virtual Status save(const Wanted& wanted, Now now) = 0;
    // Compiles the picture and keeps the result. An error: it cannot be expressed as tables. Until `publish`, another
    // call makes this one as if it had never been.
    virtual Status prepare(const Picture& picture, Now now) = 0;
    // Lets the data plane have what was prepared last; to be called again while it is busy.
    virtual Result<Road> publish() = 0;
    virtual Progress progress() = 0;
    virtual Status guard(const GuardRules& rules) = 0;
    virtual Result<bool> guard_present() = 0;
    virtual Status announce(const Announcement& announcement) = 0;
    // What is announced on a device already.
    virtual Result<std::vector<IpAddress>> announced_on(const std::string& device) = 0;
    // Of the data plane that runs; see publish/requests.h.
    virtual Result<std::uint64_t> ask(const Asked& asked) = 0;
    virtual std::optional<RequestEnd> end_of(std::uint64_t request) = 0;
};

// The guard that goes with a state.
GuardRules guard_rules(const config::DesiredState& state);

struct WriteOptions {
    bool dry_run{};
    Duration wait{Duration::seconds(5)};
    std::optional<std::uint64_t> if_revision{};
    std::string who{};  // for events: "uid 0"
};

struct Passed {
    std::size_t workers{};  // that have passed the generation
    std::size_t of{};       // 0: no data plane
    bool all{true};
};

// What came of killing flows. Flows are no part of what is wanted: neither revision nor generation changes.
struct KillReply {
    std::string filter{};
    bool dry_run{};
    std::uint64_t flows{};
    bool timed_out{};  // it goes on
};

// What came of a planned upgrade of the data plane.
struct UpgradeReply {
    Duration gap{};             // in which nobody forwarded
    std::uint32_t successor{};  // its process id
    bool timed_out{};           // it is under way
};

struct ChangeReply {
    bool changed{};
    bool dry_run{};
    std::vector<Change> changes{};
    Generation generation{};
    Passed workers{};
    bool timed_out{};
    std::uint64_t revision{};
    std::vector<std::string> warnings{};
};

struct Rejection {
    enum class Why : std::uint8_t { refused, stale, storage, unavailable };
    Why why{Why::refused};
    Error error{};
};

using Answer = std::variant<ChangeReply, Rejection>;
using Reply = std::function<void(Answer)>;
using KillAnswer = std::variant<KillReply, Rejection>;
using UpgradeAnswer = std::variant<UpgradeReply, Rejection>;

Passed passed(const Progress& progress, Generation generation);

class Core {
  public:
    static constexpr Duration housekeeping = Pulse::interval;
    static constexpr Duration gone_limit = Duration::milliseconds(100);  // then VIPs are withdrawn
    static constexpr Duration publication_poll = Duration::milliseconds(1);
    static constexpr Duration health_pacing = Duration::milliseconds(10);  // at most one publication for health in this
    static constexpr Duration retry = Duration::seconds(1);
    static constexpr Duration guard_watch = Duration::seconds(5);

    // `wanted` was validated. Nothing happens before `start`.
    Core(Outside& outside, Events& events, Wanted wanted, NetworkSnapshot network, const ReadBack& read_back,
         std::uint64_t seed, Now now);

    // Publishes for the first time. An error: this state cannot be expressed as tables.
    Status start(Now now);
    // Saves what is wanted, as every change does by itself: for a start without a saved state.
    void save_now(Now now) { static_cast<void>(save(scene_.wanted, now)); }  // a failure is a problem, see below

    void request(const Request& request, const WriteOptions& options, Now now, Reply reply);
    // Has the data plane kill the flows that `filter`, in words `text`, means. Not for dry runs.
    void kill_flows(const shm::FlowFilter& filter, const std::string& text, const WriteOptions& options, Now now,
                    std::function<void(KillAnswer)> reply);
    // Has the data plane hand over to a new process, which is to be ready in the time that `options` gives. `program`:
    // an absolute path; empty: the one that runs, or what took its place.
    void upgrade(const std::string& program, const WriteOptions& options, Now now,
                 std::function<void(UpgradeAnswer)> reply);
    // For tests: has the data plane hold up a worker. An error: it did not.
    void wedge_worker(WorkerIndex worker, Duration time, const WriteOptions& options, Now now,
                      std::function<void(Status)> reply);
    void network_changed(NetworkSnapshot network);
    void probe_finished(const ProbeResult& result, Now now);
    // Everything that is due; the probes to start. To be called by `next_wakeup`, and after every other call.
    std::vector<ProbeRequest> advance(Now now);
    Instant next_wakeup(Now now) const;

    const Wanted& wanted() const noexcept { return scene_.wanted; }
    const config::DesiredState& effective_state() const noexcept { return scene_.effective; }
    const Verdicts& verdicts() const noexcept { return scene_.verdicts; }
    // In the order of the effective state's services.
    const QuorumByFamily& quorum(std::size_t service) const noexcept { return quorums_.of(service); }
    const std::vector<Announced>& announced() const noexcept { return announced_; }
    const HealthMachine& health() const noexcept { return health_; }
    const NetworkSnapshot& network() const noexcept { return network_; }
    const Events& events() const noexcept { return events_; }
    Progress progress() const { return outside_.progress(); }
    // What is wrong now, beyond backends that are down: publication, guard, saving. For `status`.
    std::vector<std::string> problems() const;
    // What the operator had better know, though all is well.
    std::vector<std::string> warnings() const;

  private:
    // What is wanted, and all that follows from it.
    struct Scene {
        Wanted wanted{};
        std::vector<std::string> warnings{};  // what validation found, short of an error
        config::DesiredState effective{};
        Verdicts verdicts{};
        std::shared_ptr<const NetworkView> network{};
        Picture picture() const { return {effective, verdicts.table(), network}; }
    };
    struct Waiter {
        std::uint64_t change{};   // the picture it waits for
        Generation generation{};  // that carries it; 0: not published yet
        Instant deadline{};
        ChangeReply reply{};
        Reply answer{};
    };
    // What was asked of the data plane, until it has answered.
    struct Errand {
        std::uint64_t request{};
        Instant deadline{};
        std::function<void(const RequestEnd&, Now)> over{};
        std::function<void()> late{};  // once, if it is not over by then; empty: said already
    };
    struct Problem {
        std::string text{};  // empty: all is well
        void set(std::string now_text, EventKind kind, Core& core, Now now);
    };

    Result<Wanted> next_wanted(const Request& request, Now now) const;
    config::DesiredState effective_of(const Wanted& wanted) const;
    Scene scene_of(Wanted wanted, const std::vector<Error>& warnings) const;
    std::shared_ptr<const NetworkView> view_of(const config::DesiredState& state) const;
    static std::vector<std::string> starved(const Scene& scene);
    Status try_out(const Scene& scene, Now now);
    std::optional<Rejection> commit(Scene next, Now now);
    void reply_when_passed(ChangeReply reply, const WriteOptions& options, Now now, Reply answer);
    Status save(const Wanted& wanted, Now now);
    void expire_overrides(Now now);
    void publish_if_due(Now now);
    bool publish(Now now);
    void settle(const Progress& progress, Now now);
    static std::optional<Rejection> stale(const WriteOptions& options, std::uint64_t revision);
    void follow_errands(Now now);
    bool follow(Errand& errand, Now now);
    void watch_dataplane(const Progress& progress, Now now);
    void watch_guard(Now now);
    void apply_guard(Now now);
    void count_quorums(Now now);
    void find_announced(Now now);
    Fitness fitness(const Progress& progress) const;
    void keep_announced(const Progress& progress, Now now);
    void tell_announced(const std::vector<Announced>& next, Now now);
    void audit(const std::string& who, const std::vector<Change>& changes, Now now);
    void log(Event event, Now now);

    Outside& outside_;
    Events& events_;
    Scene scene_;
    HealthMachine health_;
    NetworkSnapshot network_;

    std::uint64_t change_{1};  // counts pictures
    std::uint64_t prepared_change_{};
    std::uint64_t published_change_{};
    Instant last_publication_{};
    Instant not_before_{};  // after a failure
    bool urgent_{true};     // not for health alone
    std::vector<Waiter> waiters_{};
    std::vector<Errand> errands_{};
    bool upgrading_{};
    Progress seen_{};  // when the data plane was last looked at
    Pulse pulse_{gone_limit};
    Quorums quorums_{};
    std::uint64_t counted_change_{};      // the picture they were counted of
    std::vector<Announced> announced_{};  // sorted by address
    Instant next_announcement_{};         // even if nothing changed here: somebody else may have
    Instant announce_not_before_{};       // after a failure
    Instant next_housekeeping_{};
    Instant next_guard_watch_{};
    Problem publication_problem_{};
    Problem guard_problem_{};
    Problem announce_problem_{};
    Problem save_problem_{};
};

}  // namespace shunt::controlplane
