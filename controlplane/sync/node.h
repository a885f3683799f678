// Flow sync of one node: what it believes of its peers, what it tells them, and what it takes from them
// (docs/decisions/flow-sync.md). Pure: time, the look at the own node, and the network are handed in.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "controlplane/sync/datagram.h"
#include "controlplane/sync/own_flows.h"
#include "controlplane/sync/peer_table.h"
#include "controlplane/sync/pull.h"
#include "controlplane/sync/replay_window.h"
#include "controlplane/sync/resolver.h"

namespace shunt::controlplane::sync {

struct Address {
    IpAddress address{};
    std::uint16_t port{};
    std::string text() const { return address_and_port(address, port); }
    auto operator<=>(const Address&) const = default;
};

struct Settings {
    std::string name{};
    std::string software{};
    std::string group{};
    std::vector<Address> peers{};              // unicast; or
    std::optional<Address> multicast_group{};  // whoever is in it
    Key key{{}};
    std::uint64_t flows{};  // that the data plane remembers
    std::uint64_t epoch{};  // random; never 0
};

// Why nothing is taken from a peer; the first that holds.
enum class PeerState : std::uint8_t {
    silent,         // nothing has come, or not for a while
    wrong_key,      // what comes is not signed with our key
    other_version,  // of the records
    other_group,    // by name
    unproven,       // it has not answered our nonce yet
    other_seed,
    other_configuration,
    usable,
};
std::string_view to_string(PeerState state) noexcept;
std::string describe(PeerState state);  // for people

// Datagrams and records that were not used.
struct Unused {
    std::array<std::uint64_t, refusal_reasons> refused{};  // by Refusal
    std::uint64_t replayed{};
    std::uint64_t misaddressed{};  // for another node, or another start of this one
    std::uint64_t unproven{};      // of a start of the peer that it did not prove
    std::uint64_t unusable{};      // of a peer that goes by something else
};

struct PeerReport {
    Address address{};
    std::string name{};  // empty: not heard of yet
    std::string software{};
    PeerState state{};
    bool tables_same{};
    bool in_sync{};                     // as it says
    bool pulled{};                      // we have all it had
    std::optional<Duration> heard{};    // ago; nothing: never
    Duration lag{};                     // of what it tells, by its word
    std::uint64_t records_sent{};       // in this epoch
    std::uint64_t records_confirmed{};  // of those, by its last word
    std::uint64_t records_received{};
    std::uint64_t records_lost{};
    std::uint64_t records_unresolved{};  // no such listener or backend here
    Unused unused{};
};

struct Report {
    bool in_sync{};
    Duration lag{};
    std::uint64_t flows_to_tell{};  // as the last round found
    double coverage{1.0};           // share of them that had been told before it
    std::uint64_t flows_of_peers{};
    std::uint64_t flows_evicted{};  // of the peers', for want of room
    std::uint64_t strangers{};      // datagrams from an address that is no peer's
    std::vector<PeerReport> peers{};
};

class Node {
  public:
    static constexpr Duration hello_interval = Duration::seconds(1);
    static constexpr Duration silence = Duration::seconds(3);         // then a peer is not there
    static constexpr Duration nobody_answers = Duration::seconds(3);  // then one is in sync alone
    static constexpr Duration longest_join = Duration::seconds(30);   // and after this in any case
    static constexpr Duration lasting = Duration::seconds(1);         // tables that differ for so long
    static constexpr std::uint64_t datagrams_per_second = 2000;
    static constexpr std::uint64_t most_peers = 32;

    using Send = std::function<void(const Address&, std::span<const std::byte>)>;
    using Tell = std::function<void(bool problem, const std::string& sentence)>;

    // `peers` must outlive it, and be of the tables the views will show.
    Node(Settings settings, PeerTable& peers, Instant now, Send send, Tell tell = {});

    void receive(const Address& from, std::span<const std::byte> bytes, const View& view, Instant now);
    // All that is due. To be called by next_wakeup, and after receive.
    void advance(const View& view, Instant now);
    Instant next_wakeup(Instant now) const;

    // The data plane is another one: peers may know flows of it that it does not.
    void pull_again();
    // This node knows what its peers know, as far as they can be asked: it may be master.
    bool in_sync(Instant now) const;
    Report report(Instant now) const;

  private:
    struct Outgoing {
        std::uint64_t sequence{};
        std::uint64_t records{};
    };
    struct Peer {
        Address address{};
        std::uint64_t my_nonce{};        // it is to answer
        std::uint64_t their_nonce{};     // we are to answer
        std::uint64_t epoch{};           // that it proved; 0: none
        std::optional<Instant> heard{};  // something proven
        std::optional<Instant> refused_at{};
        std::optional<Instant> unproven_at{};
        Instant joined{};
        Refusal refused{};
        Hello hello{};
        std::array<ReplayWindow, 2> windows{};        // to us alone, to the group
        std::array<std::uint64_t, 2> counted_from{};  // record numbers in this epoch
        std::array<std::uint64_t, 2> counted_to{};
        std::uint64_t received{};  // records of this epoch
        std::uint64_t unresolved{};
        std::uint64_t lost_before{};  // in earlier epochs
        Outgoing outgoing{};
        Pull pull{};
        Unused unused{};
        Instant next_hello{};
        Instant last_hello{Instant{} - hello_interval};
        std::optional<std::uint64_t> next_answer{};  // to a nonce that came too soon
        std::optional<Instant> tables_differ_since{};
        PeerState told{PeerState::silent};
    };

    Peer* find(const Address& address);
    Peer* introduce(const Address& from, std::span<const std::byte> bytes, Instant now);
    bool present(const Peer& peer, Instant now) const;
    PeerState state_of(const Peer& peer, Instant now) const;
    bool usable(const Peer& peer, Instant now) const { return state_of(peer, now) == PeerState::usable; }
    std::uint64_t fresh_nonce();
    View widened(View view, Instant now) const;
    bool hurries() const noexcept { return changed_at_ != Instant{}; }

    void hear(Peer& peer, const Datagram& datagram, const View& view, Instant now);
    void hear_hello(Peer& peer, const Datagram& datagram, const Hello& hello, Instant now);
    void believe(Peer& peer, std::uint64_t epoch);
    void hear_body(Peer& peer, bool to_group, const Flows& flows, const View& view, Instant now);
    void hear_body(Peer& peer, bool to_group, const Ask& ask, const View& view, Instant now);
    void hear_body(Peer& peer, bool to_group, const Chunk& chunk, const View& view, Instant now);
    void hear_body(Peer&, bool, const Hello&, const View&, Instant) {}
    void take(Peer& peer, std::span<const FlowRecord> records, const View& view, Instant now);
    static std::uint64_t lost_of(const Peer& peer) noexcept;

    void greet(Instant now);
    void send_hello(Peer& peer, std::uint64_t answer, Instant now);
    void send(const Address& to, Outgoing& by, std::uint64_t epoch, bool to_group, Body body);
    bool may_send(double datagrams, Instant now);
    void tell_flows(const View& view, Instant now);
    void flush(Instant now);
    void watch_peers(Instant now);
    bool any_usable(Instant now) const;
    Hello hello_of(std::uint64_t nonce, std::uint64_t answer, std::uint64_t received, Instant now) const;

    Settings settings_;
    std::uint64_t group_;
    PeerTable& table_;
    Send send_;
    Tell tell_;
    std::vector<std::unique_ptr<Peer>> peers_{};
    Outgoing to_group_{};
    Resolver resolver_{};
    Rounds rounds_;
    Identity identity_{};
    std::uint64_t tables_hash_{};
    Generation generation_{};
    Instant changed_at_{};  // tables or peers, and not all flows were looked at since; zero: they were
    Instant next_slice_{};
    std::vector<FlowRecord> batch_{};
    std::size_t batch_bytes_{};
    std::uint64_t nonces_{};
    std::uint64_t strangers_{};
    double tokens_{};
    Instant tokens_at_{};
    Instant next_group_hello_{};
    Instant next_sweep_{};
    Instant joined_;
    bool was_in_sync_{};
};

}  // namespace shunt::controlplane::sync
