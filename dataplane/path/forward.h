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
    std::span<const MacAddress> port_macs;  // by PortIndex
    News& news;
    Tick now;
    std::uint32_t ports{};  // those that packets leave by, as bits

    void prefetch(Lane& lane) noexcept {
        const bool to_backend = lane.direction == Direction::to_backend;
        lane.next_hop = to_backend ? lane.backend_record->next_hop : tables.route(lane.tuple.destination);
        lane.next_hop_record = &tables.next_hop(lane.next_hop);
        shunt::prefetch(lane.next_hop_record);
    }

    Verdict apply(Lane& lane) noexcept {
        return with_family(lane, [&](auto family, auto& ip) { return send<decltype(family)>(lane, ip); });
    }

  private:
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
        const std::uint32_t limit = next_hop.mtu == 0 ? 65'535U : next_hop.mtu;
        const std::uint32_t always = lane.family == Family::ipv6 ? 1280 : PathMtus::least(Family::ipv4) - overhead;
        if (overhead == 0 || lane.ip_length <= always) return limit;
        return std::min(limit, path_limit(target));
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
