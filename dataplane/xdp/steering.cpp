#include "dataplane/xdp/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

namespace shunt::dataplane::xdp {
namespace {

SetKey key_of(const IpAddress& address) { return SetKey::of(std::bit_cast<steer_address>(address.bytes())); }

SetKey key_of(const Endpoint& endpoint) {
    return SetKey::of(steer_endpoint{.address = std::bit_cast<steer_address>(endpoint.address.bytes()),
                                     .port = endpoint.port.raw,
                                     .protocol = static_cast<std::uint8_t>(endpoint.protocol),
                                     .zero = 0});
}

SetKey key_of(const MacAddress& mac) {
    steer_mac key{};
    std::memcpy(key.bytes, mac.bytes.data(), sizeof key.bytes);
    return SetKey::of(key);
}

template <class Range>
SetKeys keys_of(const Range& range) {
    std::vector<SetKey> keys;
    keys.reserve(range.size());
    for (const auto& element : range) keys.push_back(key_of(element));
    return SetKeys(std::move(keys));
}

SetKeys addresses_of(const std::vector<Endpoint>& endpoints) {
    std::vector<SetKey> keys;
    keys.reserve(endpoints.size());
    for (const auto& endpoint : endpoints) keys.push_back(key_of(endpoint.address));
    return SetKeys(std::move(keys));
}

SetKeys addresses_of(const std::vector<Vip>& ranges) {
    std::vector<SetKey> keys;
    for (const Vip& range : ranges) keys.push_back(key_of(range.address));
    return SetKeys(std::move(keys));
}

// As the fewest blocks of ports that begin at a multiple of their own power of two: what a trie of prefixes can match.
SetKeys blocks_of(const std::vector<Vip>& ranges) {
    std::vector<SetKey> keys;
    for (const Vip& range : ranges) {
        const std::uint32_t end = range.ports.last.host() + 1U;
        for (std::uint32_t port = range.ports.first.host(), size = 0; port < end; port += size) {
            size = port == 0 ? std::uint32_t{steer_all_ports} : port & -port;
            while (port + size > end) size /= 2;
            keys.push_back(SetKey::of(steer_port_block{
                .prefix_length = steer_port_block_bits - static_cast<std::uint32_t>(std::countr_zero(size)),
                .address = std::bit_cast<steer_address>(range.address.bytes()),
                .protocol = static_cast<std::uint8_t>(range.protocol),
                .zero = 0,
                .port = Be16(static_cast<std::uint16_t>(port)).raw}));
        }
    }
    return SetKeys(std::move(keys));
}

// Of all listeners: what shows no ports may be for any of them.
SetKeys listener_addresses_of(const SteeringSet& wanted) {
    SetKeys addresses = addresses_of(wanted.listeners);
    addresses.add(addresses_of(wanted.ranges));
    return addresses;
}

// New ones first: there is no moment at which an address that stays is missing.
Status replace(KernelSet& set, const SetKeys& wanted) {
    if (auto done = set.add(wanted); !done) return done;
    return set.keep_only(wanted);
}

}  // namespace

Result<Steering> Steering::attach(const Interface& interface, Mode mode) {
    auto lock = InterfaceLock::take(interface);
    if (!lock) return lock.error();
    auto program = ensure_program(interface, mode);
    if (!program) return program.error();
    return open(interface, *std::move(lock), *std::move(program));
}

Result<Steering> Steering::succeed(const Interface& interface, Mode mode, InterfaceLock lock) {
    auto program = prepare_program(interface, mode);
    if (!program) return program.error();
    return open(interface, std::move(lock), *std::move(program));
}

Status Steering::put_in_place() {
    if (program_.id != 0) return Done{};
    if (auto done = xdp::put_in_place(interface_, program_); !done) return done;
    auto program = attached_program(interface_);
    if (!program) return program.error();
    program_ = *std::move(program);
    return Done{};
}

Result<Steering> Steering::open(const Interface& interface, InterfaceLock lock, Program program) {
    const auto open_set = [&](const char* map) { return KernelSet::open(interface, program, map); };
    auto macs = open_set("port_macs");
    auto listeners = open_set("listeners");
    auto ranges = open_set("ranges");
    auto listener_addresses = open_set("listener_addrs");
    auto local_addresses = open_set("local_addrs");
    auto backends = open_set("backends");
    auto backend_addresses = open_set("backend_addrs");
    auto tunnel_ends = open_set("tunnel_ends");
    for (const auto* set : {&macs, &listeners, &ranges, &listener_addresses, &local_addresses, &backends,
                            &backend_addresses, &tunnel_ends}) {
        if (!*set) return set->error();
    }
    auto sockets = map_of(interface, program, "xsks_map");
    if (!sockets) return sockets.error();
    auto counters = map_of(interface, program, "counters");
    if (!counters) return counters.error();
    return Steering(interface, std::move(lock), std::move(program),
                    {.port_macs = *std::move(macs),
                     .listeners = *std::move(listeners),
                     .ranges = *std::move(ranges),
                     .listener_addresses = *std::move(listener_addresses),
                     .local_addresses = *std::move(local_addresses),
                     .backends = *std::move(backends),
                     .backend_addresses = *std::move(backend_addresses),
                     .tunnel_ends = *std::move(tunnel_ends)},
                    *std::move(sockets), *std::move(counters));
}

Status Steering::detach(const Interface& interface) {
    const auto lock = InterfaceLock::take(interface);
    if (!lock) return lock.error();
    return remove_program(interface);
}

Status Steering::set_port(const MacAddress& mac, std::span<const MacAddress> virtual_macs) {
    SetKeys wanted = keys_of(virtual_macs);
    wanted.add(keys_of(std::array{mac}));
    return replace(sets_.port_macs, wanted);
}

Status Steering::set_local_addresses(std::span<const IpAddress> addresses) {
    return replace(sets_.local_addresses, keys_of(addresses));
}

Status Steering::connect(std::uint32_t queue, int socket) const {
    if (bpf_map_update_elem(sockets_.get(), &queue, &socket, BPF_ANY) == 0) return Done{};
    return Error{.message = "cannot lead queue " + std::to_string(queue) + " to its socket: " + std::strerror(errno)};
}

Status Steering::admit(const SteeringSet& wanted) {
    // Backends first: a listener's first packet may be answered at once.
    auto done = sets_.backends.add(keys_of(wanted.backends));
    if (done) done = sets_.backend_addresses.add(addresses_of(wanted.backends));
    if (done) done = sets_.tunnel_ends.add(keys_of(wanted.tunnel_ends));
    if (done) done = sets_.listeners.add(keys_of(wanted.listeners));
    if (done) done = sets_.ranges.add(blocks_of(wanted.ranges));
    if (done) done = sets_.listener_addresses.add(listener_addresses_of(wanted));
    return done;
}

Status Steering::retire(const SteeringSet& wanted) {
    auto done = sets_.listeners.keep_only(keys_of(wanted.listeners));
    if (done) done = sets_.ranges.keep_only(blocks_of(wanted.ranges));
    if (done) done = sets_.listener_addresses.keep_only(listener_addresses_of(wanted));
    if (done) done = sets_.tunnel_ends.keep_only(keys_of(wanted.tunnel_ends));
    if (done) done = sets_.backends.keep_only(keys_of(wanted.backends));
    if (done) done = sets_.backend_addresses.keep_only(addresses_of(wanted.backends));
    return done;
}

Result<SteeringCounters> Steering::counters() const {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus < 1) return Error{.message = "cannot tell how many CPUs there are"};
    std::vector<std::uint64_t> per_cpu(static_cast<std::size_t>(cpus));
    SteeringCounters sum;
    for (std::uint32_t counter = 0; counter < sum.values.size(); ++counter) {
        if (bpf_map_lookup_elem(counters_.get(), &counter, per_cpu.data()) != 0) {
            return Error{.message =
                             std::string("cannot read the steering program's counters: ") + std::strerror(errno)};
        }
        for (const auto count : per_cpu) sum.values[counter] += count;
    }
    return sum;
}

}  // namespace shunt::dataplane::xdp
