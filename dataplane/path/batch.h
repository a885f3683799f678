// The lanes of one burst. A lane is one packet on its way through the steps: bytes, what parse found, what was decided.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

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

struct Lane {
    // Set by the port.
    std::byte* bytes{};       // the Ethernet header
    std::uint32_t length{};   // from there on
    bool segmented{};         // the packet goes on in another buffer
    bool checksum_flagged{};  // the hardware found a bad checksum
    void* buffer{};           // the port's own name for it
    PortIndex in_port{};      // where it came in
    bool waited{};            // a fragment that waited for its first

    // Set by parse.
    FiveTuple tuple{};  // as the packet says; of an ICMP error: of the packet it quotes, turned round
    Family family{Family::ipv4};
    std::uint8_t tcp_flags{};
    std::uint16_t l3_offset{};    // of the IP header, from `bytes`
    std::uint16_t l4_offset{};    // of the transport or ICMP header
    std::uint16_t ip_length{};    // of the IP packet: what follows is padding
    std::uint16_t quote_l3{};     // an ICMP error: where the quoted IP header is; 0: it is none
    std::uint16_t quote_l4{};     // and the quoted transport header, of which 8 bytes are there
    std::uint32_t fragment_id{};  // of a first or later fragment
    Part part{Part::whole};
    bool decides_datagram{};        // a first fragment where its datagram is gathered
    shm::DropReason unsupported{};  // why a service could not take this packet: then only the addresses are known

    // Set by the steps that decide.
    Direction direction{};
    ServiceIndex service{};       // for counting; 0 none
    ListenerIndex listener{};     // for replies: known after the look-up
    Be16 service_port{};          // of a listener that has many: which of them; 0 otherwise
    SourceNumber source{};        // replies only
    shm::Handle handle{};         // 0: not chosen yet
    bool may_remember{};          // an entry may be made: the look-aside was done, or need not be
    std::uint64_t bucket_hash{};  // hash_peer() of the client under the region's seed
    PortIndex out_port{};
    Answer answer{Answer::none};
    std::uint16_t room{};  // what the packet may have at most, where it is cut or its sender told

    Verdict verdict{Verdict::keep()};

    bool is_quote() const noexcept { return quote_l3 != 0; }
    bool has_transport() const noexcept { return part != Part::later && !is_quote(); }
    bool is_tcp() const noexcept { return tuple.protocol == Protocol::tcp; }
    bool is_opening() const noexcept { return is_tcp() && (tcp_flags & (tcp_syn | tcp_ack)) == tcp_syn; }
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

// Lanes that are still on their way stand in front, those that left behind them; nothing is copied but small indices.
class Batch {
  public:
    Lane& add() noexcept {
        Lane& lane = lanes_[count_];
        lane = blank_;  // copied from memory: a temporary would be made byte by byte
        order_[count_] = static_cast<std::uint8_t>(count_);
        ++count_;
        staying_ = count_;
        return lane;
    }
    void clear() noexcept { count_ = staying_ = 0; }
    std::size_t room() const noexcept { return burst_size - count_; }
    std::size_t received() const noexcept { return count_; }
    std::size_t staying() const noexcept { return staying_; }

    template <class F>
    void for_each_staying(F&& f) noexcept {
        for (std::size_t i = 0; i < staying_; ++i) f(lanes_[order_[i]]);
    }
    template <class F>
    void for_each(F&& f) noexcept {
        for (std::size_t i = 0; i < count_; ++i) f(lanes_[order_[i]]);
    }
    template <class F>
    void for_each_left(F&& f) noexcept {
        for (std::size_t i = staying_; i < count_; ++i) f(lanes_[order_[i]]);
    }
    // Applies `decide` in order; who does not keep leaves, the others close up in the same order.
    template <class F>
    void keep_if(F&& decide) noexcept {
        std::array<std::uint8_t, burst_size> leavers;
        std::size_t kept = 0;
        std::size_t left = 0;
        for (std::size_t i = 0; i < staying_; ++i) {
            const std::uint8_t index = order_[i];
            Lane& lane = lanes_[index];
            lane.verdict = decide(lane);
            if (lane.verdict.keeps()) {
                order_[kept++] = index;
            } else {
                leavers[left++] = index;
            }
        }
        for (std::size_t i = 0; i < left; ++i) order_[kept + i] = leavers[i];
        staying_ = kept;
    }

  private:
    static constexpr Lane blank_{};

    std::array<Lane, burst_size> lanes_;
    std::array<std::uint8_t, burst_size> order_{};
    std::size_t count_{};
    std::size_t staying_{};
};
static_assert(burst_size <= 256);

}  // namespace shunt::dataplane
