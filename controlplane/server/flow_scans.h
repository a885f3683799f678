// Reads through the flow tables for those who ask. Ten million entries take a second or more, so it is done in pieces,
// between which everybody else has his turn on the event loop; and for one asker at a time, so that many of them do not
// make a piece out of many.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "controlplane/server/documents.h"
#include "src/shm/flow_scan.h"

namespace shunt::controlplane {

class FlowScans {
  public:
    // Cache lines of flow tables that are read at a time: two milliseconds, if all of them come from memory.
    static constexpr std::uint32_t lines_per_piece = 16'384;
    static constexpr std::size_t most_waiting = 64;

    // `later` has the event loop call back, after whatever waits already.
    using Later = std::function<void(std::function<void()>)>;
    // Sees every flow once, with the tables that explain it; then `done` is called, or told why that was not possible.
    using Visit = std::function<void(const shm::Flow&, const shm::Tables&)>;
    using Done = std::function<void(const Status&, const Documents&)>;

    FlowScans(std::function<Documents()> documents, Later later)
        : documents_(std::move(documents)), later_(std::move(later)) {}

    void start(const shm::FlowFilter& filter, Visit visit, Done done);

  private:
    struct Scan {
        shm::FlowScan scan;
        Visit visit;
        Done done;
        std::uint64_t incarnation{};  // of the region it began with; 0: not begun
    };

    void go_on();
    // True: the first in the queue is at its end.
    bool step(Scan& scan);

    std::function<Documents()> documents_;
    Later later_;
    std::deque<Scan> scans_{};
};

}  // namespace shunt::controlplane
