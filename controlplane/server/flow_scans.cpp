#include "controlplane/server/flow_scans.h"

#include <utility>

namespace shunt::controlplane {

void FlowScans::start(const shm::FlowFilter& filter, Visit visit, Done done) {
    if (scans_.size() >= most_waiting) {
        return done(Error{.message = "too many others read the flow tables", .remedy = "try again in a moment"},
                    documents_());
    }
    scans_.push_back({shm::FlowScan(filter), std::move(visit), std::move(done)});
    if (scans_.size() == 1) later_([this] { go_on(); });
}

void FlowScans::go_on() {
    if (step(scans_.front())) scans_.pop_front();
    if (!scans_.empty()) later_([this] { go_on(); });
}

bool FlowScans::step(Scan& scan) {
    const Documents documents = documents_();
    if (!documents.state) {
        scan.done(shunt::Done{}, documents);
        return true;
    }
    const shm::StateHeader& header = documents.state->header();
    if (scan.incarnation != 0 && scan.incarnation != header.incarnation) {
        scan.done(Error{.message = "another data plane took over while its flows were read", .remedy = "ask again"},
                  documents);
        return true;
    }
    scan.incarnation = header.incarnation;
    const Tick now = Tick::at(documents.now.instant - Duration{header.downtime_nanoseconds});
    const bool all = scan.scan.step({*documents.state, documents.left}, documents.tables, now, lines_per_piece,
                                    [&](const shm::Flow& flow) {
                                        if (flow.is_first()) scan.visit(flow, documents.tables);
                                    });
    if (all) scan.done(shunt::Done{}, documents);
    return all;
}

}  // namespace shunt::controlplane
