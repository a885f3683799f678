#include "controlplane/sync/node.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace shunt::controlplane::sync {
namespace {

constexpr Duration slice_interval = Duration::milliseconds(5);
constexpr Duration hurried_interval{500'000};
constexpr Duration reply_interval = Duration::milliseconds(20);  // hellos in answer to one peer, at most
constexpr Duration sweep_interval = Duration::milliseconds(100);
constexpr std::uint64_t sweeps = 100;                        // until all of the peers' table was seen
constexpr Duration forgotten_after = Duration::seconds(60);  // a peer nobody configured
// What one slice may bring, and the rest of a batch.
constexpr double most_of_a_slice = static_cast<double>(Rounds::flows_per_slice) * 60 / room_for_records + 2;
constexpr double most_tokens = most_of_a_slice + 5;

}  // namespace

std::string describe(PeerState state) {
    switch (state) {
        case PeerState::silent:
            return "nothing is heard of it";
        case PeerState::wrong_key:
            return "what it sends is not signed with our key: its records are not used";
        case PeerState::other_version:
            return "it speaks another version of flow sync: its records are not used";
        case PeerState::other_group:
            return "it belongs to another group: its records are not used";
        case PeerState::unproven:
            return "it does not hear us: its records are not used";
        case PeerState::other_seed:
            return "its hash seed is another: its records are not used";
        case PeerState::other_configuration:
            return "its services are configured otherwise: its records are not used";
        case PeerState::usable:
            return "flows are exchanged";
    }
    return {};
}

std::string_view to_string(PeerState state) noexcept {
    constexpr std::array<std::string_view, 8> words{"silent",   "wrong_key",  "other_version",       "other_group",
                                                    "unproven", "other_seed", "other_configuration", "usable"};
    return words[static_cast<std::size_t>(state)];
}

Node::Node(Settings settings, PeerTable& peers, Instant now, Send send, Tell tell)
    : settings_(std::move(settings)),
      group_(group_number(settings_.group)),
      table_(peers),
      send_(std::move(send)),
      tell_(std::move(tell)),
      rounds_(settings_.flows),
      tokens_(most_tokens),
      tokens_at_(now),
      joined_(now) {
    for (const Address& address : settings_.peers) {
        peers_.push_back(std::make_unique<Peer>());
        peers_.back()->address = address;
        peers_.back()->my_nonce = fresh_nonce();
    }
}

// Only who has the key could foresee it.
std::uint64_t Node::fresh_nonce() {
    std::array<std::uint64_t, 3> words{0x6e6f6e6365, settings_.epoch, ++nonces_};
    return settings_.key.word(std::as_bytes(std::span(words))) | 1;
}

Node::Peer* Node::find(const Address& address) {
    const auto found = std::ranges::find(peers_, address, [](const auto& peer) { return peer->address; });
    return found == peers_.end() ? nullptr : found->get();
}

// Who has the key may join a multicast group; there is no list.
Node::Peer* Node::introduce(const Address& from, std::span<const std::byte> bytes, Instant now) {
    if (!settings_.multicast_group || peers_.size() >= most_peers) return nullptr;
    const auto opened = open(settings_.key, group_, bytes);
    const auto* datagram = std::get_if<Datagram>(&opened);
    if (datagram == nullptr || datagram->from == settings_.epoch) return nullptr;
    auto& peer = *peers_.emplace_back(std::make_unique<Peer>());
    peer.address = from;
    peer.my_nonce = fresh_nonce();
    peer.joined = now;
    return &peer;
}

bool Node::present(const Peer& peer, Instant now) const { return peer.heard && now - *peer.heard < silence; }

PeerState Node::state_of(const Peer& peer, Instant now) const {
    if (present(peer, now)) {
        if (peer.hello.identity.seed != identity_.seed) return PeerState::other_seed;
        return peer.hello.identity == identity_ ? PeerState::usable : PeerState::other_configuration;
    }
    const auto lately = [now](const std::optional<Instant>& at) { return at && now - *at < silence; };
    if (lately(peer.refused_at)) {
        if (peer.refused == Refusal::forged) return PeerState::wrong_key;
        if (peer.refused == Refusal::version) return PeerState::other_version;
        if (peer.refused == Refusal::group) return PeerState::other_group;
    }
    return lately(peer.unproven_at) ? PeerState::unproven : PeerState::silent;
}

bool Node::any_usable(Instant now) const {
    return std::ranges::any_of(peers_, [&](const auto& peer) { return usable(*peer, now); });
}

// ------------------------------------------------------------------------------------------------ hearing

void Node::receive(const Address& from, std::span<const std::byte> bytes, const View& view, Instant now) {
    identity_ = view.identity;
    Peer* peer = find(from);
    if (peer == nullptr) peer = introduce(from, bytes, now);
    if (peer == nullptr) {
        ++strangers_;
        return;
    }
    const auto opened = open(settings_.key, group_, bytes);
    if (const auto* datagram = std::get_if<Datagram>(&opened)) return hear(*peer, *datagram, view, now);
    const Refusal refusal = std::get<Refusal>(opened);
    ++peer->unused.refused[static_cast<std::size_t>(refusal)];
    peer->refused = refusal;
    peer->refused_at = now;
}

void Node::hear(Peer& peer, const Datagram& datagram, const View& view, Instant now) {
    const bool for_us = datagram.to == settings_.epoch || datagram.to_group;
    if (const auto* hello = std::get_if<Hello>(&datagram.body); hello != nullptr && datagram.from != settings_.epoch) {
        return hear_hello(peer, datagram, *hello, now);
    }
    if (!for_us || datagram.from == settings_.epoch) {
        ++peer.unused.misaddressed;
        return;
    }
    if (datagram.from != peer.epoch) {
        ++peer.unused.unproven;
        peer.unproven_at = now;
        return send_hello(peer, peer.their_nonce, now);
    }
    if (!peer.windows[datagram.to_group].take(datagram.sequence)) {
        ++peer.unused.replayed;
        return;
    }
    peer.heard = now;
    if (!usable(peer, now)) {
        ++peer.unused.unusable;
        return;
    }
    std::visit([&](const auto& body) { hear_body(peer, datagram.to_group, body, view, now); }, datagram.body);
}

// A hello of a start that was not proven yet says nothing but "answer me", unless it answers our nonce.
void Node::hear_hello(Peer& peer, const Datagram& datagram, const Hello& hello, Instant now) {
    const bool known = datagram.from == peer.epoch;
    if (!known && hello.answer != peer.my_nonce) {
        ++peer.unused.unproven;
        peer.unproven_at = now;
        return send_hello(peer, hello.nonce, now);
    }
    if (!known) believe(peer, datagram.from);
    if (!peer.windows[datagram.to_group].take(datagram.sequence)) {
        ++peer.unused.replayed;
        return;
    }
    const bool asks_anew = hello.nonce != 0 && hello.nonce != peer.their_nonce;
    if (hello.nonce != 0) peer.their_nonce = hello.nonce;
    if (hello.identity != peer.hello.identity) {  // what we told before it may not have been able to use
        rounds_.again();
        changed_at_ = now;
    }
    peer.hello = hello;
    peer.heard = now;
    if (asks_anew) send_hello(peer, peer.their_nonce, now);
}

void Node::believe(Peer& peer, std::uint64_t epoch) {
    peer.lost_before = lost_of(peer);
    peer.epoch = epoch;
    peer.windows = {};
    peer.counted_from = peer.counted_to = {};
    peer.received = 0;
    peer.outgoing.records = 0;
    peer.my_nonce = fresh_nonce();
    peer.hello = {};
}

std::uint64_t Node::lost_of(const Peer& peer) noexcept {
    const std::uint64_t sent = peer.counted_to[0] - peer.counted_from[0] + peer.counted_to[1] - peer.counted_from[1];
    return peer.lost_before + (sent > peer.received ? sent - peer.received : 0);
}

void Node::hear_body(Peer& peer, bool to_group, const Flows& flows, const View& view, Instant now) {
    std::uint64_t& from = peer.counted_from[to_group];
    std::uint64_t& to = peer.counted_to[to_group];
    from = to == 0 ? flows.first : std::min(from, flows.first);
    to = std::max(to, flows.first + flows.records.size());
    peer.received += flows.records.size();
    take(peer, flows.records, view, now);
}

void Node::hear_body(Peer& peer, bool, const Ask& ask, const View& view, Instant now) {
    if (!may_send(1, now)) return;  // it will ask again
    tokens_ -= 1;
    send(peer.address, peer.outgoing, peer.epoch, false,
         chunk_from(ask.space, ask.position, widened(view, now), table_, now));
}

void Node::hear_body(Peer& peer, bool, const Chunk& chunk, const View& view, Instant now) {
    take(peer, chunk.records, view, now);
    peer.pull.hear(chunk);
}

void Node::take(Peer& peer, std::span<const FlowRecord> records, const View& view, Instant now) {
    resolver_.follow(view.tables);
    for (const FlowRecord& record : records) {
        const auto flow = resolver_.resolve(record);
        if (flow) {
            table_.put(*flow, record.state, record.idle, view.tables, Tick::at(now));
        } else {
            ++peer.unresolved;
        }
    }
}

// ------------------------------------------------------------------------------------------------ telling

void Node::send(const Address& to, Outgoing& by, std::uint64_t epoch, bool to_group, Body body) {
    const Datagram datagram{to_group, settings_.epoch, to_group ? 0 : epoch, ++by.sequence, std::move(body)};
    send_(to, seal(settings_.key, group_, datagram));
}

Hello Node::hello_of(std::uint64_t nonce, std::uint64_t answer, std::uint64_t received, Instant now) const {
    return {.nonce = nonce,
            .answer = answer,
            .identity = identity_,
            .tables = tables_hash_,
            .received = received,
            .lag_ms = static_cast<std::uint32_t>(rounds_.lag(now).in_milliseconds()),
            .in_sync = was_in_sync_,
            .name = settings_.name,
            .software = settings_.software};
}

// At once, or as soon as it may be again.
void Node::send_hello(Peer& peer, std::uint64_t answer, Instant now) {
    if (now - peer.last_hello < reply_interval) {
        peer.next_answer = answer;
        peer.next_hello = peer.last_hello + reply_interval;
        return;
    }
    peer.last_hello = now;
    peer.next_hello = now + hello_interval;
    peer.next_answer.reset();
    send(peer.address, peer.outgoing, peer.epoch, false, hello_of(peer.my_nonce, answer, peer.received, now));
}

void Node::greet(Instant now) {
    for (const auto& peer : peers_) {
        if (now >= peer->next_hello) send_hello(*peer, peer->next_answer.value_or(peer->their_nonce), now);
    }
    if (settings_.multicast_group && now >= next_group_hello_) {
        next_group_hello_ = now + hello_interval;
        send(*settings_.multicast_group, to_group_, 0, true, hello_of(0, 0, 0, now));
    }
}

bool Node::may_send(double datagrams, Instant now) {
    const double earned = static_cast<double>((now - tokens_at_).nanoseconds) * 1e-9 * datagrams_per_second;
    tokens_ = std::min(most_tokens, tokens_ + earned);
    tokens_at_ = now;
    return tokens_ >= datagrams;
}

// A peer with other tables can derive no flow of ours.
View Node::widened(View view, Instant now) const {
    const auto differs = [&](const auto& peer) {
        return usable(*peer, now) && peer->tables_differ_since && now - *peer->tables_differ_since >= lasting;
    };
    if (std::ranges::any_of(peers_, differs)) view.which = Which::all;
    return view;
}

void Node::tell_flows(const View& view, Instant now) {
    if (!view.state || !any_usable(now) || now < next_slice_) return;
    const bool hurry = hurries();
    if (!rounds_.in_round() && !hurry && now - rounds_.began() < Rounds::pause) return;
    next_slice_ = now + (hurry ? hurried_interval : slice_interval);
    if (!may_send(most_of_a_slice, now)) return;
    const bool ended = rounds_.step(view, now, [&](const FlowRecord& record) {
        if (batch_bytes_ + record_bytes(record) > room_for_records) flush(now);
        batch_bytes_ += record_bytes(record);
        batch_.push_back(record);
    });
    if (ended && rounds_.began() >= changed_at_) changed_at_ = {};
    if (ended || hurry) flush(now);
}

void Node::flush(Instant now) {
    if (batch_.empty()) return;
    tokens_ -= 1;  // seen to by whoever fills batches
    if (settings_.multicast_group) {
        send(*settings_.multicast_group, to_group_, 0, true, Flows{to_group_.records, batch_});
        to_group_.records += batch_.size();
    } else {
        for (const auto& peer : peers_) {
            if (!usable(*peer, now)) continue;
            send(peer->address, peer->outgoing, peer->epoch, false, Flows{peer->outgoing.records, batch_});
            peer->outgoing.records += batch_.size();
        }
    }
    batch_.clear();
    batch_bytes_ = 0;
}

// ------------------------------------------------------------------------------------------------ turns

void Node::advance(const View& view, Instant now) {
    const bool changed = view.identity != identity_ || view.tables_hash != tables_hash_;
    identity_ = view.identity;
    tables_hash_ = view.tables_hash;
    if (view.tables.generation() != generation_) changed_at_ = now;
    generation_ = view.tables.generation();
    if (changed) {
        for (const auto& peer : peers_) peer->next_hello = now;
    }
    watch_peers(now);
    greet(now);
    for (const auto& peer : peers_) {
        if (!usable(*peer, now)) continue;
        peer->pull.ask(now, [&](const Ask& ask) { send(peer->address, peer->outgoing, peer->epoch, false, ask); });
    }
    tell_flows(widened(view, now), now);
    if (now >= next_sweep_) {
        next_sweep_ = now + sweep_interval;
        table_.sweep(table_.size() / sweeps + 1, view.tables, Tick::at(now));
        table_.breathe(now);
    }
    was_in_sync_ = in_sync(now);
}

void Node::watch_peers(Instant now) {
    if (settings_.multicast_group) {
        std::erase_if(peers_,
                      [now](const auto& peer) { return now - peer->heard.value_or(peer->joined) > forgotten_after; });
    }
    for (const auto& peer : peers_) {
        const bool differs = present(*peer, now) && peer->hello.tables != tables_hash_;
        if (!differs) peer->tables_differ_since.reset();
        if (differs && !peer->tables_differ_since) peer->tables_differ_since = now;
        const PeerState state = state_of(*peer, now);
        if (state == peer->told) continue;
        if (state == PeerState::usable) {
            rounds_.again();
            changed_at_ = now;
        }
        peer->told = state;
        const std::string name = peer->hello.name.empty() ? "" : peer->hello.name + " at ";
        if (tell_) tell_(state != PeerState::usable, "peer " + name + peer->address.text() + ": " + describe(state));
    }
}

Instant Node::next_wakeup(Instant now) const {
    Instant next = next_sweep_;
    const auto sooner = [&next](Instant at) { next = std::min(next, at); };
    if (settings_.multicast_group) sooner(next_group_hello_);
    bool pulls = false;
    for (const auto& peer : peers_) {
        sooner(peer->next_hello);
        pulls = pulls || (usable(*peer, now) && !peer->pull.done());
    }
    if (pulls) sooner(now + Duration::milliseconds(20));
    if (any_usable(now)) {
        sooner(rounds_.in_round() || hurries() ? next_slice_ : std::max(next_slice_, rounds_.began() + Rounds::pause));
    }
    return std::max(next, now + Duration{100'000});
}

void Node::pull_again() {
    for (const auto& peer : peers_) peer->pull = {};
}

bool Node::in_sync(Instant now) const {
    if (was_in_sync_ || now - joined_ >= longest_join) return true;
    bool anybody = false;
    for (const auto& peer : peers_) {
        if (!usable(*peer, now)) continue;
        anybody = true;
        if (!peer->pull.done()) return false;
    }
    return anybody || (peers_.empty() && !settings_.multicast_group) || now - joined_ >= nobody_answers;
}

Report Node::report(Instant now) const {
    Report report{.in_sync = in_sync(now),
                  .lag = rounds_.lag(now),
                  .flows_to_tell = rounds_.to_tell(),
                  .flows_of_peers = table_.entries(),
                  .flows_evicted = table_.evicted(),
                  .strangers = strangers_};
    if (rounds_.to_tell() != 0) {
        report.coverage = static_cast<double>(rounds_.known()) / static_cast<double>(rounds_.to_tell());
    }
    for (const auto& peer : peers_) {
        report.peers.push_back({.address = peer->address,
                                .name = peer->hello.name,
                                .software = peer->hello.software,
                                .state = state_of(*peer, now),
                                .tables_same = peer->hello.tables == tables_hash_,
                                .in_sync = peer->hello.in_sync,
                                .pulled = peer->pull.done(),
                                .heard = peer->heard ? std::optional(now - *peer->heard) : std::nullopt,
                                .lag = Duration::milliseconds(peer->hello.lag_ms),
                                .records_sent = settings_.multicast_group ? to_group_.records : peer->outgoing.records,
                                .records_confirmed = peer->hello.received,
                                .records_received = peer->received,
                                .records_lost = lost_of(*peer),
                                .records_unresolved = peer->unresolved,
                                .unused = peer->unused});
    }
    return report;
}

}  // namespace shunt::controlplane::sync
