// What published tables must say of a fleet, worked out the slow and simple way. For tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "src/balance/maglev.h"
#include "src/shm/tables.h"
#include "tests/support/fleet.h"

namespace shunt::test {

inline Endpoint on_the_wire(const config::Backend& backend, const Vip& vip) {
    const Be16 followed = vip.ports.first == vip.ports.last ? vip.ports.first : Be16(0);
    return {backend.address, backend.port ? Be16(backend.port) : followed, vip.protocol};
}

class Oracle {
  public:
    // To be called after every change of the fleet, with the tables that came of it.
    void check(const Fleet& fleet, const shm::Tables& tables) {
        judge_backends(fleet);
        endpoints_.clear();
        tunnel_ends_.clear();
        handles_now_.clear();
        listeners_now_.clear();
        for (std::size_t s = 0; s < fleet.state.services.size(); ++s) check_service(fleet, tables, s);
        check_search(tables);
        check_sources(tables);
        check_nothing_else(fleet, tables);
        check_routes(fleet, tables);
        EXPECT_EQ(tables.site_seed(), fleet.seed);
        check_tunnels(fleet, tables);
        check_ids();
    }

    // What an operator would see of a backend.
    shm::BackendStatus status(const std::string& service, const std::string& key) const {
        return judged_.at({service, key}).status;
    }

  private:
    using Name = std::pair<std::string, std::string>;  // service, key
    using Owner = std::pair<std::string, Endpoint>;    // service, endpoint on the wire
    using Owned = std::pair<std::string, Vip>;         // service, VIP
    struct Judged {
        bool awaited{};
        shm::BackendStatus status{};
        shm::Verdict verdict{};
    };

    static bool encapsulates(const config::Service& service) {
        return service.mode == ForwardingMode::ipip || service.mode == ForwardingMode::gre ||
               service.mode == ForwardingMode::gue || service.mode == ForwardingMode::vxlan;
    }
    static bool reaches(const config::Service& service, const config::Backend& backend, const Vip& vip) {
        return encapsulates(service) || backend.address.family() == vip.address.family();
    }

    void judge_backends(const Fleet& fleet) {
        std::map<Name, Judged> now;
        for (std::size_t s = 0; s < fleet.state.services.size(); ++s) {
            const config::Service& service = fleet.state.services[s];
            const auto verdict = [&](std::size_t b) {
                const auto& row = fleet.verdicts[s];
                return service.check && b < row.size() ? row[b] : shm::Verdict::unchecked;
            };
            bool checked = false;
            for (std::size_t b = 0; b < service.backends.size(); ++b) checked |= verdict(b) != shm::Verdict::unchecked;
            for (std::size_t b = 0; b < service.backends.size(); ++b) {
                const config::Backend& backend = service.backends[b];
                const bool used = std::any_of(service.vips.begin(), service.vips.end(),
                                              [&](const Vip& vip) { return reaches(service, backend, vip); });
                if (!used) continue;
                const auto before = judged_.find({service.name, backend.key()});
                Judged& judged = now[{service.name, backend.key()}];
                judged.verdict = verdict(b);
                judged.awaited = service.check && judged.verdict == shm::Verdict::unchecked &&
                                 (before == judged_.end() ? checked : before->second.awaited);
                judged.status = judge(backend, judged);
            }
        }
        judged_ = std::move(now);
    }
    static shm::BackendStatus judge(const config::Backend& backend, const Judged& judged) {
        if (backend.state == config::BackendState::maint) return shm::BackendStatus::maint;
        if (judged.awaited || judged.verdict == shm::Verdict::down) return shm::BackendStatus::down;
        if (backend.state == config::BackendState::drain || backend.weight == 0) return shm::BackendStatus::drain;
        return shm::BackendStatus::ready;
    }

    void check_service(const Fleet& fleet, const shm::Tables& tables, std::size_t s) {
        const config::Service& service = fleet.state.services[s];
        for (const Vip& vip : service.vips) {
            const ListenerIndex index = find_listener(tables, service.name, vip);
            ASSERT_TRUE(index) << service.name << " " << vip.text();
            listeners_now_[{service.name, vip}] = index;
            const shm::ListenerRecord& listener = tables.listeners[index.value];
            EXPECT_EQ(listener.in_use, 1);
            EXPECT_EQ(listener.has_many_ports(), vip.ports.first != vip.ports.last);
            EXPECT_EQ(shm::name_of(tables.services[listener.service.value]), service.name);
            EXPECT_EQ(listener.mode, service.mode);
            EXPECT_EQ((listener.flags & shm::ListenerRecord::flows_on) != 0, service.flows);
            EXPECT_EQ((listener.flags & shm::ListenerRecord::direct_access) != 0, service.direct_access);
            const auto udp = service.timeouts.udp.value_or(*fleet.state.dataplane.timeouts.udp);
            EXPECT_EQ(listener.timeouts[shm::FlowState::datagram], to_ticks(udp));
            EXPECT_EQ(listener.timeouts[shm::FlowState::established],
                      to_ticks(*fleet.state.dataplane.timeouts.tcp_established));
            check_settings(service, listener.mode_settings);
            check_table(fleet, tables, service, vip, listener);
            for (const config::Backend& backend : service.backends) {
                if (!reaches(service, backend, vip)) continue;
                const Endpoint wire = on_the_wire(backend, vip);
                if (service.mode == ForwardingMode::nat) endpoints_[wire].insert(index);
                if (encapsulates(service)) tunnel_ends_[wire.address].insert({service.name, wire});
            }
        }
    }

    static ListenerIndex find_listener(const shm::Tables& tables, const std::string& service, const Vip& vip) {
        for (std::uint32_t i = 1; i < tables.listeners.count(); ++i) {
            const shm::ListenerRecord& l = tables.listeners[i];
            const bool same = l.in_use && Vip{l.address, {l.port, l.last_port}, l.protocol} == vip &&
                              shm::name_of(tables.services[l.service.value]) == service;
            if (same) return ListenerIndex(static_cast<std::uint16_t>(i));
        }
        return {};
    }

    // Whatever the port: the listener with the fewest ports that has it.
    void check_search(const shm::Tables& tables) const {
        constexpr std::array<std::uint16_t, 14> probes{0,    1,    80,   442,  443,  444,  8000,
                                                       8050, 8099, 8100, 8101, 8102, 9000, 65535};
        std::set<std::pair<IpAddress, Protocol>> places;
        for (const auto& [owned, index] : listeners_now_) places.emplace(owned.second.address, owned.second.protocol);
        for (const auto& [address, protocol] : places) {
            for (const std::uint16_t port : probes) {
                ListenerIndex expected;
                int fewest = 65536;
                for (const auto& [owned, index] : listeners_now_) {
                    const Vip& vip = owned.second;
                    const int more = vip.ports.last.host() - vip.ports.first.host();
                    const bool has = vip.address == address && vip.protocol == protocol &&
                                     vip.ports.first.host() <= port && port <= vip.ports.last.host();
                    if (!has || more >= fewest) continue;
                    fewest = more;
                    expected = index;
                }
                EXPECT_EQ(tables.listener_of(address, Be16(port), protocol), expected) << address.text() << " " << port;
            }
        }
    }

    static void check_settings(const config::Service& service, const shm::ModeSettings& settings) {
        const config::Tunnel& tunnel = service.tunnel;
        EXPECT_EQ(settings.dscp, service.dscp.value_or(0));
        EXPECT_EQ(settings.inner_mac, tunnel.inner_mac.value_or(MacAddress{}));
        EXPECT_EQ(settings.key.host(), tunnel.key.value_or(tunnel.vni.value_or(0)));
        EXPECT_EQ(settings.flags, tunnel.key ? shm::ModeSettings::has_key : 0);
        const std::uint16_t usual = service.mode == ForwardingMode::gue     ? 6080
                                    : service.mode == ForwardingMode::vxlan ? 4789
                                                                            : 0;
        EXPECT_EQ(settings.tunnel_port.host(), tunnel.port.value_or(usual));
        const std::array<std::uint16_t, 3> mss{0xffff, 0, 1200};
        EXPECT_EQ(settings.mss, mss[static_cast<std::size_t>(service.mss.kind)]);
    }

    void check_table(const Fleet& fleet, const shm::Tables& tables, const config::Service& service, const Vip& vip,
                     const shm::ListenerRecord& listener) {
        std::map<std::string, const config::Backend*> in;
        for (const config::Backend& backend : service.backends) {
            if (!reaches(service, backend, vip)) continue;
            if (status(service.name, backend.key()) == shm::BackendStatus::ready) in[backend.key()] = &backend;
            check_backend(fleet, tables, service, vip, backend);
        }
        std::vector<WeightedKey> keys;
        std::vector<const config::Backend*> order;
        for (const auto& [key, backend] : in) {
            keys.push_back({key, backend->weight});
            order.push_back(backend);
        }
        const auto slots = tables.slots(listener);
        const std::uint64_t hash = tables.services[listener.service.value].table_hash[vip.address.is_v4() ? 0 : 1];
        if (in.empty()) {
            EXPECT_TRUE(slots.empty());
            EXPECT_EQ(hash, 0U);
            EXPECT_FALSE(tables.choose(listener, 12345));
            return;
        }
        const auto expected = maglev_table(keys, *service.table_size);
        ASSERT_TRUE(std::equal(slots.begin(), slots.end(), expected.begin(), expected.end()));
        EXPECT_EQ(hash, table_hash(keys, expected));
        for (std::uint64_t h = 1; h < 20; ++h) {
            const std::uint64_t packet = h * 0x9e3779b97f4a7c15ULL;
            const config::Backend& backend = *order[expected[scale_hash(packet, expected.size())]];
            const shm::BackendRecord& found = tables.backend(tables.choose(listener, packet));
            EXPECT_EQ((Endpoint{found.address, found.port, found.protocol}), on_the_wire(backend, vip));
        }
    }

    void check_backend(const Fleet& fleet, const shm::Tables& tables, const config::Service& service, const Vip& vip,
                       const config::Backend& backend) {
        const Endpoint wire = on_the_wire(backend, vip);
        const shm::Handle handle = find_handle(tables, service.name, wire);
        ASSERT_TRUE(handle) << service.name << " " << wire.text();
        handles_now_[{service.name, wire}] = handle;
        const shm::BackendRecord& record = tables.backend(handle);
        const Judged& judged = judged_.at({service.name, backend.key()});
        EXPECT_EQ(record.status, judged.status);
        EXPECT_EQ(static_cast<shm::Verdict>(record.verdict), judged.verdict);
        EXPECT_EQ(record.awaited != 0, judged.awaited);
        EXPECT_EQ(record.weight, backend.weight);
        EXPECT_EQ(record.configured_port, backend.port);
        const auto source = tables.source_map.find(wire.address, wire.port, wire.protocol);
        EXPECT_EQ(record.source.value, service.mode == ForwardingMode::nat ? source : 0);
        check_way(fleet, tables, tables.next_hop(record.next_hop), bool(record.next_hop), wire.address, true);
    }
    static shm::Handle find_handle(const shm::Tables& tables, const std::string& service, const Endpoint& wire) {
        for (std::uint32_t i = 1; i < tables.backends.count(); ++i) {
            const shm::BackendRecord& b = tables.backends[i];
            const bool same = b.status != shm::BackendStatus::absent &&
                              Endpoint{b.address, b.port, b.protocol} == wire &&
                              shm::name_of(tables.services[b.service.value]) == service;
            if (same) return shm::Handle::of(i, b.incarnation);
        }
        return {};
    }

    void check_sources(const shm::Tables& tables) {
        std::map<IpAddress, std::uint32_t> per_address;
        for (const auto& [endpoint, listeners] : endpoints_) {
            ++per_address[endpoint.address];
            const auto number = tables.source_map.find(endpoint.address, endpoint.port, endpoint.protocol);
            ASSERT_NE(number, 0U) << endpoint.text();
            const shm::SourceRecord& source = tables.sources[number];
            EXPECT_EQ((Endpoint{source.address, source.port, source.protocol}), endpoint);
            const std::vector<ListenerIndex> expected(listeners.begin(), listeners.end());
            ASSERT_EQ(source.count, std::min<std::size_t>(expected.size(), shm::listeners_per_source));
            EXPECT_TRUE(
                std::equal(source.listeners.begin(), source.listeners.begin() + source.count, expected.begin()));
        }
        for (const auto& [address, count] : per_address) {
            EXPECT_EQ(tables.source_map.find(address, shm::any_port, shm::any_protocol), count);
        }
    }

    void check_tunnels(const Fleet& fleet, const shm::Tables& tables) const {
        std::size_t ends = 0;
        tables.tunnel_map.for_each([&](const shm::EndpointSlot& slot) {
            ++ends;
            EXPECT_EQ(slot.port, shm::any_port);
            EXPECT_EQ(slot.protocol, shm::any_protocol);
            const auto found = tunnel_ends_.find(slot.address);
            ASSERT_NE(found, tunnel_ends_.end()) << slot.address.text();
            EXPECT_EQ(slot.value, found->second.size());
            EXPECT_TRUE(tables.is_tunnel_end(slot.address));
        });
        EXPECT_EQ(ends, tunnel_ends_.size());
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            const auto& sources = fleet.state.node.source;
            const auto first = std::find_if(sources.begin(), sources.end(),
                                            [&](const IpAddress& source) { return source.family() == family; });
            EXPECT_EQ(tables.tunnel_source(family), first == sources.end() ? IpAddress{} : *first);
        }
    }

    void check_nothing_else(const Fleet& fleet, const shm::Tables& tables) const {
        std::size_t listeners = 0, backends = 0, sources = 0, services = 0;
        for (std::uint32_t i = 0; i < tables.listeners.count(); ++i) listeners += tables.listeners[i].in_use;
        for (std::uint32_t i = 0; i < tables.backends.count(); ++i) {
            backends += tables.backends[i].status != shm::BackendStatus::absent;
        }
        for (std::uint32_t i = 0; i < tables.sources.count(); ++i) sources += tables.sources[i].count != 0;
        for (std::uint32_t i = 0; i < tables.services.count(); ++i) services += tables.services[i].name[0] != 0;
        EXPECT_EQ(listeners, listeners_now_.size());
        EXPECT_EQ(backends, handles_now_.size());
        EXPECT_EQ(sources, endpoints_.size());
        EXPECT_EQ(services, fleet.state.services.size());
        std::map<IpAddress, std::uint32_t> per_vip;
        for (const auto& [owner, index] : listeners_now_) ++per_vip[owner.second.address];
        for (std::uint8_t last = 1; last != 0; ++last) {
            const IpAddress vip = IpAddress::v4(198, 18, 0, last);
            const auto found = per_vip.find(vip);
            EXPECT_EQ(tables.listener_map.find(vip, shm::any_port, shm::any_protocol),
                      found == per_vip.end() ? 0 : found->second);
        }
    }

    // The longest prefix that contains the address; a static route wins over the kernel's, this host over both.
    static void check_way(const Fleet& fleet, const shm::Tables& tables, const shm::NextHopRecord& found, bool any,
                          const IpAddress& to, bool own_record) {
        struct Way {
            int length{-1};
            int rank{};
            std::optional<PortIndex> port{};
            IpAddress gateway{};
            const config::NextHop* fixed{};
        } best;
        const auto consider = [&](const Prefix& prefix, Way way) {
            way.length = prefix.length;
            if (prefix.contains(to) && std::pair(way.length, way.rank) >= std::pair(best.length, best.rank)) best = way;
        };
        const std::uint8_t whole = to.is_v4() ? 32 : 128;
        for (const auto& r : fleet.network->routes) {
            consider(r.prefix, {0, 0, r.port, r.gateway.value_or(IpAddress{}), nullptr});
        }
        for (const config::NextHop& hop : fleet.state.next_hops) {
            const PortIndex port(hop.port == "lan0" ? 0 : 1);
            consider({hop.address, static_cast<std::uint8_t>(hop.address.is_v4() ? 32 : 128)},
                     {0, 1, port, hop.address, &hop});
            for (const Prefix& prefix : hop.prefix) consider(prefix, {0, 1, port, hop.address, &hop});
        }
        for (const IpAddress& local : fleet.network->local_addresses) {
            if (local.family() == to.family()) consider({local, whole}, {0, 2, std::nullopt, {}, nullptr});
            EXPECT_TRUE(tables.is_local(local));
        }
        ASSERT_EQ(any, best.port.has_value()) << to.text();
        if (!any) return;
        const bool on_link = best.gateway.is_unspecified();
        EXPECT_EQ(found.port, *best.port) << to.text();
        EXPECT_EQ(found.address, on_link && own_record ? to : best.gateway) << to.text();
        EXPECT_NE(found.version, 0);
        const std::uint8_t flags = best.fixed ? shm::NextHopRecord::has_static | shm::NextHopRecord::sets_tags
                                   : on_link && !own_record ? shm::NextHopRecord::on_link
                                                            : 0;
        EXPECT_EQ(found.flags, flags) << to.text();
        EXPECT_EQ(found.mtu, fleet.network->port_mtu[best.port->value]) << "the static one is larger";
        EXPECT_EQ(found.tags, (best.fixed ? std::array<std::uint16_t, 2>{100, 5} : std::array<std::uint16_t, 2>{}));
        EXPECT_EQ(found.mac, best.fixed ? best.fixed->mac : MacAddress{});
    }
    void check_routes(const Fleet& fleet, const shm::Tables& tables) const {
        for (const char* text :
             {"198.18.1.7", "198.18.2.16", "198.18.2.17", "198.18.2.31", "198.18.2.32", "198.18.3.255", "203.0.113.77",
              "198.18.200.1", "192.0.2.1", "198.18.1.1", "2001:db8:100::1", "2001:db8:2ff::1", "2001:db8:300::1",
              "2001:db8:300::2", "2001:db8:ffff::"}) {
            const IpAddress to = *IpAddress::parse(text);
            const NextHopIndex found = tables.route(to);
            check_way(fleet, tables, tables.next_hop(found), bool(found), to, false);
        }
    }

    // Who stays keeps its id; an id that was given back does not come again within these tests' time.
    void check_ids() {
        for (const auto& [owner, handle] : handles_now_) {
            const auto before = handles_.find(owner);
            if (before != handles_.end()) {
                EXPECT_EQ(handle, before->second);
            } else {
                EXPECT_TRUE(every_handle_.insert(handle.value).second) << "a handle came twice";
            }
        }
        for (const auto& [owner, index] : listeners_now_) {
            const auto before = listeners_.find(owner);
            if (before != listeners_.end()) {
                EXPECT_EQ(index, before->second);
            } else {
                EXPECT_TRUE(every_listener_.insert(index).second) << "a listener index came twice";
            }
        }
        handles_ = handles_now_;
        listeners_ = listeners_now_;
    }

    std::map<Name, Judged> judged_{};
    std::map<Endpoint, std::set<ListenerIndex>> endpoints_{};  // of backends whose replies come back
    std::map<IpAddress, std::set<std::pair<std::string, Endpoint>>> tunnel_ends_{};  // and the handles there
    std::map<Owner, shm::Handle> handles_{}, handles_now_{};
    std::map<Owned, ListenerIndex> listeners_{}, listeners_now_{};
    std::set<std::uint32_t> every_handle_{};
    std::set<ListenerIndex> every_listener_{};
};

}  // namespace shunt::test
