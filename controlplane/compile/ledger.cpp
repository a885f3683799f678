#include "controlplane/compile/ledger.h"

#include <algorithm>
#include <utility>

namespace shunt::controlplane {
namespace {

template <class T>
T& at(std::vector<T>& records, std::uint32_t index) {
    if (index >= records.size()) records.resize(index + 1);
    return records[index];
}

// Of handles or listeners, sorted: for "is it still there?".
template <class T>
std::vector<std::uint32_t> numbers_of(const std::vector<T>& all) {
    std::vector<std::uint32_t> numbers;
    for (const T& one : all) numbers.push_back(one.value);
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

bool contains(const std::vector<std::uint32_t>& sorted, std::uint32_t one) {
    return std::binary_search(sorted.begin(), sorted.end(), one);
}

Endpoint endpoint_of(const auto& record) { return {record.address, record.port, record.protocol}; }

Vip vip_of(const shm::ListenerRecord& listener) { return {listener.address, listener.ports(), listener.protocol}; }

}  // namespace

Ledger::Ledger(const shm::Tables& published) : book_(Book::read(published)) {
    for (std::uint32_t i = 1; i < published.services.count(); ++i) at(image_.services, i) = published.services[i];
    for (std::uint32_t i = 1; i < published.sources.count(); ++i) {
        const shm::SourceRecord& source = at(image_.sources, i) = published.sources[i];
        if (source.count != 0) image_.source_map.add_counted(endpoint_of(source), i);
    }
    for (std::uint32_t i = 1; i < published.listeners.count(); ++i) {
        shm::ListenerRecord& listener = at(image_.listeners, i).record = published.listeners[i];
        listener.slots = listener.handles = listener.numbers = 0;
        if (listener.in_use) admit_listener(ListenerIndex(static_cast<std::uint16_t>(i)));
    }
    for (std::uint32_t i = 1; i < published.backends.count(); ++i) {
        const shm::BackendRecord& backend = at(image_.backends, i) = published.backends[i];
        if (backend.next_hop) ++at(hop_uses_, backend.next_hop.value);
        if (is_tunnel_end(backend)) image_.tunnel_map.count_up(backend.address);
    }
    const auto hops = published.next_hops();
    for (std::uint32_t i = 1; i < hops.size(); ++i) at(image_.next_hops, i) = hops[i];
    for (const auto& [hop, number] : book_.hops.in_force()) {
        touched_hops_.insert(NextHopIndex(static_cast<std::uint16_t>(number)));
    }
    for (const ServiceNumbers& service : services()) relate(service, true);
}

std::vector<ServiceNumbers> Ledger::services() const {
    std::vector<ServiceNumbers> all(image_.services.size());
    for (const auto& [name, index] : book_.services.in_force()) {
        all[index].name = name;
        all[index].index = ServiceIndex(static_cast<std::uint16_t>(index));
    }
    for (const auto& [key, index] : book_.listeners.in_force()) {
        if (key.service.value >= all.size()) continue;
        all[key.service.value].listeners.push_back(ListenerIndex(static_cast<std::uint16_t>(index)));
    }
    for (const auto& [key, index] : book_.handles.in_force()) {
        if (key.service.value < all.size()) all[key.service.value].handles.push_back(book_.handle(index));
    }
    std::erase_if(all, [](const ServiceNumbers& service) { return !service.index; });
    return all;
}

void Ledger::take_out(const ServiceNumbers& before, const ServiceNumbers& after, Instant now) {
    relate(before, false);
    const auto handles_left = numbers_of(after.handles), listeners_left = numbers_of(after.listeners);
    for (const shm::Handle handle : before.handles) {
        const shm::BackendRecord& backend = image_.backends[handle.index()];
        if (is_tunnel_end(backend)) image_.tunnel_map.count_down(backend.address);
        const NextHopIndex hop = backend.next_hop;
        if (hop) {
            --hop_uses_[hop.value];
            touched_hops_.insert(hop);
        }
        if (!contains(handles_left, handle.value)) retire_handle(handle, now);
    }
    for (const ListenerIndex listener : before.listeners) {
        if (!contains(listeners_left, listener.value)) retire_listener(listener, now);
    }
    if (!after.index) {
        book_.services.give_back(before.name, now);
        image_.services[before.index.value] = {};
        image_.services[before.index.value].retired_at = book_.services[before.index.value].retired_at.nanoseconds;
    }
}

void Ledger::put_in(const ServiceImage& service) {
    const ServiceNumbers& numbers = service.numbers;
    at(image_.services, numbers.index.value) = service.record;
    for (std::size_t i = 0; i < numbers.listeners.size(); ++i) {
        const std::uint32_t index = numbers.listeners[i].value;
        at(image_.listeners, index) = service.listeners[i];
        admit_listener(numbers.listeners[i]);
    }
    for (std::size_t i = 0; i < numbers.handles.size(); ++i) {
        const std::uint32_t index = numbers.handles[i].index();
        const shm::BackendRecord& backend = at(image_.backends, index) = service.backends[i];
        if (index >= book_.awaited.size()) book_.awaited.resize(index + 1);
        book_.awaited[index] = backend.awaited != 0;
        if (is_tunnel_end(backend)) image_.tunnel_map.count_up(backend.address);
        if (!backend.next_hop) continue;
        ++at(hop_uses_, backend.next_hop.value);
        touched_hops_.insert(backend.next_hop);
    }
    relate(numbers, true);
}

void Ledger::set_routes(const NextHops& hops) {
    image_.routes_v4 = hops.trie(Family::ipv4);
    image_.routes_v6 = hops.trie(Family::ipv6);
    image_.local_map = {};
    for (const IpAddress& local : hops.view().local_addresses) {
        image_.local_map.set({local, shm::any_port, shm::any_protocol}, 1);
    }
    for (const auto& [hop, number] : book_.hops.in_force()) {
        touched_hops_.insert(NextHopIndex(static_cast<std::uint16_t>(number)));
    }
}

void Ledger::finish(const NextHops& hops, Instant now) {
    for (const Endpoint& all_ports : std::exchange(touched_ranges_, {})) write_ranges(all_ports);
    for (const SourceNumber source : std::exchange(touched_sources_, {})) write_source(source, now);
    for (const NextHopIndex hop : std::exchange(touched_hops_, {})) write_hop(hop, hops, now);
}

void Ledger::admit_listener(ListenerIndex index) {
    const shm::ListenerRecord& listener = image_.listeners[index.value].record;
    if (!listener.has_many_ports()) return image_.listener_map.add_counted(endpoint_of(listener), index.value);
    if (ranges_of(vip_of(listener)).insert_or_assign(listener.ports(), index).second) {
        image_.listener_map.count_up(listener.address);
    }
}

void Ledger::retire_listener(ListenerIndex index, Instant now) {
    const ServiceVip key = book_.listeners.key_of(index.value);
    book_.listeners.give_back(key, now);
    if (key.vip.ports.is_one()) {
        image_.listener_map.remove_counted({key.vip.address, key.vip.ports.first, key.vip.protocol});
    } else if (ranges_of(key.vip).erase(key.vip.ports) != 0) {
        image_.listener_map.count_down(key.vip.address);
    }
    image_.listeners[index.value] = {};
    image_.listeners[index.value].record.retired_at = book_.listeners[index.value].retired_at.nanoseconds;
}

// To be written again: whoever asks changes them.
Ledger::Ranges& Ledger::ranges_of(const Vip& vip) {
    const Endpoint all_ports{vip.address, shm::any_port, vip.protocol};
    touched_ranges_.insert(all_ports);
    return ranges_[all_ports];
}

// Ranges do not overlap, so a balanced tree of them finds the only one that has a port; the whole address, if it is a
// listener, stands above it.
void Ledger::write_ranges(const Endpoint& all_ports) {
    const Ranges& ranges = ranges_.at(all_ports);
    std::vector<ListenerIndex> in_order;
    ListenerIndex whole;
    for (const auto& [ports, index] : ranges) {
        if (ports.is_all()) {
            whole = index;
        } else {
            in_order.push_back(index);
        }
    }
    ListenerIndex top = write_tree(in_order);
    if (whole) {
        image_.listeners[whole.value].record.ranges = {.below = {}, .above = {}, .within = top};
        top = whole;
    }
    image_.range_map.set(all_ports, top.value);
    if (ranges.empty()) ranges_.erase(all_ports);
}

// A function of the ranges alone. Returns its top; 0 if there are none.
ListenerIndex Ledger::write_tree(Span ranges) {
    if (ranges.empty()) return {};
    const std::size_t middle = ranges.size() / 2;
    const ListenerIndex top = ranges[middle];
    image_.listeners[top.value].record.ranges = {
        .below = write_tree(ranges.first(middle)), .above = write_tree(ranges.subspan(middle + 1)), .within = {}};
    return top;
}

void Ledger::retire_handle(shm::Handle handle, Instant now) {
    book_.handles.give_back(ServiceEndpoint(book_.handles.key_of(handle.index())), now);
    book_.awaited[handle.index()] = false;
    shm::BackendRecord& record = image_.backends[handle.index()] = {};
    record.incarnation = static_cast<std::uint16_t>(handle.incarnation());
    record.retired_at = book_.handles[handle.index()].retired_at.nanoseconds;
}

bool Ledger::is_tunnel_end(const shm::BackendRecord& backend) const {
    return backend.status != shm::BackendStatus::absent &&
           traits_of(image_.services[backend.service.value].mode).encapsulates;
}

// Replies from a backend may be those of any listener that leads to it.
void Ledger::relate(const ServiceNumbers& service, bool related) {
    for (const shm::Handle handle : service.handles) {
        const shm::BackendRecord& backend = image_.backends[handle.index()];
        if (!backend.source) continue;
        std::set<ListenerIndex>& listeners = at(source_listeners_, backend.source.value);
        for (const ListenerIndex listener : service.listeners) {
            if (!leads_to(image_.listeners[listener.value].record, backend)) continue;
            if (related) {
                listeners.insert(listener);
            } else {
                listeners.erase(listener);
            }
        }
        touched_sources_.insert(backend.source);
    }
}

void Ledger::write_source(SourceNumber number, Instant now) {
    const Endpoint endpoint = book_.sources.key_of(number.value);
    const std::set<ListenerIndex>& listeners = source_listeners_[number.value];
    shm::SourceRecord& record = at(image_.sources, number.value) = {};
    if (listeners.empty()) {
        book_.sources.give_back(endpoint, now);
        image_.source_map.remove_counted(endpoint);
        record.retired_at = book_.sources[number.value].retired_at.nanoseconds;
        return;
    }
    record.address = endpoint.address;
    record.port = endpoint.port;
    record.protocol = endpoint.protocol;
    for (const ListenerIndex listener : listeners) {
        if (record.count == record.listeners.size()) break;
        record.listeners[record.count++] = listener;
    }
    image_.source_map.add_counted(endpoint, number.value);
}

void Ledger::write_hop(NextHopIndex index, const NextHops& hops, Instant now) {
    const Hop hop = book_.hops.key_of(index.value);
    const bool used = at(hop_uses_, index.value) != 0 || hops.of_routes().contains(index.value);
    const std::uint16_t version = book_.hop_version(index.value);
    if (used) {
        at(image_.next_hops, index.value) = hops.record(hop, version);
        return;
    }
    book_.hops.give_back(hop, now);
    shm::NextHopRecord& record = at(image_.next_hops, index.value) = {};
    record.version = version;
    record.retired_at = book_.hops[index.value].retired_at.nanoseconds;
}

}  // namespace shunt::controlplane
