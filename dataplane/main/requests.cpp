#include "dataplane/main/requests.h"

#include <algorithm>
#include <span>
#include <utility>

namespace shunt::dataplane {
namespace {

constexpr std::uint32_t lines_per_turn = 4096;

}  // namespace

Requests::Requests(const shm::TablesHeader& header, const shm::State& state, std::vector<ForgetList*> workers,
                   std::vector<Wedge*> wedges, Predecessors* predecessors)
    : header_(&header),
      state_(state),
      workers_(std::move(workers)),
      wedges_(std::move(wedges)),
      predecessors_(predecessors) {
    state_.header().answered.store(header_->requested.load(std::memory_order_acquire), std::memory_order_release);
}

void Requests::turn(const shm::Tables& tables, Tick now) {
    if (!kill_) take_next();
    if (kill_) go_on(*kill_, tables, now);
}

void Requests::take_next() {
    const std::uint64_t next = state_.header().answered.load(std::memory_order_relaxed) + 1;
    if (header_->requested.load(std::memory_order_acquire) < next) return;
    const shm::Request& request = header_->requests[next % shm::request_ring];
    if (request.number != next) return answer(shm::RequestOutcome::unknown, 0);
    switch (request.kind) {
        case shm::RequestKind::kill_flows:
            kill_.emplace(Kill{.scan = shm::FlowScan(request.filter)});
            return;
        case shm::RequestKind::wedge_worker:
            return wedge(request);
        default:
            return answer(shm::RequestOutcome::unknown, 0);
    }
}

void Requests::wedge(const shm::Request& request) {
    if (wedges_.empty()) return answer(shm::RequestOutcome::refused, 0);
    for (std::size_t i = 0; i < wedges_.size(); ++i) {
        if ((request.filter.workers >> i & 1) != 0) wedges_[i]->drive_in(Duration::milliseconds(request.milliseconds));
    }
    answer(shm::RequestOutcome::done, 0);
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
    answer(shm::RequestOutcome::done, flows);
}

void Requests::give_next(Kill& kill) {
    const std::size_t count = std::min(ForgetList::size, kill.found.size() - kill.given);
    const std::span<const shm::FlowKey> flows(kill.found.data() + kill.given, count);
    for (ForgetList* worker : workers_) worker->give(flows);
    if (predecessors_ != nullptr) predecessors_->forget(flows);  // from there nobody copies what is on the list
    kill.given += count;
}

void Requests::answer(shm::RequestOutcome outcome, std::uint64_t flows) {
    shm::StateHeader& header = state_.header();
    const std::uint64_t number = header.answered.load(std::memory_order_relaxed) + 1;
    header.answers[number % shm::request_ring] = {number, outcome, 0, flows};
    header.answered.store(number, std::memory_order_release);
}

}  // namespace shunt::dataplane
