// What happens to the fragments of a datagram: all of them go where its first fragment went, in whatever order they
// come. Fixed memory, one table per worker, used by that worker alone.
//
// A datagram is known by source, destination, identification and, in IPv4, protocol (RFC 791 section 3.2, RFC 8200
// section 4.5). Fragments that come before their first wait here, with their buffers, for a second at most; then they
// are given back undecided. What was decided is remembered for two seconds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "dataplane/path/batch.h"
#include "src/base/time.h"
#include "src/net/packet_hash.h"

namespace shunt::dataplane {

// A packet on its way from one worker to another, or waiting.
struct Parcel {
    std::byte* bytes{};
    std::uint32_t length{};
    PortIndex in_port{};
    void* buffer{};

    static Parcel of(const Lane& lane) noexcept { return {lane.bytes, lane.length, lane.in_port, lane.buffer}; }
    void unpack(Lane& lane) const noexcept {
        lane.bytes = bytes;
        lane.length = length;
        lane.in_port = in_port;
        lane.buffer = buffer;
    }
};

struct DatagramKey {
    IpAddress source;
    IpAddress destination;
    std::uint32_t id{};
    std::uint8_t protocol{};  // IPv4 only
    friend constexpr bool operator==(const DatagramKey&, const DatagramKey&) noexcept = default;

    static DatagramKey of(const Lane& lane) noexcept {
        const bool v4 = lane.family == Family::ipv4;
        return {lane.tuple.source, lane.tuple.destination, lane.fragment_id,
                v4 ? static_cast<std::uint8_t>(lane.tuple.protocol) : std::uint8_t{0}};
    }
    // Under the flow seed: nobody outside can choose which fragments meet.
    std::uint64_t hash(const HashSeed& seed) const noexcept {
        const std::uint64_t ends =
            hash_peer(seed, source, Be16{}) ^ folded_multiply(hash_peer(seed, destination, Be16{}), seed.words[1] | 1);
        return folded_multiply(ends ^ seed.words[2], (std::uint64_t{id} << 8 | protocol) ^ seed.words[3]);
    }
};

// What was decided for a first fragment, as far as the others need it.
struct DatagramFate {
    Verdict verdict{Verdict::keep()};
    Direction direction{};
    ListenerIndex listener{};
    SourceNumber source{};
    shm::Handle handle{};
    std::uint64_t bucket_hash{};

    static DatagramFate of(const Lane& lane) noexcept {
        return {lane.verdict, lane.direction, lane.listener, lane.source, lane.handle, lane.bucket_hash};
    }
    void give_to(Lane& lane) const noexcept {
        lane.direction = direction;
        lane.listener = listener;
        lane.source = source;
        lane.handle = handle;
        lane.bucket_hash = bucket_hash;
    }
};

class Fragments {
  public:
    static constexpr Duration longest_wait = Duration::seconds(1);
    static constexpr Duration memory = Duration::seconds(2);
    static constexpr std::uint32_t waiting_room = 1024;  // packets, of all workers together

    static constexpr std::uint32_t part(std::uint32_t workers) noexcept {
        return std::max(waiting_room / workers, 64U);
    }

    // `workers` share the waiting room; each has its part, and a few at least.
    Fragments(const HashSeed& seed, std::uint16_t workers);

    // The first fragment is here and about to be decided: what was decided under the same identification before no
    // longer holds.
    void expect(const DatagramKey& key, Instant now) noexcept;
    // What was decided for the datagram; nothing if its first fragment has not been here.
    const DatagramFate* find(const DatagramKey& key, Instant now) noexcept;
    // The fragment waits, with its buffer. False: no room, the buffer is still the caller's.
    bool wait(const DatagramKey& key, const Parcel& parcel, Instant now) noexcept;
    // The first fragment was decided; those that waited for it can be taken. Without room for another datagram nothing
    // is remembered.
    void decide(const DatagramKey& key, const DatagramFate& fate, Instant now) noexcept;
    // A fragment whose wait is over: decided now, or waited for too long.
    std::optional<Parcel> take(Instant now) noexcept;
    std::uint32_t waiting() const noexcept { return waiting_; }

  private:
    using Place = std::uint16_t;  // in the waiting room, from 1; 0 none
    struct Waiting {
        Parcel parcel{};
        Place next{};
    };
    struct Datagram {
        enum class State : std::uint8_t { unused, waiting, decided };
        DatagramKey key{};
        DatagramFate fate{};
        Instant until{};
        Place first{};  // those that wait, in order of arrival
        Place last{};
        State state{State::unused};
        Datagram* older{};  // among those whose first fragment is awaited
        Datagram* younger{};
    };
    static constexpr std::uint32_t ways = 4;
    static constexpr std::uint32_t buckets = 1024;

    std::span<Datagram> bucket(const DatagramKey& key) noexcept;
    Datagram* known(const DatagramKey& key, Instant now) noexcept;
    Datagram* place_for(const DatagramKey& key, Instant now) noexcept;
    void await_first(Datagram& datagram, Instant now) noexcept;
    void let_go(Datagram& datagram) noexcept;

    HashSeed seed_;
    std::unique_ptr<Datagram[]> datagrams_;
    std::uint32_t part_;  // of the waiting room
    std::unique_ptr<Waiting[]> room_;
    Place free_{};
    Place ready_first_{};
    Place ready_last_{};
    std::uint32_t waiting_{};  // ready ones included
    Datagram* oldest_{};       // all wait equally long: the oldest is the next whose wait is over
    Datagram* youngest_{};
};

}  // namespace shunt::dataplane
