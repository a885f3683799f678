// Step 6: the backend's mode writes the headers; hop limit, tags and link addresses for the next hop.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>

#include "dataplane/modes/list.h"
#include "dataplane/news.h"
#include "dataplane/path/batch.h"
#include "dataplane/path/clamp_mss.h"
#include "dataplane/path/tags.h"
#include "dataplane/tables/link_addresses.h"
#include "dataplane/tables/path_mtus.h"
#include "src/shm/tables.h"

namespace shunt::dataplane {

struct Forward {
    const shm::Tables& tables;
    const LinkAddresses& links;
    const PathMtus& path_mtus;
    std::span<const MacAddress> port_macs;     // by PortIndex
    std::span<shm::BackendCounters> counters;  // by handle index
    const ForwardingCache& cache;
    News& news;
    Tick now;
    std::uint32_t ports{};  // those that packets leave by, as bits

    void prefetch(Lane& lane) noexcept {
        if (lane.forwarding != nullptr) [[likely]]
            return;
        if (may_be_cached(lane)) return cache.prefetch(lane.handle, lane.listener);
        find_records(lane);
        shunt::prefetch(lane.next_hop_record);
    }

    Verdict apply(Lane& lane) noexcept {
        if (lane.forwarding == nullptr) [[unlikely]]
            return without_flow(lane);
        return by_cache(lane);
    }

  private:
    // Replies go to a client, by its route.
    static bool may_be_cached(const Lane& lane) noexcept {
        return lane.plain && lane.direction == Direction::to_backend;
    }
    void find_records(Lane& lane) const noexcept {
        const bool to_backend = lane.direction == Direction::to_backend;
        lane.backend_record = &tables.backend(lane.handle);
        lane.next_hop = to_backend ? lane.backend_record->next_hop : tables.route(lane.tuple.destination);
        lane.next_hop_record = &tables.next_hop(lane.next_hop);
    }

    // Whose backend was chosen just now, or who belongs to no flow's entry.
    [[gnu::noinline]] Verdict without_flow(Lane& lane) noexcept {
        if (!may_be_cached(lane)) return by_tables(lane);
        const ForwardingEntry& entry = cache.at(lane.handle, lane.listener);
        if (!cache.holds(entry, lane.handle, lane.listener)) {
            find_records(lane);
            return by_tables(lane);
        }
        lane.forwarding = &entry;
        if (lane.tcp_flags & tcp_syn) fit_segments(lane, entry);
        return by_cache(lane);
    }

    // What the cache knows all about; its conditions are few.
    [[gnu::always_inline]] Verdict by_cache(Lane& lane) noexcept {
        return with_family(lane, [&](auto family, auto& ip) { return by_cache<decltype(family)>(lane, ip); });
    }
    template <class F>
    [[gnu::always_inline]] Verdict by_cache(Lane& lane, typename F::Header& ip) noexcept {
        const ForwardingEntry& entry = *lane.forwarding;
        if (lane.ip_length > entry.longest || F::hop_limit(ip) <= 1 || !entry.link_holds()) [[unlikely]]
            return by_tables_after_all(lane);
        static_cast<void>(Modes::with(entry.mode, [&](auto mode) {
            using M = typename decltype(mode)::type;
            if constexpr (PreparedMode<M>) {
                M::template to_backend<F>(lane, ip, entry);
            } else {
                F::decrement_hop_limit(ip);
                M::to_backend(lane,
                              {*entry.listener_record, *entry.backend_record, tables, port_macs[entry.out_port.value]});
            }
            return Verdict::keep();
        }));
        std::memcpy(lane.bytes, entry.link_addresses.data(), sizeof entry.link_addresses);
        lane.out_port = entry.out_port;
        lane.traffic = entry.traffic;
        ports |= entry.out_port_bit;
        return Verdict::keep();
    }
    [[gnu::noinline]] Verdict by_tables_after_all(Lane& lane) noexcept {
        lane.listener_record = lane.forwarding->listener_record;
        lane.forwarding = nullptr;
        find_records(lane);
        return by_tables(lane);
    }

    [[gnu::noinline]] Verdict by_tables(Lane& lane) noexcept {
        const Verdict verdict =
            with_family(lane, [&](auto family, auto& ip) { return send<decltype(family)>(lane, ip); });
        if (verdict.keeps()) count_and_remember(lane);
        return verdict;
    }

    // Counters by handle; those of index 0 are nobody's.
    shm::BackendCounters& counters_of(shm::Handle handle) const noexcept {
        return counters[handle.index() < counters.size() ? handle.index() : 0];
    }

    void count_and_remember(Lane& lane) noexcept {
        shm::BackendCounters& backend = counters_of(lane.handle);
        lane.traffic = lane.direction == Direction::to_backend ? &backend.forth : &backend.back;
        ForwardingEntry& entry = cache.at(lane.handle, lane.listener);
        if (!cache.holds(entry, lane.handle, lane.listener) || !entry.link_holds()) remember(lane, entry);
    }
    // What the tables said. Until the link address is known, or where there are many ports, tags, or neighbours that
    // are looked for one by one, an entry speaks of flows alone, and nothing is short enough for it.
    [[gnu::noinline]] void remember(const Lane& lane, ForwardingEntry& entry) const noexcept {
        const shm::ListenerRecord& listener = *lane.listener_record;
        const shm::BackendRecord& backend = *lane.backend_record;
        const bool keeps_flows = listener.in_use && backend.service == listener.service &&
                                 shm::keeps_flows(backend.status, listener.protocol) &&
                                 listener.keeps_flows_of_one_port();
        entry = {.handle = lane.handle,
                 .flow_handle = keeps_flows ? lane.handle : shm::Handle{},
                 .epoch = cache.epoch(),
                 .listener = lane.listener,
                 .longest = 0,
                 .mode = listener.mode,
                 .out_port = {},
                 .port = backend.port,
                 .ip_delta = {},
                 .transport_delta = {},
                 .address = backend.address,
                 .link = &ForwardingEntry::no_link,
                 .link_word = 0,
                 .traffic = &counters_of(lane.handle).forth,
                 .link_addresses = {},
                 .out_port_bit = 0,
                 .source = backend.source,
                 .timeouts = listener.timeouts,
                 .listener_record = &listener,
                 .backend_record = &backend};
        const NextHopIndex index = backend.next_hop;
        const shm::NextHopRecord& next_hop = tables.next_hop(index);
        constexpr auto special = shm::NextHopRecord::on_link | shm::NextHopRecord::sets_tags;
        const bool plain = index && next_hop.port.value < port_macs.size() && (next_hop.flags & special) == 0;
        if (plain && !listener.has_many_ports()) prepare(entry, index, next_hop);
    }

    void prepare(ForwardingEntry& entry, NextHopIndex index, const shm::NextHopRecord& next_hop) const noexcept {
        const LinkAddresses::Source link = links.source(index, next_hop);
        entry.link = link.word;
        entry.link_word = link.value;
        if (link.mac == 0) return;
        const MacAddress& port_mac = port_macs[next_hop.port.value];
        entry.out_port = next_hop.port;
        entry.out_port_bit = 1U << next_hop.port.value;
        entry.link_addresses = {MacAddress::of_word(link.mac), port_mac};
        const Target target{*entry.listener_record, *entry.backend_record, tables, port_mac};
        static_cast<void>(Modes::with(entry.mode, [&](auto mode) {
            using M = typename decltype(mode)::type;
            entry.longest = longest(target, next_hop, M::overhead(target));
            if constexpr (PreparedMode<M>) M::prepare(entry, target);
            return Verdict::keep();
        }));
    }
    std::uint16_t longest(const Target& target, const shm::NextHopRecord& next_hop,
                          std::uint32_t overhead) const noexcept {
        const std::uint32_t limit = limit_of(next_hop);
        if (limit <= overhead) return 0;
        const bool no_doubt = overhead == 0 || !cache.path_mtus_known();
        const std::uint32_t room = limit - overhead;
        return static_cast<std::uint16_t>(
            no_doubt ? room : std::min(room, always_taken(target.listener.address.family(), overhead)));
    }

    template <class F>
    Verdict send(Lane& lane, typename F::Header& ip) noexcept {
        if (F::hop_limit(ip) <= 1) [[unlikely]]
            return refuse(lane, Answer::time_exceeded, shm::DropReason::hop_limit_exceeded);

        const shm::ListenerRecord& listener = *lane.listener_record;
        const shm::BackendRecord& backend = *lane.backend_record;
        const bool to_backend = lane.direction == Direction::to_backend;
        const shm::NextHopRecord& next_hop = *lane.next_hop_record;
        if (!lane.next_hop || next_hop.port.value >= port_macs.size()) [[unlikely]]
            return Verdict::drop(shm::DropReason::no_route);

        const Target target{listener, backend, tables, port_macs[next_hop.port.value]};
        const Verdict written = Modes::with(listener.mode, [&](auto mode) {
            return write<typename decltype(mode)::type, F>(lane, ip, target, next_hop);
        });
        if (!written.keeps()) [[unlikely]]
            return written;
        lane.out_port = next_hop.port;
        if (address_frame(lane, target, to_backend ? backend.address : lane.tuple.destination)) [[likely]] {
            ports |= 1U << next_hop.port.value;
            return Verdict::keep();
        }
        return to_backend ? unresolved(listener.mode) : Verdict::punt();
    }

    // Until the link address is known the packet is the kernel's to send, if its destination says where to.
    static Verdict unresolved(ForwardingMode mode) noexcept {
        return Modes::with(mode, [](auto type) {
            using M = typename decltype(type)::type;
            return M::names_backend ? Verdict::punt() : Verdict::drop(shm::DropReason::link_unknown);
        });
    }

    template <class M, class F>
    Verdict write(Lane& lane, typename F::Header& ip, const Target& target,
                  const shm::NextHopRecord& next_hop) noexcept {
        const bool to_backend = lane.direction == Direction::to_backend;
        const std::uint32_t overhead = to_backend ? M::overhead(target) : 0;
        const std::uint32_t limit = limit_of(lane, target, next_hop, overhead);
        if (lane.ip_length + overhead > limit) [[unlikely]]
            return too_long(lane, limit > overhead ? limit - overhead : 0);
        if (lane.tcp_flags & tcp_syn) fit_segments<M>(lane, target, limit, overhead);
        F::decrement_hop_limit(ip);
        if (to_backend) {
            M::to_backend(lane, target);
            return Verdict::keep();
        }
        if constexpr (TranslatingMode<M>) {
            M::to_client(lane, target);
            return Verdict::keep();
        }
        return Verdict::drop(shm::DropReason::return_unknown);
    }

    // The longest IP packet that may leave. Only what is longer than any error is believed needs a look; and nobody can
    // be told to send less than 1280 bytes of IPv6 (RFC 8200 section 5), so they are sent whatever is known of the
    // path.
    std::uint32_t limit_of(const Lane& lane, const Target& target, const shm::NextHopRecord& next_hop,
                           std::uint32_t overhead) const noexcept {
        const std::uint32_t limit = limit_of(next_hop);
        if (overhead == 0 || lane.ip_length <= always_taken(lane.family, overhead)) return limit;
        return std::min(limit, path_limit(target));
    }
    static std::uint32_t limit_of(const shm::NextHopRecord& next_hop) noexcept {
        return next_hop.mtu == 0 ? 65'535U : next_hop.mtu;
    }
    static std::uint32_t always_taken(Family family, std::uint32_t overhead) noexcept {
        return family == Family::ipv6 ? 1280 : PathMtus::least(Family::ipv4) - overhead;
    }
    std::uint32_t path_limit(const Target& target) const noexcept {
        return path_mtus.find(target.backend.address, now).value_or(0xffff);
    }

    static Verdict refuse(Lane& lane, Answer answer, shm::DropReason reason) noexcept {
        // RFC 1122 section 3.2.2: never about an error, nor about a later fragment.
        if (!lane.is_quote() && lane.part != Part::later) lane.answer = answer;
        return Verdict::drop(reason);
    }

    // `room` is what an IP packet may have before the mode adds to it.
    static Verdict too_long(Lane& lane, std::uint32_t room) noexcept {
        lane.room = static_cast<std::uint16_t>(room);
        const bool may_be_cut =
            lane.family == Family::ipv4 && !lane.is_quote() &&
            !(lane.header_at<Ipv4Header>(lane.l3_offset).flags_and_offset.host() & ipv4_dont_fragment);
        if (may_be_cut) return Verdict::cut();
        return refuse(lane, Answer::too_big, shm::DropReason::packet_too_big);
    }

    void fit_segments(Lane& lane, const ForwardingEntry& entry) const noexcept {
        const shm::NextHopRecord& next_hop = tables.next_hop(entry.backend_record->next_hop);
        const Target target{*entry.listener_record, *entry.backend_record, tables, port_macs[entry.out_port.value]};
        static_cast<void>(Modes::with(entry.mode, [&](auto mode) {
            using M = typename decltype(mode)::type;
            fit_segments<M>(lane, target, limit_of(next_hop), M::overhead(target));
            return Verdict::keep();
        }));
    }
    // Replies of a translating mode come back through here, and what they may have counts as well.
    template <class M>
    void fit_segments(Lane& lane, const Target& target, std::uint32_t limit, std::uint32_t overhead) const noexcept {
        const std::uint32_t whole = overhead == 0 ? limit : std::min(limit, path_limit(target));
        std::uint32_t room = whole - overhead;
        const std::uint16_t setting = target.listener.mode_settings.mss;
        if (setting == shm::mss_off) return;
        if (setting != shm::mss_auto) return clamp_mss(lane, setting);
        if constexpr (TranslatingMode<M>) {
            const bool to_backend = lane.direction == Direction::to_backend;
            const NextHopIndex back = to_backend ? tables.route(lane.tuple.source) : target.backend.next_hop;
            const std::uint16_t mtu = tables.next_hop(back).mtu;
            if (back && mtu != 0) room = std::min<std::uint32_t>(room, mtu);
        }
        const std::size_t headers = with_family(lane, [](auto, auto& ip) { return sizeof ip + sizeof(TcpHeader); });
        if (room > headers) clamp_mss(lane, static_cast<std::uint16_t>(room - headers));
    }

    // False: the link address is not known yet.
    bool address_frame(Lane& lane, const Target& target, const IpAddress& destination) noexcept {
        const shm::NextHopRecord& next_hop = *lane.next_hop_record;
        const std::uint64_t mac = links.resolve(lane.next_hop, next_hop, destination);
        if (mac == 0) [[unlikely]] {
            const bool on_link = next_hop.flags & shm::NextHopRecord::on_link;
            if (on_link) news.neighbours.push({destination, next_hop.port});
            return false;
        }
        if (next_hop.flags & shm::NextHopRecord::sets_tags) set_tags(lane, next_hop.tags);
        auto& ethernet = lane.header_at<EthernetHeader>(0);
        std::memcpy(ethernet.destination.data(), &mac, sizeof ethernet.destination);
        ethernet.source = target.port_mac.bytes;
        return true;
    }
};

}  // namespace shunt::dataplane
