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

// New ones first: there is no moment at which an address that stays is missing.
Status replace(KernelSet& set, const SetKeys& wanted) {
    if (auto done = set.add(wanted); !done) return done;
    return set.keep_only(wanted);
}

// Endpoints and, beside them, their addresses: for packets that show no ports.
Status add_endpoints(KernelSet& endpoints, KernelSet& addresses, const std::vector<Endpoint>& wanted) {
    if (auto done = endpoints.add(keys_of(wanted)); !done) return done;
    return addresses.add(addresses_of(wanted));
}

Status keep_endpoints(KernelSet& endpoints, KernelSet& addresses, const std::vector<Endpoint>& wanted) {
    if (auto done = endpoints.keep_only(keys_of(wanted)); !done) return done;
    return addresses.keep_only(addresses_of(wanted));
}

}  // namespace

Result<Steering> Steering::attach(const Interface& interface, Mode mode) {
    auto lock = InterfaceLock::take(interface);
    if (!lock) return lock.error();
    auto program = ensure_program(interface, mode);
    if (!program) return program.error();
    const auto open_set = [&](const char* map) { return KernelSet::open(interface, *program, map); };
    auto macs = open_set("port_macs");
    auto listeners = open_set("listeners");
    auto listener_addresses = open_set("listener_addrs");
    auto local_addresses = open_set("local_addrs");
    auto backends = open_set("backends");
    auto backend_addresses = open_set("backend_addrs");
    auto tunnel_ends = open_set("tunnel_ends");
    for (const auto* set :
         {&macs, &listeners, &listener_addresses, &local_addresses, &backends, &backend_addresses, &tunnel_ends}) {
        if (!*set) return set->error();
    }
    auto counters = map_of(interface, *program, "counters");
    if (!counters) return counters.error();
    return Steering(*std::move(lock), *std::move(program),
                    {.port_macs = *std::move(macs),
                     .listeners = *std::move(listeners),
                     .listener_addresses = *std::move(listener_addresses),
                     .local_addresses = *std::move(local_addresses),
                     .backends = *std::move(backends),
                     .backend_addresses = *std::move(backend_addresses),
                     .tunnel_ends = *std::move(tunnel_ends)},
                    *std::move(counters));
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

Status Steering::admit(const SteeringSet& wanted) {
    // Backends first: a listener's first packet may be answered at once.
    auto done = add_endpoints(sets_.backends, sets_.backend_addresses, wanted.backends);
    if (done) done = sets_.tunnel_ends.add(keys_of(wanted.tunnel_ends));
    if (!done) return done;
    return add_endpoints(sets_.listeners, sets_.listener_addresses, wanted.listeners);
}

Status Steering::retire(const SteeringSet& wanted) {
    auto done = keep_endpoints(sets_.listeners, sets_.listener_addresses, wanted.listeners);
    if (done) done = sets_.tunnel_ends.keep_only(keys_of(wanted.tunnel_ends));
    if (!done) return done;
    return keep_endpoints(sets_.backends, sets_.backend_addresses, wanted.backends);
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
