// The lanes of one burst. A lane is one packet on its way through the steps: bytes, what parse found, what was decided.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "dataplane/tables/forwarding_cache.h"
#include "src/net/address.h"
#include "src/net/headers.h"
#include "src/net/packet_hash.h"
#include "src/shm/layout.h"

namespace shunt::dataplane {

constexpr std::size_t burst_size = 32;

// What a step decides about a lane: it stays, or it leaves the batch: for the kernel, for a named reason, to be cut
// into pieces first, or because its buffer belongs to somebody else now (a
// fragment that waits, or another worker), or because it was sent, in pieces.
class Verdict {
  public:
    static constexpr Verdict keep() noexcept { return {Kind::keep, {}}; }
    static constexpr Verdict punt() noexcept { return {Kind::punt, {}}; }
    static constexpr Verdict cut() noexcept { return {Kind::cut, {}}; }
    static constexpr Verdict gone() noexcept { return {Kind::gone, {}}; }
    static constexpr Verdict sent() noexcept { return {Kind::sent, {}}; }
    static constexpr Verdict drop(shm::DropReason reason) noexcept { return {Kind::drop, reason}; }

    constexpr bool keeps() const noexcept { return kind_ == Kind::keep; }
    constexpr bool punts() const noexcept { return kind_ == Kind::punt; }
    constexpr bool cuts() const noexcept { return kind_ == Kind::cut; }
    constexpr bool is_gone() const noexcept { return kind_ == Kind::gone; }
    constexpr bool is_sent() const noexcept { return kind_ == Kind::sent; }
    constexpr shm::DropReason reason() const noexcept { return reason_; }
    friend constexpr bool operator==(Verdict, Verdict) noexcept = default;

  private:
    enum class Kind : std::uint8_t { keep, punt, drop, cut, gone, sent };
    constexpr Verdict(Kind kind, shm::DropReason reason) noexcept : kind_(kind), reason_(reason) {}
    Kind kind_;
    shm::DropReason reason_;
};

enum class Direction : std::uint8_t { to_backend, to_client };

// Is the packet all of its datagram (RFC 791 section 3.2, RFC 8200 section 4.5)? Only a first fragment has ports.
enum class Part : std::uint8_t { whole, first, later };

// What the sender is told about a packet that is dropped (RFC 792, RFC 4443).
enum class Answer : std::uint8_t { none, too_big, time_exceeded };

// What the port says of a packet.
struct Arrival {
    std::byte* bytes{};  // the Ethernet header
    void* buffer{};      // the port's own name for it
    std::uint32_t length{};
    bool segmented{};         // the packet goes on in another buffer
    bool checksum_flagged{};  // the hardware found a bad checksum
    PortIndex in_port{};      // where it came in
    bool waited{};            // a fragment that waited for its first
};

// What parse read.
struct Reading {
    FiveTuple tuple{};          // as the packet says; of an ICMP error: of the packet it quotes, turned round
    std::uint16_t ip_length{};  // of the IP packet: what follows is padding
    std::uint8_t tcp_flags{};
    bool plain{};                 // a whole packet of TCP or UDP: what follows is as it is here, but for the offsets
    std::uint32_t fragment_id{};  // of a first or later fragment
    std::uint16_t l3_offset{};    // of the IP header, from `bytes`
    std::uint16_t l4_offset{};    // of the transport or ICMP header
    std::uint16_t quote_l3{};     // an ICMP error: where the quoted IP header is; 0: it is none
    std::uint16_t quote_l4{};     // and the quoted transport header, of which 8 bytes are there
    Family family{Family::ipv4};
    Part part{Part::whole};
    shm::DropReason unsupported{};  // why a service could not take this packet: then only the addresses are known

    friend bool operator==(const Reading&, const Reading&) noexcept = default;
};

// What the steps decided. All of it begins as zero, which says: nothing yet.
struct Decision {
    const ForwardingEntry* forwarding{};           // of a packet to `handle`, if all about it is known
    const shm::ListenerRecord* listener_record{};  // of `listener`, once the flow was looked for; unless `forwarding`
    shm::Handle handle{};                          // 0: not chosen yet
    ListenerIndex listener{};
    Be16 service_port{};  // of a listener that has many: which of them; 0 otherwise
    Verdict verdict{Verdict::keep()};
    Direction direction{};
    bool may_remember{};      // an entry may be made: the look-aside was done, or need not be
    bool decides_datagram{};  // a first fragment where its datagram is gathered
    Answer answer{Answer::none};
    std::uint16_t reserved{};
};

// What one step found for later ones, which look at nothing that was not written.
struct Finding {
    const shm::EndpointSlot* listener_slot;     // where a listener of the destination would be
    std::uint64_t bucket_hash;                  // hash_peer() of the client under the region's seed
    shm::FlowBucket* bucket;                    // the first of the flow table's two for that
    std::uint64_t table_hash;                   // Tables::hash(), for who has no flow at first sight
    const shm::BackendRecord* backend_record;   // of `handle`, unless there is `forwarding`
    const shm::NextHopRecord* next_hop_record;  // of `next_hop`, unless there is `forwarding`
    shm::Traffic* traffic;                      // counts what was forwarded
    SourceNumber source;                        // replies only
    NextHopIndex next_hop;
    std::uint16_t room;  // what the packet may have at most, where it is cut or its sender told
    PortIndex out_port;
};

// One packet on its way.
struct Lane : Arrival, Reading, Decision, Finding {
    // For counting; 0: none, or not known.
    ServiceIndex service() const noexcept {
        return listener_record != nullptr ? listener_record->service : ServiceIndex{};
    }
    bool is_quote() const noexcept { return quote_l3 != 0; }
    bool is_tcp() const noexcept { return tuple.protocol == Protocol::tcp; }
    bool is_opening() const noexcept { return is_tcp() && (tcp_flags & (tcp_syn | tcp_ack)) == tcp_syn; }
    // Neither the first packet of a connection nor one of its last.
    bool is_in_midstream() const noexcept { return (tcp_flags & (tcp_syn | tcp_fin | tcp_rst)) == 0; }
    bool is_closing() const noexcept { return is_tcp() && (tcp_flags & (tcp_fin | tcp_rst)) != 0; }
    const IpAddress& peer() const noexcept {
        return direction == Direction::to_backend ? tuple.source : tuple.destination;
    }
    template <class Header>
    Header& header_at(std::uint32_t offset) const noexcept {
        return *reinterpret_cast<Header*>(bytes + offset);
    }
    Be16 peer_port() const noexcept {
        return direction == Direction::to_backend ? tuple.source_port : tuple.destination_port;
    }
};

// Lanes that are still on their way stand in front, those that left behind them; nothing is copied but pointers.
class Batch {
  public:
    Batch() = default;
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    // Begins a burst of packets that came in at this port.
    void begin(PortIndex in) noexcept {
        clear();
        in_port_ = in;
    }
    // Who adds a packet also asks for its first line to be prefetched, where that may be far. Where it came in is the
    // batch's to say.
    Lane& add(const Arrival& arrival = {}) noexcept {
        add_all(1, [&](std::size_t) { return arrival; });
        return lanes_[count_ - 1];
    }
    // The same of `count` packets, no more than there is room for: `arrival(i)` says what came.
    template <class F>
    [[gnu::always_inline]] void add_all(std::size_t count, F&& arrival) noexcept {
        const PortIndex in_port = in_port_;  // copies: the bytes of a packet could be any member
        const std::size_t first = count_;
        for (std::size_t i = 0; i < count; ++i) {
            Lane& lane = lanes_[first + i];
            Arrival came = arrival(i);
            came.in_port = in_port;
            static_cast<Arrival&>(lane) = came;
            undecide(lane);  // what parse reads it writes whole
            order_[first + i] = &lane;
        }
        count_ = first + count;
    }
    void clear() noexcept { count_ = left_ = 0; }
    std::size_t room() const noexcept { return burst_size - count_; }
    std::size_t received() const noexcept { return count_; }
    std::size_t staying() const noexcept { return count_ - left_; }
    std::span<Lane* const> lanes_staying() const noexcept { return {order_.data(), staying()}; }

    template <class F>
    void for_each_staying(F&& f) noexcept {
        for (std::size_t i = 0; i < staying(); ++i) f(*order_[i]);
    }
    template <class F>
    void for_each(F&& f) noexcept {
        for (std::size_t i = 0; i < count_; ++i) f(*order_[i]);
    }
    template <class F>
    void for_each_left(F&& f) noexcept {
        for (std::size_t i = staying(); i < count_; ++i) f(*order_[i]);
    }
    // Applies `decide` in order; who does not keep leaves, the others close up in the same order.
    template <class F>
    [[gnu::always_inline]] void keep_if(F&& decide) noexcept {
        std::array<Lane*, burst_size> leavers;
        std::size_t left = 0;
        const std::size_t before = staying();
        for (std::size_t i = 0; i < before; ++i) {
            Lane* const lane = order_[i];
            if (left != 0) [[unlikely]]
                order_[i - left] = lane;
            const Verdict verdict = decide(*lane);
            if (verdict.keeps()) [[likely]]
                continue;
            lane->verdict = verdict;
            leavers[left++] = lane;
        }
        if (left == 0) [[likely]]
            return;
        left_ += left;
        for (std::size_t i = 0; i < left; ++i) order_[before - left + i] = leavers[i];
    }

  private:
    // As `= {}`, but in a few wide stores.
    static void undecide(Lane& lane) noexcept {
        static_assert(std::is_trivially_copyable_v<Decision>);
        auto& decision = static_cast<Decision&>(lane);
        std::memset(static_cast<void*>(&decision), 0, sizeof decision);
    }

    std::array<Lane, burst_size> lanes_;
    std::array<Lane*, burst_size> order_{};
    std::size_t count_{};
    std::size_t left_{};
    PortIndex in_port_{};
};

}  // namespace shunt::dataplane
