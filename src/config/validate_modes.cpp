#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "src/config/finder.h"

namespace shunt::config {
namespace {

constexpr std::uint32_t least_mtu(Family family) { return family == Family::ipv4 ? 576 : 1280; }  // RFC 791, RFC 8200

// A key that only some modes take.
struct Setting {
    std::string_view table;  // below the service; empty: the service itself
    std::string_view key;
    bool (*given)(const Service&);
    bool (*taken)(const ForwardingModeTraits&);
    std::string_view example;  // of a key that who takes it needs; empty: it may be left out
};
using Traits = ForwardingModeTraits;

constexpr std::array settings{
    Setting{"", "direct_access", [](const Service& s) { return s.direct_access; },
            [](const Traits& t) { return t.translates; }, ""},
    Setting{"", "dscp", [](const Service& s) { return s.dscp.has_value(); },
            [](const Traits& t) { return t.needs_dscp; }, "dscp = 10"},
    Setting{"tunnel", "port", [](const Service& s) { return s.tunnel.port.has_value(); },
            [](const Traits& t) { return t.tunnel_port != 0; }, ""},
    Setting{"tunnel", "vni", [](const Service& s) { return s.tunnel.vni.has_value(); },
            [](const Traits& t) { return t.needs_inner_frame; }, "vni = 7 to tunnel = { }"},
    Setting{"tunnel", "inner_mac", [](const Service& s) { return s.tunnel.inner_mac.has_value(); },
            [](const Traits& t) { return t.needs_inner_frame; }, "inner_mac = \"02:00:00:00:00:01\" to tunnel = { }"},
    Setting{"tunnel", "key", [](const Service& s) { return s.tunnel.key.has_value(); },
            [](const Traits& t) { return t.takes_key; }, ""},
};

std::string modes_that_take(const Setting& setting) {
    std::string names;
    for (const Traits& traits : forwarding_modes) {
        if (setting.taken(traits)) names += (names.empty() ? "" : " or ") + quoted(std::string(traits.name));
    }
    return names;
}

// The static next hops, found by where they lead.
class StaticWays {
  public:
    explicit StaticWays(const std::vector<NextHop>& hops) {
        for (const NextHop& hop : hops) {
            add({hop.address, static_cast<std::uint8_t>(hop.address.is_v4() ? 32 : 128)}, hop);
            for (const Prefix& prefix : hop.prefix) add(prefix, hop);
        }
    }
    // By the longest prefix; null if none leads there.
    const NextHop* to(const IpAddress& address) const {
        for (const std::uint8_t length : lengths_[address.is_v4()]) {
            const auto found = ways_.find(Prefix::around(address, length));
            if (found != ways_.end()) return found->second;
        }
        return nullptr;
    }

  private:
    void add(const Prefix& prefix, const NextHop& hop) {
        ways_.emplace(prefix, &hop);
        lengths_[prefix.address.is_v4()].insert(prefix.length);
    }

    std::map<Prefix, const NextHop*> ways_{};
    std::array<std::set<std::uint8_t, std::greater<>>, 2> lengths_{};  // by whether it is IPv4
};

class ModeExaminer {
  public:
    explicit ModeExaminer(Finder& finder) : finder_(finder), state_(finder.state()), ways_(state_.next_hops) {
        for (const Port& port : state_.dataplane.ports) {
            if (std::holds_alternative<CapturePort>(port.kind)) captures_.emplace(port.name, &port);
        }
    }
    void examine(const Service& service) {
        takes_its_settings(service);
        if (service.dscp && traits_of(service.mode).needs_dscp) dscp_names_one_vip(service);
        if (traits_of(service.mode).encapsulates) has_sources(service);
        if (!traits_of(service.mode).translates) keeps_ports(service);
        ways_to_backends(service);
    }

  private:
    static std::string mode_of(const Service& service) {
        return "mode " + quoted(std::string(to_string(service.mode)));
    }

    // A VIP, and a family of backends that it can use.
    template <class F>
    static void for_each_pair(const Service& service, F f) {
        for (const Vip& vip : service.vips) {
            for (const Family backend : {Family::ipv4, Family::ipv6}) {
                if (can_serve(service.mode, vip.address.family(), backend)) f(vip, backend);
            }
        }
    }

    void takes_its_settings(const Service& service) {
        for (const Setting& setting : settings) {
            const bool taken = setting.taken(traits_of(service.mode)), given = setting.given(service);
            const Path table = setting.table.empty() ? finder_.at(service) : finder_.at(service).child(setting.table);
            const Path path = table.child(setting.key);
            const std::string name(setting.key);
            if (given && !taken) {
                finder_.refuse(path, mode_of(service) + " has no use for " + name,
                               "remove it, or use mode " + modes_that_take(setting));
            } else if (taken && !given && !setting.example.empty()) {
                finder_.refuse(path, mode_of(service) + " needs " + name, "add " + std::string(setting.example));
            }
        }
    }

    // The receiver knows the VIP by this number alone.
    void dscp_names_one_vip(const Service& service) {
        std::array<const Vip*, 2> named{};  // by whether it is IPv4
        for (std::size_t i = 0; i < service.vips.size(); ++i) {
            const Vip& vip = service.vips[i];
            const Vip*& first = named[vip.address.is_v4()];
            if (first == nullptr) first = &vip;
            if (first->address != vip.address) {
                return finder_.refuse(
                    finder_.at_vip(service, i),
                    "one dscp cannot stand for " + first->address.text() + " and " + vip.address.text(),
                    "make a service with a dscp of its own for each of them");
            }
        }
        for (const Backend& backend : service.backends) {
            const Vip* vip = named[backend.address.is_v4()];
            if (vip == nullptr) continue;
            const auto [known, is_new] = meanings_.emplace(std::pair(backend.address, *service.dscp), vip->address);
            if (is_new || known->second == vip->address) continue;
            return finder_.refuse(finder_.at(service).child("dscp"),
                                  "to the backend " + backend.address.text() + ", dscp " + number(*service.dscp) +
                                      " means " + known->second.text() + " already, of another service",
                                  "give each of the two VIPs a dscp of its own");
        }
    }

    void has_sources(const Service& service) {
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            const auto is_of_it = [family](const auto& address) { return address.family() == family; };
            const auto backend = std::ranges::find_if(service.backends, is_of_it, &Backend::address);
            if (backend == service.backends.end() || std::ranges::any_of(state_.node.source, is_of_it)) continue;
            finder_.refuse(finder_.at(service, *backend).child("address"),
                           mode_of(service) + " needs an " + std::string(name_of(family)) +
                               " address of this node as the outer source",
                           "add one to source of [node]");
        }
    }

    void keeps_ports(const Service& service) {
        std::array<std::set<PortRange>, 2> ports{};  // of the VIPs that use an IPv6, and an IPv4 backend
        for_each_pair(service,
                      [&](const Vip& vip, Family backend) { ports[backend == Family::ipv4].insert(vip.ports); });
        for (const Backend& backend : service.backends) {
            const auto is_other = [&backend](const PortRange& port) { return port != Be16(backend.port); };
            const auto& used = ports[backend.address.is_v4()];
            const auto other = std::ranges::find_if(used, is_other);
            if (backend.port == 0 || other == used.end()) continue;
            finder_.refuse(
                finder_.at(service, backend).child("port"),
                mode_of(service) + " keeps the VIP's port " + other->text() + ", but here is " + number(backend.port),
                "remove it: the backend listens where the VIP does");
        }
    }

    void ways_to_backends(const Service& service) {
        std::array<std::uint32_t, 2> largest{};  // that no VIP may do without, to IPv6 and to IPv4 backends
        for_each_pair(service, [&](const Vip& vip, Family backend) {
            const std::uint32_t overhead = overhead_of(service.mode, backend, service.tunnel.key.has_value());
            std::uint32_t& mtu = largest[backend == Family::ipv4];
            mtu = std::max(mtu, least_mtu(vip.address.family()) + overhead);
        });
        for (const Backend& backend : service.backends) {
            if (const NextHop* hop = ways_.to(backend.address)) {
                leaves_room(service, *hop, largest[backend.address.is_v4()]);
            } else if (!captures_.empty()) {
                finder_.refuse(finder_.at(service, backend).child("address"),
                               "no next hop leads to " + backend.address.text() +
                                   ", and with capture files the kernel's routes do not count",
                               "add [[next_hop]] with this address, or with a prefix that holds it");
            }
        }
    }
    void leaves_room(const Service& service, const NextHop& hop, std::uint32_t needed) {
        const auto capture = captures_.find(hop.port);
        const bool by_port = capture != captures_.end() && capture->second->mtu < hop.mtu;
        const std::uint16_t mtu = by_port ? capture->second->mtu : hop.mtu;
        if (mtu >= needed || !too_small_.insert(&hop).second) return;
        finder_.refuse((by_port ? finder_.at(*capture->second) : finder_.at(hop)).child("mtu"),
                       mode_of(service) + " of service " + quoted(service.name) + " needs an MTU of " + number(needed) +
                           " on the way to its backends, not " + number(mtu),
                       "raise it to " + number(needed) + " or more");
    }

    Finder& finder_;
    const DesiredState& state_;
    StaticWays ways_;
    std::map<std::string_view, const Port*> captures_{};
    std::map<std::pair<IpAddress, std::uint8_t>, IpAddress> meanings_{};  // backend and dscp: VIP
    std::set<const NextHop*> too_small_{};
};

}  // namespace

void examine_modes(Finder& finder) {
    ModeExaminer examiner(finder);
    for (const Service& service : finder.state().services) examiner.examine(service);
}

}  // namespace shunt::config
