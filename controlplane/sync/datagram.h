// The datagrams of flow sync (docs/decisions/flow-sync.md). All integers in network order:
//
//   0  magic (32)  version (16)  kind (8)  1 if to the group (8)
//   8  group: a hash of its name (64)
//  16  epoch of the sender (64): a random number of this start
//  24  epoch of the receiver (64); 0: not known yet, or to the group
//  32  sequence (64): of the sender, to this receiver or to the group
//  40  body by kind
//  -16 the first 128 bits of HMAC-SHA256 over all that stands before, under the group's key
//
// A record is 24 bytes for IPv4 and 60 for IPv6: family << 2 | state (8), protocol (8), ports of client, VIP and
// backend, idle ticks (32), addresses of client, VIP and backend.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "controlplane/sync/record.h"

namespace shunt::controlplane::sync {

constexpr std::uint16_t protocol_version = 1;
constexpr std::size_t most_bytes = 1400;  // of a datagram: with UDP and IPv6 headers within an MTU of 1,448
constexpr std::size_t header_bytes = 40;
constexpr std::size_t mac_bytes = 16;

// The secret that the nodes of a group share.
class Key {
  public:
    explicit Key(std::span<const std::byte> secret) : secret_(secret.begin(), secret.end()) {}
    // HMAC-SHA256; the first bytes, or the first word of it.
    std::array<std::byte, mac_bytes> sign(std::span<const std::byte> bytes) const;
    std::uint64_t word(std::span<const std::byte> bytes) const;

  private:
    std::vector<std::byte> secret_;
};

std::uint64_t group_number(std::string_view name);

// What a peer must go by for its records to mean the same here.
struct Identity {
    std::uint64_t seed{};           // fingerprint of the hash seed
    std::uint64_t configuration{};  // hash of what the services are
    bool operator==(const Identity&) const = default;
};

// Every second, and when something asks for an answer.
struct Hello {
    std::uint64_t nonce{};   // prove that you are there now: say this in your next hello
    std::uint64_t answer{};  // the nonce we heard last from you; 0: none
    Identity identity{};
    std::uint64_t tables{};    // hash of all look-up tables in force
    std::uint64_t received{};  // records of yours that came here, of your present epoch
    std::uint32_t lag_ms{};    // how long a flow waits, at most, until it is sent
    bool in_sync{};
    std::string name{};
    std::string software{};
    bool operator==(const Hello&) const = default;
};

struct Flows {
    std::uint64_t first{};  // number of the first record, among all that were sent here in this epoch
    std::vector<FlowRecord> records{};
    bool operator==(const Flows&) const = default;
};

// Tell me your flows from this position on.
struct Ask {
    std::uint64_t space{};  // in which positions count; 0: not known yet
    std::uint64_t position{};
    bool operator==(const Ask&) const = default;
};

// Those up to `next`; if the space is another than the one asked about, none, and the asker begins anew.
struct Chunk {
    std::uint64_t space{};
    std::uint64_t position{};
    std::uint64_t next{};
    std::uint64_t end{};  // of all positions
    std::vector<FlowRecord> records{};
    bool operator==(const Chunk&) const = default;
};

using Body = std::variant<Hello, Flows, Ask, Chunk>;

struct Datagram {
    bool to_group{};
    std::uint64_t from{};
    std::uint64_t to{};
    std::uint64_t sequence{};
    Body body{};
    bool operator==(const Datagram&) const = default;
};

// Why a datagram is not looked at any further.
enum class Refusal : std::uint8_t { truncated, foreign, version, group, forged };
constexpr std::size_t refusal_reasons = 5;

// Bytes of one record, and what a body may hold of them.
std::size_t record_bytes(const FlowRecord& record);
constexpr std::size_t room_for_records = most_bytes - header_bytes - mac_bytes - 34;  // 34: of a chunk, beside them

std::vector<std::byte> seal(const Key& key, std::uint64_t group, const Datagram& datagram);
std::variant<Datagram, Refusal> open(const Key& key, std::uint64_t group, std::span<const std::byte> bytes);

}  // namespace shunt::controlplane::sync
