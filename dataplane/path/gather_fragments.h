// Fragments find their datagram before anything else is asked: the first one goes through all steps, and what they
// decide is the fate of the others. All fragments of a datagram meet on one worker, wherever the port's hash put them;
// DESIGN section 4 calls it their home.
#pragma once

#include "dataplane/hand_over.h"
#include "dataplane/path/batch.h"
#include "dataplane/tables/fragments.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

struct GatherFragments {
    const shm::Tables& tables;
    const HashSeed& seed;
    Fragments& fragments;
    HandOver& hand_over;
    WorkerIndex worker;
    Instant now;

    void prefetch(Lane&) noexcept {}

    Verdict apply(Lane& lane) noexcept {
        if (lane.part == Part::whole) [[likely]]
            return Verdict::keep();
        return gather(lane);
    }

  private:
    [[gnu::noinline]] Verdict gather(Lane& lane) noexcept {
        if (!tables.may_be_a_services(lane.tuple.source, lane.tuple.destination)) return Verdict::punt();
        const DatagramKey key = DatagramKey::of(lane);
        const WorkerIndex home(static_cast<std::uint16_t>(scale_hash(key.hash(seed), hand_over.workers())));
        if (home != worker) {
            const bool taken = hand_over.push(worker, home, Parcel::of(lane));
            return taken ? Verdict::gone() : Verdict::drop(shm::DropReason::fragment_hand_over);
        }
        if (lane.part == Part::later) return follow(lane, key);
        fragments.expect(key, now);
        lane.decides_datagram = true;
        return Verdict::keep();
    }

    Verdict follow(Lane& lane, const DatagramKey& key) noexcept {
        const DatagramFate* fate = fragments.find(key, now);
        if (fate == nullptr && lane.waited) return Verdict::drop(shm::DropReason::fragment_waited);
        if (fate == nullptr) {
            const bool waits = fragments.wait(key, Parcel::of(lane), now);
            return waits ? Verdict::gone() : Verdict::drop(shm::DropReason::fragment_table_full);
        }
        fate->give_to(lane);
        lane.listener_record = &tables.listeners[fate->listener.value];
        if (!fate->verdict.keeps()) return fate->verdict;
        // Its backend may have gone since.
        const bool there =
            tables.backend(fate->handle).status != shm::BackendStatus::absent && lane.listener_record->in_use;
        return there ? Verdict::keep() : Verdict::drop(shm::DropReason::no_backend);
    }
};

// After the backend is chosen: what was decided for a first fragment is the fate of the others.
struct DecideDatagram {
    Fragments& fragments;
    Instant now;

    void prefetch(Lane&) noexcept {}
    static bool is_past(const Lane& lane) noexcept { return lane.plain || !lane.decides_datagram; }
    Verdict apply(Lane& lane) noexcept {
        if (lane.decides_datagram) [[unlikely]]
            decide(lane);
        return Verdict::keep();
    }
    // Also for one that left before it got that far.
    [[gnu::noinline]] void decide(Lane& lane) noexcept {
        fragments.decide(DatagramKey::of(lane), DatagramFate::of(lane), now);
        lane.decides_datagram = false;
    }
};

}  // namespace shunt::dataplane
