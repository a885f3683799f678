// Packets that one worker received and another has to decide: fragments of one datagram meet on one worker. A ring for
// every pair of workers, so that each has one writer and one reader.
#pragma once

#include <vector>

#include "dataplane/ring.h"
#include "dataplane/tables/fragments.h"
#include "src/base/index.h"

namespace shunt::dataplane {

class HandOver {
  public:
    explicit HandOver(std::uint16_t workers)
        : workers_(workers), rings_(workers > 1 ? std::size_t{workers} * workers : 0) {}

    std::uint16_t workers() const noexcept { return workers_; }
    // False: the other worker does not keep up; the packet is still the caller's.
    bool push(WorkerIndex from, WorkerIndex to, const Parcel& parcel) noexcept { return ring(from, to).push(parcel); }
    // Calls f(parcel) for at most `room` packets that others handed to this worker, beginning with another of them at
    // every `turn`, so that a full ring does not starve the rest.
    template <class F>
    void take(WorkerIndex to, std::uint64_t turn, std::size_t room, F&& f) noexcept {
        for (std::uint16_t i = 0; i < workers_ && !rings_.empty(); ++i) {
            Parcels& parcels = ring(WorkerIndex(static_cast<std::uint16_t>((turn + i) % workers_)), to);
            for (; room > 0; --room) {
                const auto parcel = parcels.pop();
                if (!parcel) break;
                f(*parcel);
            }
        }
    }

    static constexpr std::uint32_t ring_size = 128;  // packets between two workers
    // How many fragments that one worker received may wait in all rooms, or be on their way there.
    static constexpr std::uint32_t most_packets(std::uint32_t workers) noexcept {
        return Fragments::part(workers) * workers + ring_size * (workers - 1);
    }

  private:
    using Parcels = Ring<Parcel, ring_size>;
    Parcels& ring(WorkerIndex from, WorkerIndex to) noexcept {
        return rings_[std::size_t{from.value} * workers_ + to.value];
    }

    std::uint16_t workers_;
    std::vector<Parcels> rings_;
};

}  // namespace shunt::dataplane
