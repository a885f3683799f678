// One worker: one queue of every port, a burst at a time, to completion. The eight steps on one screen.
//
// Besides its ports a worker polls one more source: fragments that other workers handed over, or that waited here for
// the first of their datagram. They take the same steps. A packet counts as received by the worker that decides it.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <span>
#include <vector>

#include "dataplane/forget_list.h"
#include "dataplane/hand_over.h"
#include "dataplane/news.h"
#include "dataplane/path/answer.h"
#include "dataplane/path/choose_backend.h"
#include "dataplane/path/cut.h"
#include "dataplane/path/find_service.h"
#include "dataplane/path/forward.h"
#include "dataplane/path/gather_fragments.h"
#include "dataplane/path/look_up_flow.h"
#include "dataplane/path/parse.h"
#include "dataplane/path/step.h"
#include "dataplane/path/sweep_flows.h"
#include "dataplane/ports/port.h"
#include "dataplane/tables/other_tables.h"
#include "src/base/clock.h"
#include "src/shm/generation.h"
#include "src/shm/state.h"

namespace shunt::dataplane {

static_assert(packet_headroom >= std::max(Modes::headroom, answer_headroom) + tags_headroom);

template <Port P, Clock C>
class Worker {
  public:
    // `tables` and `state` are the two regions; `ports` are this worker's queues, by PortIndex. All must outlive it.
    // `predecessors`: regions that the header of `state` names, in its order; each must live while it is kept.
    Worker(const std::byte* tables, const shm::State& state, WorkerIndex index, std::vector<P*> ports, const C& clock,
           HandOver& hand_over, std::span<const shm::StateReader> predecessors = {});

    // One burst of every port. Returns the number of packets it had: the caller decides how to idle.
    std::uint32_t poll_once() noexcept;

    // Around a sleep: a worker that sleeps holds no generation.
    void go_offline() noexcept { generations_.go_offline(); }
    void go_online() noexcept { generations_.go_online(); }

    // What the main thread hears from this worker, at any time.
    News& news() noexcept { return news_; }
    // Where the main thread says which flows it is to forget.
    ForgetList& forget_list() noexcept { return forget_list_; }
    // What other nodes know, from the next burst on; null: nothing. What it replaces may be used until the worker has
    // polled again.
    void follow_peers(const PeerFlows* peers) noexcept { peers_.store(peers, std::memory_order_release); }

    // Only from the thread that polls, or when none does. How many fragments wait here.
    std::uint32_t waiting() const noexcept { return fragments_.waiting(); }
    // After the last poll of all workers: what waits here, or was handed over and not yet taken, is decided or dropped.
    void wind_up() noexcept;

  private:
    [[gnu::noinline]] void forget(std::span<const FlowKey> flows) noexcept;
    std::uint64_t process(Instant now, const shm::Tables& tables) noexcept;
    void serve(PortIndex in, Instant now, const shm::Tables& tables) noexcept;
    void receive_fragments(Instant now) noexcept;
    void transmit(Batch& batch, std::uint32_t used) noexcept;
    [[gnu::noinline]] void cut(Lane& lane, Forward& forward) noexcept;
    bool make_pieces(Lane& lane, std::uint32_t count) noexcept;
    void settle_pieces(Lane& lane) noexcept;
    void release(Instant now, const shm::Tables& tables) noexcept;
    [[gnu::noinline]] void leave(Lane& lane, Instant now, const shm::Tables& tables) noexcept;
    bool answer(Lane& lane, Instant now, const shm::Tables& tables) noexcept;
    AnswerLimit& limit_of(Answer answer) noexcept {
        return answer == Answer::too_big ? too_big_answers_ : time_answers_;
    }
    bool send(PortIndex out, std::span<Lane* const> lanes) noexcept;
    bool send_apart(std::uint32_t used, std::span<Lane* const> all) noexcept;
    Tick tick_at(Instant now) const noexcept {
        return Tick::at({now.nanoseconds - state_.header().downtime_nanoseconds});
    }

    shm::State state_;
    WorkerIndex index_;
    std::vector<P*> ports_;
    std::vector<MacAddress> port_macs_;
    const C& clock_;
    HandOver& hand_over_;
    shm::WorkerBlock& block_;
    std::span<shm::ServiceDrops> drops_;
    std::span<shm::BackendCounters> backends_;
    ForwardingCache forwarding_;
    LiveFlows live_;
    FlowTable flows_;
    FlowSweep sweep_;
    SchedulerMemory schedulers_;
    OtherTables others_;
    std::atomic<const PeerFlows*> peers_{};
    LookAsideBudget look_aside_budget_;
    Fragments fragments_;
    LinkAddresses links_;
    PathMtus path_mtus_;
    AnswerLimit too_big_answers_;
    AnswerLimit time_answers_;
    News news_;
    ForgetList forget_list_;
    shm::GenerationReader generations_;
    std::uint64_t turn_{};
    Batch batch_;
    Batch pieces_;
};

template <Port P, Clock C>
Worker<P, C>::Worker(const std::byte* tables, const shm::State& state, WorkerIndex index, std::vector<P*> ports,
                     const C& clock, HandOver& hand_over, std::span<const shm::StateReader> predecessors)
    : state_(state),
      index_(index),
      ports_(std::move(ports)),
      clock_(clock),
      hand_over_(hand_over),
      block_(state.workers()[index.value]),
      drops_(state.drops(index)),
      backends_(state.backends(index)),
      forwarding_(state.shape().handles),
      live_(state, index),
      flows_(state.flows(index), state.header().flow_seed, live_, state.header().starts <= 1),
      sweep_(flows_.bucket_count()),
      schedulers_(live_, index, state.shape().workers, state.header().flow_seed.words[0]),
      others_(state, index, predecessors),
      fragments_(state.header().flow_seed, static_cast<std::uint16_t>(state.shape().workers)),
      links_(state.links(), state.neighbours()),
      path_mtus_(state.path_mtus(), state.header().path_mtus_known),
      generations_(tables, state.header(), block_) {
    for (const P* port : ports_) port_macs_.push_back(port->mac());
    go_online();
}

template <Port P, Clock C>
std::uint32_t Worker<P, C>::poll_once() noexcept {
    const Instant now = clock_.now();
    const shm::Tables& tables = generations_.acquire();
    forget_list_.carry_out([this](std::span<const FlowKey> flows) { forget(flows); });
    std::size_t packets = 0;
    for (std::uint8_t i = 0; i < ports_.size(); ++i) {
        serve(PortIndex(i), now, tables);
        packets += batch_.received();
    }
    receive_fragments(now);
    packets += batch_.received();
    if (batch_.received() != 0) process(now, tables);
    sweep_.step(now, flows_, {tables, tick_at(now)});
    generations_.quiesce();  // nothing of `tables` is held any more
    block_.heartbeat.set(static_cast<std::uint64_t>(now.nanoseconds));
    return static_cast<std::uint32_t>(packets);
}

// A burst of one port: received, decided, sent. `received` is counted before anything is read of the packets.
template <Port P, Clock C>
void Worker<P, C>::serve(PortIndex in, Instant now, const shm::Tables& tables) noexcept {
    batch_.begin(in);
    ports_[in.value]->receive(batch_);
    block_.bursts.add(1);
    if (batch_.received() == 0) return;
    auto& counters = block_.ports[in.value];
    counters.received.add(batch_.received());
    block_.received.add(batch_.received());
    block_.busy_bursts.add(1);
    counters.received_bytes.add(process(now, tables));
}

template <Port P, Clock C>
void Worker<P, C>::wind_up() noexcept {
    Instant now = clock_.now();
    go_online();
    const shm::Tables& tables = generations_.acquire();
    do {
        now = now + Fragments::longest_wait;
        receive_fragments(now);
        process(now, tables);
    } while (batch_.received() != 0);
    generations_.quiesce();
    go_offline();
}

template <Port P, Clock C>
void Worker<P, C>::forget(std::span<const FlowKey> flows) noexcept {
    const HashSeed& seed = state_.header().flow_seed;
    for (const FlowKey& flow : flows) flows_.prefetch(flows_.first_bucket(hash_peer(seed, flow.peer, flow.peer_port)));
    for (const FlowKey& flow : flows) flows_.forget(hash_peer(seed, flow.peer, flow.peer_port), flow);
}

template <Port P, Clock C>
std::uint64_t Worker<P, C>::process(Instant now, const shm::Tables& tables) noexcept {
    const Tick tick = tick_at(now);
    const HashSeed& seed = state_.header().flow_seed;
    forwarding_.use(tables.generation(), path_mtus_.any_known());
    look_aside_budget_.refill();
    const PeerFlows* const peers = peers_.load(std::memory_order_acquire);
    FlowContext context{tables,       flows_,         others_.of_workers(), others_.left(),
                        forget_list_, {tables, tick}, look_aside_budget_,   block_,
                        peers};
    Parse parse;
    GatherFragments gather{tables, seed, fragments_, hand_over_, index_, now};
    FindService find_service{tables, tables.listener_map, seed, news_};
    LookUpFlow look_up_flow{context, forwarding_};
    ChooseBackend choose_backend{context, schedulers_};
    DecideDatagram decide_datagram{fragments_, now};
    Forward forward{tables, links_, path_mtus_, port_macs_, backends_, forwarding_, news_, tick};

    run(batch_, Together{parse, gather}, find_service, look_up_flow, Together{choose_backend, decide_datagram},
        forward);
    transmit(batch_, forward.ports);
    batch_.for_each_left([&](Lane& lane) {
        if (lane.decides_datagram) decide_datagram.decide(lane);
        if (lane.verdict.cuts()) cut(lane, forward);
    });
    release(now, tables);
    return parse.bytes;
}

template <Port P, Clock C>
void Worker<P, C>::receive_fragments(Instant now) noexcept {
    batch_.clear();
    while (batch_.room() > 0) {
        const auto parcel = fragments_.take(now);
        if (!parcel) break;
        Lane& lane = batch_.add();
        parcel->unpack(lane);
        lane.waited = true;
    }
    hand_over_.take(index_, turn_++, batch_.room(), [&](const Parcel& parcel) { parcel.unpack(batch_.add()); });
    block_.received.add(batch_.received());
}

// In order, per port of departure; `used` says which these are, as bits. Most bursts leave by one port.
template <Port P, Clock C>
void Worker<P, C>::transmit(Batch& batch, std::uint32_t used) noexcept {
    const std::span<Lane* const> all = batch.lanes_staying();
    if (all.empty()) return;
    const bool all_taken = (used & (used - 1)) == 0 ? send(all.front()->out_port, all) : send_apart(used, all);
    if (!all_taken) batch.keep_if([](const Lane& lane) { return lane.verdict; });
}

template <Port P, Clock C>
bool Worker<P, C>::send_apart(std::uint32_t used, std::span<Lane* const> all) noexcept {
    bool all_taken = true;
    for (; used != 0; used &= used - 1) {
        const PortIndex out(static_cast<std::uint8_t>(std::countr_zero(used)));
        std::array<Lane*, burst_size> lanes;
        std::size_t count = 0;
        for (Lane* lane : all) {
            if (lane->out_port == out) lanes[count++] = lane;
        }
        all_taken &= send(out, {lanes.data(), count});
    }
    return all_taken;
}

// What the port does not take is dropped, and counted as such. False: there was such.
template <Port P, Clock C>
bool Worker<P, C>::send(PortIndex out, std::span<Lane* const> lanes) noexcept {
    const std::size_t taken = ports_[out.value]->transmit(lanes);
    std::uint64_t bytes = 0;
    for (const Lane* lane : lanes.first(taken)) {
        bytes += lane->length;
        lane->traffic->packets.add(1);
        lane->traffic->bytes.add(lane->length);
    }
    block_.ports[out.value].transmitted.add(taken);
    block_.ports[out.value].transmitted_bytes.add(bytes);
    for (Lane* lane : lanes.subspan(taken)) lane->verdict = Verdict::drop(shm::DropReason::transmit_refused);
    return taken == lanes.size();
}

// Every piece goes through `forward` like a fragment that came so. The packet is forwarded if all of them leave; all
// but the first are packets we made.
template <Port P, Clock C>
void Worker<P, C>::cut(Lane& lane, Forward& forward) noexcept {
    const std::uint32_t count = count_pieces(lane);
    lane.verdict = Verdict::drop(shm::DropReason::packet_too_big);
    if (count == 0 || count > burst_size) return;
    lane.verdict = Verdict::drop(shm::DropReason::no_buffer);
    if (!make_pieces(lane, count)) return;
    forward.ports = 0;
    run(pieces_, forward);
    transmit(pieces_, forward.ports);
    settle_pieces(lane);
}

// One of them that does not leave makes a packet that did not: its receiver cannot put it together.
template <Port P, Clock C>
void Worker<P, C>::settle_pieces(Lane& lane) noexcept {
    lane.verdict = Verdict::sent();
    std::uint64_t punted = 0;
    pieces_.for_each_left([&](Lane& piece) {
        P& port = *ports_[piece.in_port.value];
        if (piece.verdict.punts() && port.punt(piece)) {
            ++punted;
            return;
        }
        if (piece.verdict.punts()) piece.verdict = Verdict::drop(shm::DropReason::punt_refused);
        if (piece.verdict.cuts()) piece.verdict = Verdict::drop(shm::DropReason::packet_too_big);  // a path MTU fell
        lane.verdict = piece.verdict;
        port.drop(piece);
    });
    const std::uint64_t left = pieces_.staying() + punted;
    const bool whole = lane.verdict.is_sent();
    if (whole && punted != 0) lane.verdict = Verdict::punt();
    block_.originated.add(whole ? left - 1 : left);
}

// Into `pieces_`; the first one has the buffer of the packet. False: not enough buffers, the packet is as it was.
template <Port P, Clock C>
bool Worker<P, C>::make_pieces(Lane& lane, std::uint32_t count) noexcept {
    P& port = *ports_[lane.in_port.value];
    pieces_.clear();
    Lane& first = pieces_.add();
    for (std::uint32_t number = 1; number < count; ++number) {
        Lane& piece = pieces_.add();
        if (port.make(piece, lane.length)) {
            write_piece(lane, number, piece);
            continue;
        }
        pieces_.for_each([&](Lane& made) {
            if (made.buffer != nullptr) port.drop(made);
        });
        return false;
    }
    keep_first_piece(lane);
    first = lane;
    lane.buffer = nullptr;
    return true;
}

// What stayed was sent. What left the batch early is punted or freed, counted by its reason; or somebody else's now.
template <Port P, Clock C>
void Worker<P, C>::release(Instant now, const shm::Tables& tables) noexcept {
    std::uint64_t gone = 0;
    std::uint64_t forwarded = batch_.staying();
    batch_.for_each_left([&](Lane& lane) {
        if (lane.verdict.is_gone()) {
            ++gone;
        } else if (lane.verdict.is_sent()) {
            ++forwarded;
        } else {
            leave(lane, now, tables);
        }
    });
    block_.forwarded.add(forwarded);
    if (gone != 0) block_.received.set(block_.received.read() - gone);
}

template <Port P, Clock C>
void Worker<P, C>::leave(Lane& lane, Instant now, const shm::Tables& tables) noexcept {
    P& port = *ports_[lane.in_port.value];
    if (lane.verdict.punts()) {
        if (lane.buffer == nullptr || port.punt(lane)) {  // without a buffer: in pieces, already
            block_.punted.add(1);
            block_.ports[lane.in_port.value].punted.add(1);
            return;
        }
        lane.verdict = Verdict::drop(shm::DropReason::punt_refused);
    }
    const std::uint16_t known = lane.service().value;
    const std::uint16_t service = known < drops_.size() ? known : std::uint16_t{0};
    drops_[service].by_reason[static_cast<std::size_t>(lane.verdict.reason())].add(1);
    block_.dropped.add(1);
    if (lane.buffer != nullptr && !answer(lane, now, tables)) port.drop(lane);
}

// Tells the sender, if that is due; true: its buffer left with the answer. The source is an address of this node, or
// what the sender knows the service by.
template <Port P, Clock C>
bool Worker<P, C>::answer(Lane& lane, Instant now, const shm::Tables& tables) noexcept {
    if (lane.answer == Answer::none || !limit_of(lane.answer).take(now)) return false;
    const IpAddress& own = tables.tunnel_source(lane.family);
    const IpAddress& known_by = tables.listeners[lane.listener.value].address;
    write_answer(lane, own.is_unspecified() ? known_by : own, port_macs_[lane.in_port.value]);
    Lane* const lanes[] = {&lane};
    if (ports_[lane.in_port.value]->transmit(lanes) == 0) return false;
    auto& counters = block_.ports[lane.in_port.value];
    counters.transmitted.add(1);
    counters.transmitted_bytes.add(lane.length);
    block_.originated.add(1);
    return true;
}

}  // namespace shunt::dataplane
