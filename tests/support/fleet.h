// Random desired states, verdicts and networks, and small edits to them, from one seed. For tests.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "controlplane/compile/compiler.h"
#include "src/base/random.h"
#include "src/config/desired_state.h"

namespace shunt::test {

class Fleet {
  public:
    explicit Fleet(std::uint64_t random_seed, std::size_t services = 12) : random_(random_seed) {
        for (const char* name : {"lan0", "lan1"}) {
            state.dataplane.ports.push_back({.name = name, .kind = config::AfXdpPort{name}});
        }
        state.next_hops.push_back({.address = IpAddress::v4(198, 18, 200, 1),
                                   .prefix = {*Prefix::parse("203.0.113.0/24")},
                                   .mac = *MacAddress::parse("02:00:00:00:00:01"),
                                   .port = "lan1",
                                   .mtu = 9000,
                                   .vlan = std::vector<std::uint16_t>{100, 5}});
        state.node.source = {IpAddress::v4(198, 18, 1, 1)};
        while (state.services.size() < services) add_service();
        change_network();
    }

    config::DesiredState state{};
    std::vector<std::vector<shm::Verdict>> verdicts{};
    std::shared_ptr<const controlplane::NetworkView> network{};
    HashSeed seed{{1, 2, 3, 4}};
    Instant now{Duration::seconds(1000).nanoseconds};

    controlplane::Inputs inputs() const { return {state, verdicts, network, seed, now}; }

    // One small change.
    void edit() {
        now = now + Duration::milliseconds(static_cast<std::int64_t>(1 + random_.below(100'000)));
        switch (random_.below(14)) {
            case 0:
                return add_service();
            case 1:
                return remove_service();
            case 2:
                return change_network();
            case 3:
                return add_vip(any_service());
            case 4:
                return remove_vip(any_service());
            case 5:
            case 6:
                return add_backend(pick());
            case 7:
                return remove_backend(pick());
            case 8:
            case 9:
                return change_verdict(pick());
            case 10:
                return change_mode(any_service());
            case 11:
                return change_sources();
            default:
                return change_backend(any_service());
        }
    }
    std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }

  private:
    std::size_t pick() { return random_.below(state.services.size()); }
    config::Service& any_service() { return state.services[pick()]; }
    bool chance(std::uint64_t one_in) { return random_.below(one_in) == 0; }
    std::uint8_t byte() { return static_cast<std::uint8_t>(random_.below(256)); }
    IpAddress address(bool v4, std::uint8_t group, std::uint8_t range) {
        if (v4) return IpAddress::v4(198, 18, group, static_cast<std::uint8_t>(1 + random_.below(range)));
        IpAddress::Bytes bytes{0x20, 0x01, 0x0d, 0xb8, group};
        bytes[15] = static_cast<std::uint8_t>(1 + random_.below(range));
        return IpAddress::v6(bytes);
    }

    void add_service() {
        config::Service service;
        service.name = "s" + std::to_string(++named_);
        service.table_size = std::array{17U, 101U, 1021U}[random_.below(3)];
        service.flows = !chance(4);
        service.direct_access = chance(4);
        if (chance(3)) service.timeouts.udp = Duration::seconds(static_cast<std::int64_t>(1 + random_.below(100)));
        if (!chance(3)) service.check = config::Check{};
        choose_mode(service);
        state.services.push_back(service);
        verdicts.emplace_back();
        const auto backends = random_.below(9);
        for (std::size_t i = 0; i < 1 + random_.below(3); ++i) add_vip(state.services.back());
        for (std::size_t i = 0; i < backends; ++i) add_backend(state.services.size() - 1);
    }
    void choose_mode(config::Service& service) {
        service.mode =
            chance(2) ? default_forwarding_mode : forwarding_modes[random_.below(forwarding_modes.size())].mode;
        const ForwardingModeTraits& mode = traits_of(service.mode);
        service.dscp.reset();
        service.tunnel = {};
        if (mode.needs_dscp) service.dscp = static_cast<std::uint8_t>(1 + random_.below(63));
        if (mode.tunnel_port != 0 && chance(2)) service.tunnel.port = static_cast<std::uint16_t>(1 + byte());
        if (mode.takes_key && chance(2)) service.tunnel.key = static_cast<std::uint32_t>(random_.below(2));
        if (mode.needs_inner_frame) {
            service.tunnel.vni = static_cast<std::uint32_t>(random_.below(1 << 24));
            service.tunnel.inner_mac = MacAddress{{2, 0, 0, 0, 0, byte()}};
        }
        service.mss.kind = static_cast<config::Mss::Kind>(random_.below(3));
        service.mss.value = service.mss.kind == config::Mss::Kind::fixed ? 1200 : 0;
    }
    void change_mode(config::Service& service) {
        const config::Service before = service;
        choose_mode(service);
        if (!is_sound(service)) service = before;
    }
    void change_sources() {
        state.node.source.clear();
        for (std::uint64_t left = random_.below(4); left > 0; --left) {
            state.node.source.push_back(address(chance(2), 1, 250));
        }
    }
    void remove_service() {
        if (state.services.size() < 2) return;
        const auto s = static_cast<std::ptrdiff_t>(pick());
        for (const Vip& vip : state.services[static_cast<std::size_t>(s)].vips) vips_.erase(vip);
        state.services.erase(state.services.begin() + s);
        verdicts.erase(verdicts.begin() + s);
    }
    void add_vip(config::Service& service) {
        const Vip vip{address(chance(2), 0, 40), ports(), chance(3) ? Protocol::udp : Protocol::tcp};
        const auto clashes = [&](const Vip& other) {
            const bool both_ranges =
                vip.ports.is_one() == other.ports.is_one() && !vip.ports.is_all() && !other.ports.is_all();
            return vip.address == other.address && vip.protocol == other.protocol && both_ranges &&
                   vip.ports.overlaps(other.ports);
        };
        if (std::any_of(vips_.begin(), vips_.end(), clashes) || !vips_.insert(vip).second) return;
        service.vips.push_back(vip);
        if (!is_sound(service)) remove_last_vip(service);
    }
    PortRange ports() {
        static const std::array ranges{PortRange(Be16(8000), Be16(8099)), PortRange(Be16(8100), Be16(8101)),
                                       PortRange(Be16(8050), Be16(9000)), PortRange(Be16(1), Be16(442)),
                                       PortRange::all()};
        if (chance(3)) return ranges[random_.below(ranges.size())];
        return Be16(std::array<std::uint16_t, 3>{80, 443, 8050}[random_.below(3)]);
    }
    void remove_last_vip(config::Service& service) {
        vips_.erase(service.vips.back());
        service.vips.pop_back();
    }
    void remove_vip(config::Service& service) {
        if (service.vips.empty()) return;
        std::swap(service.vips[random_.below(service.vips.size())], service.vips.back());
        remove_last_vip(service);
    }
    void add_backend(std::size_t s) {
        config::Service& service = state.services[s];
        if (service.backends.size() >= 16) return;  // the smallest table has 17 slots
        const auto groups = static_cast<std::uint8_t>(1 + random_.below(3));
        config::Backend backend{.address = address(chance(2), groups, 60),
                                .port = static_cast<std::uint16_t>(chance(2) ? 0 : 80 + random_.below(3)),
                                .weight = chance(5) ? 0 : static_cast<std::uint32_t>(random_.below(1001))};
        service.backends.push_back(backend);
        if (!is_sound(service)) return service.backends.pop_back();
        verdicts[s].resize(service.backends.size());
        if (chance(2)) verdicts[s].back() = any_verdict();
    }
    void remove_backend(std::size_t s) {
        auto& backends = state.services[s].backends;
        if (backends.empty()) return;
        const std::size_t b = random_.below(backends.size());
        verdicts[s].resize(backends.size());
        backends.erase(backends.begin() + static_cast<std::ptrdiff_t>(b));
        verdicts[s].erase(verdicts[s].begin() + static_cast<std::ptrdiff_t>(b));
    }
    void change_verdict(std::size_t s) {
        if (verdicts[s].empty()) return;
        verdicts[s][random_.below(verdicts[s].size())] = any_verdict();
    }
    shm::Verdict any_verdict() { return static_cast<shm::Verdict>(random_.below(3)); }
    void change_backend(config::Service& service) {
        if (service.backends.empty()) return;
        config::Backend& backend = service.backends[random_.below(service.backends.size())];
        backend.weight = static_cast<std::uint32_t>(random_.below(1001));
        backend.state = static_cast<config::BackendState>(random_.below(3));
    }
    void change_network() {
        auto view = std::make_shared<controlplane::NetworkView>();
        view->port_mtu = {1500, static_cast<std::uint16_t>(1400 + random_.below(3))};
        view->local_addresses = {IpAddress::v4(198, 18, 1, 1), IpAddress::v4(198, 18, 0, byte())};
        for (const char* prefix : {"198.18.1.0/24", "2001:db8:200::/40", "0.0.0.0/0", "::/0", "198.18.2.0/23",
                                   "198.18.2.16/28", "198.18.2.17/32", "2001:db8:100::/44", "2001:db8:300::1/128"}) {
            if (chance(4)) continue;
            controlplane::RouteView route{.prefix = *Prefix::parse(prefix)};
            if (!chance(5)) route.port = PortIndex(static_cast<std::uint8_t>(random_.below(2)));
            if (route.port && chance(2)) route.gateway = address(route.prefix.address.is_v4(), 9, 4);
            view->routes.push_back(route);
        }
        network = std::move(view);
    }
    // No two backends are the same on the wire, and no key appears twice.
    static bool is_sound(const config::Service& service) {
        std::set<std::string> keys;
        for (const config::Backend& backend : service.backends) {
            if (!keys.insert(backend.key()).second) return false;
        }
        std::set<std::pair<Endpoint, std::size_t>> wire;  // a backend behind VIPs of both families is one
        for (const Vip& vip : service.vips) {
            for (std::size_t b = 0; b < service.backends.size(); ++b) {
                const config::Backend& backend = service.backends[b];
                if (!can_serve(service.mode, vip.address.family(), backend.address.family())) continue;
                wire.insert(
                    {{backend.address, backend.port ? Be16(backend.port) : port_to_follow(vip.ports), vip.protocol},
                     b});
            }
        }
        return std::adjacent_find(wire.begin(), wire.end(),
                                  [](const auto& a, const auto& b) { return a.first == b.first; }) == wire.end();
    }

    Random random_;
    std::uint64_t named_{};
    std::set<Vip> vips_{};
};

}  // namespace shunt::test
