// The treaty: every byte two processes share. Offsets, never pointers. A change here is a new layout version.
//
// Three regions, one writer process each (DESIGN section 3):
//
//   tables   written by the control plane: a header with the word `published`, a ring of eight root references and a
//            ring of requests, then immutable blocks. A root is the whole of one generation; blocks are shared between
//            generations.
//   state    written by the data plane: `accepted`, answers to requests, worker blocks with `passed`, counters, link
//            addresses of next hops, flow tables.
//   peers    written by the control plane: one flow table, of what other nodes say.
//
// Publication is three words: `published` (control plane) -> validated, `accepted` (data plane's main thread) ->
// `passed` (each worker, at the end of a burst). Everything reachable from a root was validated before `accepted` names
// it, and never changes while anybody may hold it. Zero means "none" everywhere: index 0, offset 0, generation 0.
//
// A control plane that restarts must change no table and no id, and has nothing but these tables to learn them from: so
// every record says when its index was retired, and no record has padding that could differ from one copy to another.
//
// Integers are in host order (little-endian), except what is of type Be16/Be32 or an IpAddress.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "src/balance/scheduler.h"
#include "src/base/index.h"
#include "src/net/address.h"
#include "src/net/forwarding_mode.h"
#include "src/net/packet_hash.h"
#include "src/net/vip.h"
#include "src/shm/drop_reason.h"
#include "src/shm/limits.h"

namespace shunt::shm {

// Of both regions. A program reads its own version and the one before, with one code: what is added to a header is
// appended to it, in cache lines of its own by writer, so that nothing else moves; and in a region of the version
// before it reads as zero, "none".
constexpr std::uint32_t layout_version = 5;
constexpr std::uint32_t oldest_layout_read = 4;
constexpr bool reads_layout(std::uint32_t version) noexcept {
    return version >= oldest_layout_read && version <= layout_version;
}
constexpr std::uint64_t tables_magic = 0x31534c4254544853ULL;  // "SHTTBLS1"
constexpr std::uint64_t state_magic = 0x3154415453544853ULL;   // "SHTSTAT1"
constexpr std::uint64_t peers_magic = 0x3152454550544853ULL;   // "SHTPEER1"
constexpr std::uint32_t block_magic = 0x4b4c4253;              // "SBLK"

// A counter with one writer and any number of readers: no locked instruction.
class Counter {
  public:
    void add(std::uint64_t n) noexcept { set(read() + n); }
    void set(std::uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
    std::uint64_t read() const noexcept { return value_.load(std::memory_order_relaxed); }

  private:
    std::atomic<std::uint64_t> value_{};
};

// ------------------------------------------------------------------------------------------------ tables: blocks

// A backend handle: 20 bits of index into the directory and 12 of incarnation. An index may be used again at once, the
// pair only after the longest timeout and grace; a mismatch is a miss.
struct Handle {
    static constexpr std::uint32_t index_bits = 20;
    static constexpr std::uint32_t incarnation_mask = 0xfff;

    std::uint32_t value{};

    static constexpr Handle of(std::uint32_t index, std::uint32_t incarnation) noexcept {
        return {(incarnation & incarnation_mask) << index_bits | index};
    }
    constexpr std::uint32_t index() const noexcept { return value & ((1U << index_bits) - 1); }
    constexpr std::uint32_t incarnation() const noexcept { return value >> index_bits; }
    constexpr explicit operator bool() const noexcept { return index() != 0; }
    friend constexpr bool operator==(Handle, Handle) noexcept = default;
};
static_assert(max_handles <= 1U << Handle::index_bits);

enum class BlockKind : std::uint32_t {
    root = 1,
    page_table,  // u64 offsets of page blocks
    page,        // records of one paged array or map
    slots,       // u16 positions, one look-up table
    handles,     // Handle by position in the service's own list of eligible backends
    trie,        // TrieNode
    next_hops,   // NextHopRecord
    numbers,     // u16: what a choice goes by beside the slots, see ListenerRecord
};

// Stands before every block, at an offset that is a multiple of 64; the payload follows at once.
struct alignas(cache_line_bytes) BlockHeader {
    std::uint32_t magic;
    BlockKind kind;
    std::uint64_t size;      // bytes of payload
    std::uint64_t serial;    // never used twice in a region: a block at a reused offset is recognised as new
    std::uint64_t checksum;  // XXH64 of the payload, seeded with serial + kind
};
static_assert(sizeof(BlockHeader) == cache_line_bytes);

using BlockOffset = std::uint64_t;  // from the start of the region to a BlockHeader; 0 none

// Records in pages of 64, found through one block of page offsets: a change to a record copies one page and the
// offsets. `count` is one above the highest index in use; offset 0 in the page table means 64 records of zeros.
struct PagedArrayRef {
    BlockOffset page_table;
    std::uint32_t count;
    std::uint32_t reserved;
};
constexpr std::uint32_t records_per_page = 64;

// A hash map from endpoint to a number: 2^bits pages of 64 slots, the page chosen by the high bits of the key's hash,
// the slot by linear probing from its low bits, inside the page only. At most 48 slots of a page are used, so every
// probe ends. Keys are hashed by endpoint_hash() below.
struct EndpointMapRef {
    BlockOffset page_table;
    std::uint32_t bits;
    std::uint32_t entries;
};
struct EndpointSlot {
    IpAddress address;
    Be16 port;
    Protocol protocol;
    std::uint8_t used;
    std::uint32_t value;
};
static_assert(sizeof(EndpointSlot) == 24);
constexpr std::uint32_t slots_per_page = 64;
constexpr std::uint32_t max_used_slots_per_page = 48;

// Not secret: keys are the operator's, and a probe never leaves its page. Port and protocol go where the word of an
// IPv4 address says nothing. The last product spreads addresses that follow each other over the high bits, which choose
// the page: without it some pages got three times their share.
constexpr std::uint64_t endpoint_hash(const IpAddress& address, Be16 port, Protocol protocol) noexcept {
    const std::uint32_t rest = port.raw | static_cast<std::uint32_t>(protocol) << 16;
    const std::uint64_t folded =
        folded_multiply(address.low_word() ^ rest ^ 0x9e3779b97f4a7c15ULL, address.high_word() ^ 0xbf58476d1ce4e5b9ULL);
    return folded * 0x94d049bb133111ebULL;
}

// Longest-prefix match: nodes of 256 entries, one byte of the address per level (IPv4 4 levels, IPv6 16), prefixes
// pushed down to the leaves. An entry is a next hop, or, with `child` set, the position of the next node.
struct TrieNode {
    static constexpr std::uint32_t child = 0x80000000U;
    std::array<std::uint32_t, 256> entries;
};
struct TrieRef {
    BlockOffset nodes;  // node 0 is the root; 0: no routes at all
    std::uint32_t count;
    std::uint32_t reserved;
};
constexpr std::uint32_t max_trie_nodes = 262'144;

struct alignas(cache_line_bytes) NextHopRecord {
    static constexpr std::uint8_t on_link = 1;     // resolve the destination itself, not `address`
    static constexpr std::uint8_t has_static = 2;  // `mac` is configured and wins over the kernel's
    static constexpr std::uint8_t local = 4;       // leads to this host: never forwarded
    static constexpr std::uint8_t sets_tags = 8;   // frames leave with `tags`, whatever they came with

    IpAddress address;  // gateway, or the neighbour itself
    MacAddress mac;
    std::uint16_t version;  // never 0; changes when the index is given to another address
    std::uint16_t mtu;
    PortIndex port;
    std::uint8_t flags;
    std::array<std::uint16_t, 2> tags;  // VLAN identifiers (12 bits), the outer one first; 0: none, or no second one
    std::int64_t retired_at;            // CLOCK_MONOTONIC, ns; 0: in use, or never used
    std::array<std::uint8_t, 24> reserved;
};
static_assert(sizeof(NextHopRecord) == cache_line_bytes);

// What a directory entry says about the flows of its backend (DESIGN section 4, "Backends leave").
enum class BackendStatus : std::uint8_t {
    absent = 0,  // never used, or removed: its flows choose again
    ready,       // takes new flows
    drain,       // keeps every flow, takes none
    down,        // keeps TCP flows; UDP flows choose again
    maint,       // its flows choose again
};

constexpr bool keeps_flows(BackendStatus status, Protocol protocol) noexcept {
    constexpr unsigned tcp = 1, others = 2;
    constexpr auto when = [](BackendStatus known, unsigned kept) { return kept << 2 * static_cast<unsigned>(known); };
    constexpr unsigned keeping = when(BackendStatus::ready, tcp | others) | when(BackendStatus::drain, tcp | others) |
                                 when(BackendStatus::down, tcp);
    const unsigned kept = keeping >> (2 * static_cast<unsigned>(status) & 31);
    return (kept & (protocol == Protocol::tcp ? tcp : others)) != 0;
}

// The directory of handles, by handle index. One line: all that forwarding to a backend needs.
struct alignas(cache_line_bytes) BackendRecord {
    IpAddress address;
    Be16 port;  // on the wire; 0: every packet keeps its own
    Protocol protocol;
    BackendStatus status;
    std::uint16_t incarnation;
    ServiceIndex service;
    SourceNumber source;
    NextHopIndex next_hop;
    std::uint16_t weight;           // as configured
    std::uint16_t configured_port;  // 0: follows the VIP's port
    std::uint8_t verdict;           // Verdict of the health check, read back by a restarted control plane
    std::uint8_t awaited;           // 1: came new into a checked service, and is out until its first success
    std::array<std::uint8_t, 4> reserved0;
    std::int64_t retired_at;  // CLOCK_MONOTONIC, ns; when the status became absent; 0: never used
    std::array<std::uint8_t, 16> reserved;
};
static_assert(sizeof(BackendRecord) == cache_line_bytes);

enum class Verdict : std::uint8_t { unchecked = 0, up, down };  // unchecked: no check, or none finished yet

// How far a flow has got; stands in its entry.
enum class FlowState : std::uint8_t { embryonic = 0, established, closing, datagram };
constexpr std::size_t flow_states = 4;

// Idle limits in ticks of a quarter second, by FlowState.
struct FlowTimeouts {
    std::array<std::uint32_t, flow_states> ticks;

    constexpr std::uint32_t operator[](FlowState state) const noexcept {
        return ticks[static_cast<std::size_t>(state) % flow_states];
    }
};

// What a forwarding mode needs beyond the backend; zero where the mode has no use for it.
struct ModeSettings {
    static constexpr std::uint8_t has_key = 1;  // `key` is sent, even if it is zero

    Be32 key;          // of the tunnel; or its network identifier (VNI), 24 bits
    Be16 tunnel_port;  // UDP destination, where the tunnel goes in UDP
    MacAddress inner_mac;
    std::uint8_t dscp;  // 6 bits
    std::uint8_t flags;
    std::uint16_t mss;  // mss_off, mss_auto, or the most a SYN may announce
};
static_assert(sizeof(ModeSettings) == 16);
constexpr std::uint16_t mss_off = 0;
constexpr std::uint16_t mss_auto = 0xffff;  // by the mode and the MTU of the next hops

// Where the search for a packet's port goes on, in the tree of an address's listeners of several ports (see range_map).
struct RangeNode {
    ListenerIndex below;   // ranges that end before this one begins
    ListenerIndex above;   // ranges that begin behind its end
    ListenerIndex within;  // ranges inside it, more specific ones
};
constexpr std::uint32_t max_range_depth = 20;  // a balanced tree of 65,535 ranges, inside the whole address

// A listener: one (VIP address, ports, protocol). Two lines: the first is for choosing and forwarding, the second for
// what happens less often.
struct alignas(cache_line_bytes) ListenerRecord {
    static constexpr std::uint8_t flows_on = 1;
    static constexpr std::uint8_t direct_access = 2;
    static constexpr std::uint8_t many_ports = 4;  // from `port` to `last_port`; its flows say which

    IpAddress address;
    Be16 port;  // the first one
    Protocol protocol;
    ForwardingMode mode;
    ServiceIndex service;
    std::uint8_t flags;
    std::uint8_t in_use;  // 0: the index is free, or retired at `retired_at`
    BlockOffset slots;    // of its family; 0: no backend is eligible
    BlockOffset handles;  // as many as `backends`
    std::uint32_t table_size;
    std::uint16_t backends;  // eligible ones; every slot is below this
    Choice choice;           // for a flow that opens; every other packet without a flow goes by the slots
    Affinity affinity;
    FlowTimeouts timeouts;

    std::int64_t retired_at;
    ModeSettings mode_settings;
    BlockOffset numbers;  // the order of turns, or the weights of `handles`, as `choice` asks; 0: it asks nothing
    std::uint32_t number_count;  // weights are as many as `backends`, turns are below it
    std::uint16_t load_factor;   // of Choice::bounded, in hundredths
    Be16 last_port;
    RangeNode ranges;
    std::array<std::uint8_t, 18> reserved;

    constexpr bool has_many_ports() const noexcept { return (flags & many_ports) != 0; }
    constexpr bool keeps_flows_of_one_port() const noexcept { return (flags & (flows_on | many_ports)) == flows_on; }
    constexpr PortRange ports() const noexcept { return {port, last_port}; }
};
static_assert(sizeof(ListenerRecord) == 2 * cache_line_bytes);

// A backend endpoint of NAT services as replies carry it: common to all handles of one (address, port, protocol). With
// port 0 (any_port) it stands for all ports of a backend whose packets keep theirs.
struct alignas(cache_line_bytes) SourceRecord {
    IpAddress address;
    Be16 port;
    Protocol protocol;
    std::uint8_t count;                                         // of `listeners`; 0: the number is free
    std::array<ListenerIndex, listeners_per_source> listeners;  // in ascending order; the first ones, if there are more
    std::array<std::uint8_t, 4> reserved0;
    std::int64_t retired_at;
    std::array<std::uint8_t, 16> reserved;
};
static_assert(sizeof(SourceRecord) == cache_line_bytes);

struct alignas(cache_line_bytes) ServiceRecord {
    std::array<char, 64> name;  // padded with NUL; an empty name: the index is free
    std::uint32_t table_size;
    ForwardingMode mode;
    Scheduler scheduler;
    std::uint8_t flags;
    std::uint8_t reserved0;
    std::array<std::uint64_t, 2> table_hash;  // of the IPv4 and the IPv6 table (CONTRACTS.md); 0 where there is none
    std::int64_t retired_at;
    std::array<std::uint8_t, 32> reserved;
};
static_assert(sizeof(ServiceRecord) == 2 * cache_line_bytes);

// One generation. A block of kind root.
struct Root {
    Generation generation;
    HashSeed site_seed;
    PagedArrayRef services;       // ServiceRecord by ServiceIndex
    PagedArrayRef listeners;      // ListenerRecord by ListenerIndex
    PagedArrayRef backends;       // BackendRecord by handle index
    PagedArrayRef sources;        // SourceRecord by SourceNumber
    EndpointMapRef listener_map;  // (VIP, port, protocol) -> ListenerIndex of a single port, and
                                  // (VIP, any_port, any_protocol) -> the number of all listeners of the address
    EndpointMapRef range_map;     // (VIP, any_port, protocol) -> ListenerIndex: where the search in its ranges begins
    EndpointMapRef source_map;    // (backend, port, protocol) -> SourceNumber, port 0 (any_port) as SourceRecord says;
                                  // also (backend, any, any), as above
    EndpointMapRef local_map;     // (address of this host, any, any) -> 1
    EndpointMapRef tunnel_map;    // (backend reached through a tunnel, any, any) -> number of its handles
    std::array<IpAddress, 2> tunnel_source;  // outer source of tunnels: IPv4, IPv6; unspecified: none of that family
    TrieRef routes_v4;                       // -> NextHopIndex
    TrieRef routes_v6;
    BlockOffset next_hops;  // NextHopRecord by NextHopIndex; the first is unused
    std::uint32_t next_hop_count;
    std::uint32_t reserved;
};

template <class... T>
inline constexpr bool have_no_padding = (std::has_unique_object_representations_v<T> && ...);
static_assert(have_no_padding<EndpointSlot, RangeNode, TrieNode, NextHopRecord, BackendRecord, ListenerRecord,
                              SourceRecord, ServiceRecord, Root>);

// ------------------------------------------------------------------------------------------------ tables: header

struct alignas(cache_line_bytes) RootRef {
    std::atomic<std::uint64_t> generation;  // 0 while the others are being written
    std::atomic<std::uint64_t> offset;
    std::atomic<std::uint64_t> checksum;  // that of the root block, again
};

// Which flows a request means: all that hold, of which everything said here is true. Zero says nothing, in every field.
// Ids are those of the generation in force when the request is carried out.
struct FlowFilter {
    IpAddress client{};
    IpAddress vip{};
    IpAddress backend{};
    Be16 client_port{};
    Be16 vip_port{};
    Be16 backend_port{};  // on the wire
    ServiceIndex service{};
    std::uint8_t client_length{};  // of the prefix `client`
    Protocol protocol{};
    std::uint8_t family{};       // 4 or 6, of the client's address
    std::uint8_t states{};       // a bit for each FlowState
    std::uint32_t idle_above{};  // idle for more than this, in ticks
    std::uint32_t idle_below{};  // idle for less
    std::uint32_t reserved{};
    std::uint64_t workers{};  // a bit for each worker: one of them knows the flow
    friend constexpr bool operator==(const FlowFilter&, const FlowFilter&) noexcept = default;
};
static_assert(have_no_padding<FlowFilter>);
static_assert(max_workers <= 64, "one bit each");

enum class RequestKind : std::uint32_t {
    none = 0,
    kill_flows,
    wedge_worker,  // for tests: filter.workers stand still for `milliseconds`
    upgrade,       // hand over to a process of TablesHeader::program, ready within `milliseconds`
};

// What the control plane asks of a running data plane. Complete before `requested` names it; its place is used again
// once it is answered.
struct alignas(cache_line_bytes) Request {
    std::uint64_t number;
    RequestKind kind;
    std::uint32_t milliseconds;  // wedge_worker, upgrade
    FlowFilter filter;
};

struct alignas(cache_line_bytes) TablesHeader {
    std::uint64_t magic;
    std::uint64_t reserved_bytes;  // of address space, on both sides; the file grows up to it
    HashSeed random_seed;          // used where no seed file is configured
    std::array<std::uint8_t, 8> pad;
    std::atomic<std::uint32_t> version;  // stored last, with release

    alignas(cache_line_bytes) std::atomic<std::uint64_t> published;
    std::atomic<std::uint64_t> file_bytes;   // grown by fallocate before use
    std::atomic<std::uint64_t> next_serial;  // of blocks

    alignas(cache_line_bytes) std::array<RootRef, root_ring> roots;  // generation g at g % root_ring

    alignas(cache_line_bytes) std::atomic<std::uint64_t> requested;  // the number of the newest request, from 1
    std::array<Request, request_ring> requests;                      // number n at n % request_ring

    // Since layout 5. What an upgrade is to start, a path; empty: what runs. Written before the request, and of one
    // that waits there is only one.
    alignas(cache_line_bytes) std::array<char, 1024> program;
};
constexpr std::uint64_t first_block_offset = 4096;
constexpr std::size_t written_by_publisher = offsetof(TablesHeader, requested);  // requests stand behind

// Tells one tables file from another: ids mean something only within the file they come from.
constexpr std::uint64_t identity_of(const TablesHeader& header) noexcept {
    std::uint64_t identity = 0;
    for (const std::uint64_t word : header.random_seed.words) identity = folded_multiply(identity ^ word, word | 1);
    return identity | 1;
}
static_assert(sizeof(TablesHeader) <= first_block_offset);

// ------------------------------------------------------------------------------------------------ state: flow table

// A flow entry is one or two units of 16 bytes; a bucket is one cache line of four units. The tag (the low byte of
// `meta`) is stored last and cleared first; its sequence bits change with every entry put into the unit, so that a
// reader on another core who sees the same meta before and after has read one entry.
//
//   narrow   unit:   key  = peer (IPv4, 32) | peer port (16) << 32 | listener (16) << 48
//                    meta = tag (8) | tick (24) << 8 | handle (32) << 32
//   wide     first:  key  = high word of the peer's address      meta = as above
//            second: key  = low word of the peer's address       meta = tag (8) | 0 (8) | peer port << 16 |
//                                                                       listener << 32 | service port << 48
// Ports are raw network order. One entry answers both questions: (peer, listener) -> handle for packets to the VIP, and
// (peer, source number of the handle) -> listener for replies. The owner may move an entry to the other of its two
// buckets: a copy is complete there before the old one is cleared (flow.h: look_into_both).
struct FlowUnit {
    std::atomic<std::uint64_t> key;
    std::atomic<std::uint64_t> meta;
};
struct alignas(cache_line_bytes) FlowBucket {
    std::array<FlowUnit, 4> units;
};
static_assert(sizeof(FlowUnit) == 16 && sizeof(FlowBucket) == cache_line_bytes);

// ------------------------------------------------------------------------------------------------ state: header

// Fixed when the region is made; a successor of the same shape adopts the region in place.
struct StateShape {
    std::uint32_t workers;
    std::uint32_t handles;
    std::uint32_t services;
    std::uint32_t reserved;
    std::uint64_t buckets_per_worker;
    friend constexpr bool operator==(const StateShape&, const StateShape&) noexcept = default;
};

enum class RefusalReason : std::uint8_t { magic = 0, version, size, checksum, index, generation, count };

enum class RequestOutcome : std::uint32_t {
    none = 0,
    done,
    unknown,  // this data plane does not know the kind
    refused,  // it knows it, and does not do it
};

// The answer to a request. Complete before `answered` names it.
struct alignas(cache_line_bytes) RequestAnswer {
    std::uint64_t number{};
    RequestOutcome outcome{};
    std::uint32_t successor{};  // its process id, of an upgrade
    std::uint64_t flows{};      // that were killed
    std::int64_t
        gap_nanoseconds{};  // of an upgrade: from the last poll of the old workers to the first of all new ones
};

// A region that was looked after by another process: what it remembers is found by looking aside into it.
struct Predecessor {
    std::uint64_t number;  // n of its file state.<n>; 0: none
    std::int64_t died_at;  // when its holder gave the last sign of life: CLOCK_MONOTONIC, ns
};

constexpr std::uint64_t layout_4_state_header_bytes = 960;
// What keeps a node from serving, as its data plane sees it.
enum class NodeFault : std::uint8_t {
    none = 0,
    starting,
    no_tables,         // in use, or not yet let through by the ports
    worker_still,      // place: the worker
    nothing_received,  // of what was steered to a port; place: the port
    link_down,         // place: the port
    stopping,
};
constexpr std::size_t node_faults = 7;

// One word, so that it is read whole.
struct NodeHealth {
    // unfit: there is a fault. held: none any more, but not for long enough. unknown: nobody said so far.
    enum class State : std::uint8_t { unknown = 0, unfit, held, fit };

    State state{};
    NodeFault fault{};
    std::uint16_t place{};
    std::uint32_t reserved{};
    friend constexpr bool operator==(const NodeHealth&, const NodeHealth&) noexcept = default;
};
static_assert(std::atomic<NodeHealth>::is_always_lock_free);

struct alignas(cache_line_bytes) StateHeader {
    std::uint64_t magic;
    StateShape shape;
    HashSeed flow_seed;
    std::array<char, 40> boot_id;  // text of /proc/sys/kernel/random/boot_id
    std::uint64_t incarnation;     // n of state.<n>
    std::uint64_t starts;          // processes that held this region
    std::int64_t
        downtime_nanoseconds;       // sum of the times nobody held it: subtracted from the clock before ticks are made
    std::uint64_t tables_identity;  // of the tables file whose ids the flows hold, see identity_of(); 0: none yet
    std::atomic<std::uint32_t> version;  // stored last, with release

    // Written by the main thread.
    alignas(cache_line_bytes) std::atomic<std::uint64_t> accepted;  // the generation workers use
    std::atomic<std::uint64_t> attaching;                           // 1 while a data plane is about to read `published`
    std::atomic<std::uint64_t> refused_generation;                  // the last one refused
    std::array<Counter, static_cast<std::size_t>(RefusalReason::count)> refusals;
    Counter generations_accepted;
    std::atomic<std::uint64_t> steered;  // the newest generation whose listeners the ports let through, and no others

    alignas(cache_line_bytes) std::atomic<std::int64_t> heartbeat;  // CLOCK_MONOTONIC, ns
    std::atomic<std::int64_t> started_at;
    std::atomic<std::uint32_t> pid;
    std::atomic<std::uint32_t> ready;
    std::atomic<std::uint32_t> port_count;
    Counter path_mtus_known;  // in use, or more; 0: nobody needs to look

    // Requests are answered in their order. What a data plane finds when it attaches was asked of a predecessor: those
    // are passed over, without an answer of their number.
    alignas(cache_line_bytes) std::atomic<std::uint64_t> answered;
    std::array<RequestAnswer, request_ring> answers;  // number n at n % request_ring

    // Since layout 5. Whose flows may not all have been taken over yet, newest first.
    alignas(cache_line_bytes) std::array<Predecessor, max_predecessors> predecessors;
    std::atomic<std::uint64_t> seal;               // see seal_of(); 0: none, or its holder died while it changed
    std::atomic<std::uint32_t> predecessors_kept;  // the first so many are still looked into

    // Whether this node can serve; written by the main thread.
    alignas(cache_line_bytes) std::atomic<NodeHealth> health;
    std::atomic<std::int64_t> health_since;        // of its state; CLOCK_MONOTONIC, ns
    std::atomic<std::uint32_t> track_file_failed;  // 1: keepalived does not hear of it
    std::array<Counter, node_faults> faults;       // how often each of them began

    // Why the newest request that was refused was; a sentence, complete before it is answered.
    alignas(cache_line_bytes) std::array<char, 256> refusal;
};
// Where what follows the header begins, in every layout.
constexpr std::uint64_t first_worker_offset = 4096;
static_assert(sizeof(StateHeader) <= first_worker_offset);
static_assert(offsetof(StateHeader, predecessors) == layout_4_state_header_bytes, "layout 4 ends here");

// Written by worker i alone.
struct alignas(cache_line_bytes) WorkerBlock {
    std::atomic<std::uint64_t> passed;  // the generation in use at the end of the last burst
    std::atomic<std::uint64_t> online;  // 0: asleep, holds nothing

    alignas(cache_line_bytes) Counter heartbeat;  // CLOCK_MONOTONIC, ns, of the last poll
    Counter received;                             // packets, counted at the port before parsing
    Counter forwarded;
    Counter punted;
    Counter dropped;  // the sum of drops; received = forwarded + punted + dropped
    Counter originated;
    Counter bursts;
    Counter busy_bursts;

    alignas(cache_line_bytes) Counter flows_inserted;
    Counter flows_copied;   // found by the look-aside
    Counter flows_derived;  // replies translated by the table alone
    Counter flows_not_remembered;
    Counter flows_evicted;
    Counter look_asides;
    std::uint32_t core;
    std::uint32_t reserved;
    Counter flows_from_peers;  // found in the `peers` region

    struct alignas(cache_line_bytes) PortCounters {
        Counter received;
        Counter received_bytes;
        Counter transmitted;
        Counter transmitted_bytes;
        Counter punted;
    };
    std::array<PortCounters, max_ports> ports;
};
static_assert(std::is_standard_layout_v<WorkerBlock>);
static_assert(sizeof(WorkerBlock) % cache_line_bytes == 0, "two workers would share a cache line");

// Drops of one worker, by service (0: before or without a service).
struct alignas(cache_line_bytes) ServiceDrops {
    std::array<Counter, max_drop_reasons> by_reason;
};

struct Traffic {
    Counter packets;
    Counter bytes;  // of the packets as they left, from the Ethernet header on
};
// Traffic of one backend handle as one worker saw it.
struct BackendCounters {
    Traffic forth;  // client to backend
    Traffic back;
};
static_assert(sizeof(BackendCounters) == 32);

// A number of flows of one handle, in one word, so that it is never taken for another incarnation's: the handle << 32 |
// the number, which may be negative. One writer.
class FlowCount {
  public:
    // 0 if the word is about another handle.
    std::int32_t of(Handle handle) const noexcept {
        const std::uint64_t word = word_.load(std::memory_order_relaxed);
        return word >> 32 == handle.value ? static_cast<std::int32_t>(static_cast<std::uint32_t>(word)) : 0;
    }
    void set(Handle handle, std::int32_t number) noexcept {
        word_.store(std::uint64_t{handle.value} << 32 | static_cast<std::uint32_t>(number), std::memory_order_relaxed);
    }

  private:
    std::atomic<std::uint64_t> word_{};
};

// What the main thread knows of a port.
struct alignas(cache_line_bytes) PortBlock {
    std::array<char, 16> name;
    std::array<char, 16> device;
    MacAddress mac;
    std::uint16_t mtu;
    std::uint32_t interface_index;
    std::atomic<std::uint32_t> link_up;
    Counter driver_received;  // sum of the driver's own counts
    Counter driver_missed;
    Counter steered;             // packets the steering program sent to a worker
    Counter steered_unattached;  // packets it dropped because nobody was attached
};

// The link address of a listed next hop: version << 48 | MAC address, first byte highest; 0 unknown. One store.
using LinkWord = std::atomic<std::uint64_t>;

// The link address of a host on a connected subnet. `link` is cleared first and stored last:
// valid (bit 63) | port << 48 | MAC address. `used` is set by workers that send there and cleared by the main thread,
// which so knows whom to keep resolved.
struct NeighbourSlot {
    std::atomic<std::uint64_t> high;
    std::atomic<std::uint64_t> low;
    std::atomic<std::uint64_t> link;
    std::atomic<std::uint64_t> used;
};
// What a too-big error said about the way to a tunnel's far end (RFC 1191 section 6.3, RFC 8201 section 4). `word` is
// cleared first and stored last: valid (bit 63) | MTU << 24 | the tick (24 bits) when it was learnt.
struct PathMtuSlot {
    std::atomic<std::uint64_t> high;
    std::atomic<std::uint64_t> low;
    std::atomic<std::uint64_t> word;
    std::uint64_t reserved;
};
constexpr std::uint64_t path_mtu_valid = 1ULL << 63;
constexpr std::uint32_t path_mtu_probes = 8;

constexpr std::uint64_t neighbour_valid = 1ULL << 63;
constexpr std::uint32_t neighbour_probes = 8;  // slots searched from the key's hash on

// First byte highest, in the low 48 bits.
constexpr std::uint64_t pack_mac(const MacAddress& mac) noexcept { return byte_swap(mac.word()) >> 16; }
constexpr std::uint64_t mac_word(std::uint64_t packed) noexcept { return byte_swap(packed << 16); }
constexpr MacAddress unpack_mac(std::uint64_t packed) noexcept { return MacAddress::of_word(mac_word(packed)); }

// Where everything in a state region of a given shape lies.
struct StateLayout {
    std::uint64_t workers;       // WorkerBlock[shape.workers]
    std::uint64_t ports;         // PortBlock[max_ports]
    std::uint64_t links;         // LinkWord[max_next_hops]
    std::uint64_t neighbours;    // NeighbourSlot[neighbour_slots]
    std::uint64_t path_mtus;     // PathMtuSlot[path_mtu_slots]
    std::uint64_t drops;         // ServiceDrops[shape.workers][shape.services]
    std::uint64_t backends;      // BackendCounters[shape.workers][shape.handles]
    std::uint64_t own_flows;     // FlowCount[shape.workers][shape.handles]: those a worker counts, written by it
    std::uint64_t flow_offsets;  // FlowCount[shape.workers][shape.handles]: what the main thread tells each worker: all
                                 // workers' flows, less workers × its own, when they were last summed
    std::uint64_t flows;         // FlowBucket[shape.workers][shape.buckets_per_worker]
    std::uint64_t total;

    static constexpr StateLayout of(const StateShape& shape) noexcept {
        constexpr auto line_up = [](std::uint64_t n) { return (n + 4095) / 4096 * 4096; };
        StateLayout at{};
        at.workers = first_worker_offset;
        at.ports = line_up(at.workers + sizeof(WorkerBlock) * shape.workers);
        at.links = line_up(at.ports + sizeof(PortBlock) * max_ports);
        at.neighbours = line_up(at.links + sizeof(LinkWord) * max_next_hops);
        at.path_mtus = line_up(at.neighbours + sizeof(NeighbourSlot) * neighbour_slots);
        at.drops = line_up(at.path_mtus + sizeof(PathMtuSlot) * path_mtu_slots);
        at.backends = line_up(at.drops + sizeof(ServiceDrops) * shape.workers * shape.services);
        at.own_flows = line_up(at.backends + sizeof(BackendCounters) * shape.workers * shape.handles);
        at.flow_offsets = line_up(at.own_flows + sizeof(FlowCount) * shape.workers * shape.handles);
        at.flows = line_up(at.flow_offsets + sizeof(FlowCount) * shape.workers * shape.handles);
        at.total = line_up(at.flows + sizeof(FlowBucket) * shape.workers * shape.buckets_per_worker);
        return at;
    }
};

// ------------------------------------------------------------------------------------------------ peers

// A flow table of what other nodes know, by ids of one tables file; FlowBucket[buckets] at first_peer_bucket. Ticks are
// of CLOCK_MONOTONIC itself: the control plane knows no downtime. Where ids or size do not fit any more, another file
// takes its place.
struct alignas(cache_line_bytes) PeersHeader {
    std::uint64_t magic;
    std::uint64_t buckets;
    HashSeed flow_seed;                  // of this table alone
    std::uint64_t tables_identity;       // of the tables file whose ids it holds
    std::atomic<std::uint32_t> version;  // stored last, with release
    std::uint32_t reserved;

    alignas(cache_line_bytes) Counter entries;  // put and not taken out; 0: nobody needs to look
    std::atomic<std::int64_t> written_at;       // CLOCK_MONOTONIC, ns, of the last turn of the writer
};
constexpr std::uint64_t first_peer_bucket = 4096;
static_assert(sizeof(PeersHeader) <= first_peer_bucket);

static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace shunt::shm
