#include "controlplane/sync/own_flows.h"

#include <algorithm>

namespace shunt::controlplane::sync {
namespace {

constexpr std::uint32_t lines_per_chunk = 2048;
// The most that one piece of a scan may bring: buckets full of wide entries.
constexpr std::size_t most_bytes_per_piece = shm::FlowScan::group * 2 * 60;
static_assert(most_bytes_per_piece < room_for_records);

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    return folded_multiply(a ^ 0x9e3779b97f4a7c15ULL, b ^ 0xbf58476d1ce4e5b9ULL);
}

std::uint64_t ports_of(const FlowRecord& r) {
    return std::uint64_t{r.client_port.raw} | std::uint64_t{r.vip_port.raw} << 16 |
           std::uint64_t{static_cast<std::uint8_t>(r.protocol)} << 32;
}
std::uint64_t number_of(const IpAddress& address) { return mix(address.high_word(), address.low_word()); }

std::uint64_t flow_hash(const FlowRecord& r) {
    return mix(mix(number_of(r.client), number_of(r.vip)), ports_of(r)) * 0x94d049bb133111ebULL;
}
std::uint64_t content_hash(const FlowRecord& r) {
    return mix(number_of(r.backend), std::uint64_t{r.backend_port.raw} << 8 | static_cast<std::uint64_t>(r.state)) *
           0x94d049bb133111ebULL;
}

// Positions mean something as long as the tables they lie in are the same.
std::uint64_t space_of(const View& view, const PeerTable& peers) {
    const std::uint64_t own =
        view.state ? mix(view.state->header().incarnation, shm::FlowScan::end_of(view.flows())) : 1;
    return mix(own, mix(view.tables_identity, peers.size())) | 1;
}

}  // namespace

bool is_told(const shm::Flow& flow, const shm::Tables& tables, Which which) noexcept {
    // A datagram that nobody knows opens a flow: where a scheduler places those, the table is not asked.
    const bool by_table = flow.listener->choice == Choice::by_table || flow.listener->protocol == Protocol::tcp;
    if (which == Which::all || !by_table) return true;
    const FiveTuple tuple{flow.key.peer, flow.listener->address, flow.key.peer_port, flow.port_at_vip(),
                          flow.listener->protocol};
    return tables.choose(*flow.listener, tables.hash(*flow.listener, tuple)) != flow.entry.handle;
}

Told::Before Told::tell(const FlowRecord& record, Tick now, std::uint32_t repeat_after) {
    constexpr std::uint64_t field = (1U << 20) - 1;
    const std::uint64_t hash = flow_hash(record);
    Line& line = lines_[scale_hash(hash, lines_.size())];
    const std::uint64_t tag = (hash & field) | 1;  // never 0
    const std::uint64_t content = content_hash(record) >> 44;
    const std::uint64_t word = tag << 44 | content << 24 | now.value;
    std::uint64_t* oldest = &line[0];
    const auto age = [now](std::uint64_t of) {
        return of == 0 ? Tick::mask : now.since({static_cast<std::uint32_t>(of) & Tick::mask});
    };
    for (std::uint64_t& known : line) {
        if (known >> 44 == tag) {
            const bool same = (known >> 24 & field) == content;
            if (same && age(known) < repeat_after) return Before::lately;
            known = word;
            return same ? Before::long_ago : Before::changed;
        }
        if (age(known) > age(*oldest)) oldest = &known;
    }
    *oldest = word;
    return Before::never;
}

void Rounds::begin(Instant now) {
    scan_.emplace(shm::FlowFilter{});
    began_ = now;
    count_ = {};
}

bool Rounds::end(Instant now) {
    scan_.reset();
    last_ = count_;
    complete_ = true;
    lag_ = now - began_ + std::max(now - began_, pause);  // missed just before, sent with the last
    return true;
}

Chunk chunk_from(std::uint64_t space, std::uint64_t position, const View& view, const PeerTable& peers, Instant now) {
    const std::uint64_t own_end = view.state ? shm::FlowScan::end_of(view.flows()) : 0;
    Chunk chunk{.space = space_of(view, peers), .position = position, .next = position, .end = own_end + peers.size()};
    if (space != chunk.space) return chunk;
    std::size_t bytes = 0;
    const auto add = [&](const FlowRecord& record) {
        bytes += record_bytes(record);
        chunk.records.push_back(record);
    };
    std::uint32_t lines = 0;
    const auto goes_on = [&] { return bytes + most_bytes_per_piece <= room_for_records && lines < lines_per_chunk; };
    if (view.state && chunk.next < own_end) {
        shm::FlowScan scan(shm::FlowFilter{}, view.flows(), chunk.next);
        bool end = false;
        for (; !end && goes_on(); lines += shm::FlowScan::group) {
            end =
                scan.step(view.flows(), view.tables, view.state_tick(now), shm::FlowScan::group, [&](const auto& flow) {
                    if (flow.is_first() && is_told(flow, view.tables, view.which)) {
                        add(to_record(flow.key, *flow.listener, *flow.backend, flow.entry.state, flow.idle));
                    }
                });
        }
        chunk.next = end ? own_end : scan.position(view.flows());
    }
    for (; chunk.next >= own_end && chunk.next < chunk.end && goes_on(); ++chunk.next, ++lines) {
        peers.visit(chunk.next - own_end, view.tables, Tick::at(now), add);
    }
    return chunk;
}

}  // namespace shunt::controlplane::sync
