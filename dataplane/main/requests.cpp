#include "dataplane/main/requests.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

namespace shunt::dataplane {
namespace {

constexpr std::uint32_t lines_per_turn = 4096;

}  // namespace

Requests::Requests(const shm::TablesHeader& header, const shm::State& state, std::vector<ForgetList*> workers,
                   std::vector<Wedge*> wedges, Predecessors* predecessors, std::uint64_t upgrade)
    : header_(&header),
      state_(state),
      workers_(std::move(workers)),
      wedges_(std::move(wedges)),
      predecessors_(predecessors) {
    if (upgrade != 0) upgrade_.emplace(Upgrade{.number = upgrade});
    const std::uint64_t asked = header_->requested.load(std::memory_order_acquire);
    state_.header().answered.store(upgrade != 0 ? upgrade - 1 : asked, std::memory_order_release);
}

void Requests::turn(const shm::Tables& tables, Tick now) {
    if (!kill_ && !upgrade_) take_next();
    if (kill_) go_on(*kill_, tables, now);
}

void Requests::take_next() {
    const std::uint64_t next = state_.header().answered.load(std::memory_order_relaxed) + 1;
    if (header_->requested.load(std::memory_order_acquire) < next) return;
    const shm::Request& request = header_->requests[next % shm::request_ring];
    if (request.number != next) return answer({.outcome = shm::RequestOutcome::unknown});
    switch (request.kind) {
        case shm::RequestKind::kill_flows:
            kill_.emplace(Kill{.scan = shm::FlowScan(request.filter)});
            return;
        case shm::RequestKind::wedge_worker:
            return wedge(request);
        case shm::RequestKind::upgrade:
            return take_upgrade(request);
        default:
            return answer({.outcome = shm::RequestOutcome::unknown});
    }
}

void Requests::take_upgrade(const shm::Request& request) {
    const auto& path = header_->program;
    upgrade_.emplace(Upgrade{.number = request.number,
                             .program = {path.data(), ::strnlen(path.data(), path.size())},
                             .limit = Duration::milliseconds(request.milliseconds)});
}

void Requests::wedge(const shm::Request& request) {
    if (wedges_.empty()) return answer({.outcome = shm::RequestOutcome::refused});
    for (std::size_t i = 0; i < wedges_.size(); ++i) {
        if ((request.filter.workers >> i & 1) != 0) wedges_[i]->drive_in(Duration::milliseconds(request.milliseconds));
    }
    answer({.outcome = shm::RequestOutcome::done});
}

// What was found is forgotten by everybody before more is looked for: so a flow that several workers know is found
// once.
void Requests::go_on(Kill& kill, const shm::Tables& tables, Tick now) {
    const auto idle = [](const ForgetList* worker) { return worker->carried_out(); };
    if (!std::all_of(workers_.begin(), workers_.end(), idle)) return;
    if (kill.given < kill.found.size()) return give_next(kill);
    kill.found.clear();
    kill.given = 0;
    if (!kill.seen_all) {
        const auto left = predecessors_ == nullptr ? std::vector<shm::StateReader>{} : predecessors_->regions();
        kill.seen_all = kill.scan.step({state_, left}, tables, now, lines_per_turn,
                                       [&](const shm::Flow& flow) { kill.found.push_back(flow.key); });
        kill.flows += kill.found.size();
        return;
    }
    for (ForgetList* worker : workers_) worker->give({});
    const std::uint64_t flows = kill.flows;
    kill_.reset();
    answer({.outcome = shm::RequestOutcome::done, .flows = flows});
}

void Requests::give_next(Kill& kill) {
    const std::size_t count = std::min(ForgetList::size, kill.found.size() - kill.given);
    const std::span<const shm::FlowKey> flows(kill.found.data() + kill.given, count);
    for (ForgetList* worker : workers_) worker->give(flows);
    if (predecessors_ != nullptr) predecessors_->forget(flows);  // from there nobody copies what is on the list
    kill.given += count;
}

void Requests::refuse_upgrade(const std::string& sentence) {
    auto& refusal = state_.header().refusal;
    refusal = {};
    sentence.copy(refusal.data(), refusal.size() - 1);
    upgrade_.reset();
    answer({.outcome = shm::RequestOutcome::refused});
}

void Requests::finish_upgrade(Duration gap, std::uint32_t successor) {
    upgrade_.reset();
    answer({.outcome = shm::RequestOutcome::done, .successor = successor, .gap_nanoseconds = gap.nanoseconds});
}

void Requests::answer(shm::RequestAnswer answer) {
    shm::StateHeader& header = state_.header();
    answer.number = header.answered.load(std::memory_order_relaxed) + 1;
    header.answers[answer.number % shm::request_ring] = answer;
    header.answered.store(answer.number, std::memory_order_release);
}

}  // namespace shunt::dataplane
