#include "dataplane/main/node_watch.h"

#include <utility>

#include "src/shm/node_health.h"

namespace shunt::dataplane {
namespace {

using State = shm::NodeHealth::State;

std::string path_of(const std::optional<config::Ha>& ha, const std::string& directory) {
    if (!ha) return {};
    return ha->track_files.dataplane.empty() ? directory + "/ha.dataplane" : ha->track_files.dataplane;
}

std::string sentence(const shm::NodeHealth& health, const shm::State& state) {
    switch (health.state) {
        case State::fit:
            return "this node can serve";
        case State::held:
            return "nothing is wrong any more: this node can serve if it stays so";
        default:
            return "this node cannot serve: " + shm::text_of(health, shm::StateReader(state).ports());
    }
}

}  // namespace

NodeWatch::NodeWatch(const std::optional<config::Ha>& ha, const std::string& directory)
    : liveness_(ha.value_or(config::Ha{}).hold), file_(path_of(ha, directory)) {}

Status NodeWatch::begin() {
    Status said = file_.say(config::Track::fault);
    if (said) return said;
    Error error = said.error();
    error.remedy = "name another file in ha.track_files, or make it possible to write this one";
    return error;
}

void NodeWatch::take_over(Instant now, bool was_fit) {
    if (was_fit) liveness_.inherit(now);
}

std::string NodeWatch::turn(Instant now, const Signs& signs, const shm::State& state) {
    const std::string problem_before = problem_;
    liveness_.look(now, signs);
    if (now >= next_file_look_) {
        next_file_look_ = now + file_interval;
        file_.take_as_it_is();
    }
    const bool is_new = liveness_.health() != told_;
    tell(now, state);
    if (problem_ != problem_before) return problem_.empty() ? file_.path() + " can be written again" : problem_;
    return is_new ? sentence(told_, state) : std::string{};
}

void NodeWatch::end(Instant now, const shm::State& state) {
    liveness_.stop();
    tell(now, state);
}

void NodeWatch::tell(Instant now, const shm::State& state) {
    const shm::NodeHealth health = liveness_.health();
    const Status said = file_.say(health.state == State::fit ? config::Track::serves : config::Track::fault);
    problem_ = said ? ""
                    : "keepalived does not hear that this node " +
                          std::string(health.state == State::fit ? "can" : "cannot") + " serve: " + said.error().text();
    shm::StateHeader& header = state.header();
    header.track_file_failed.store(said ? 0 : 1, std::memory_order_relaxed);
    const shm::NodeHealth before = std::exchange(told_, health);
    if (health == before) return;
    if (health.state != before.state) header.health_since.store(now.nanoseconds, std::memory_order_relaxed);
    if (health.fault != before.fault && health.fault != shm::NodeFault::none) {
        header.faults[static_cast<std::size_t>(health.fault)].add(1);
    }
    header.health.store(health, std::memory_order_release);
}

}  // namespace shunt::dataplane
