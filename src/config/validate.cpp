#include "src/config/validate.h"

#include <algorithm>
#include <array>
#include <map>
#include <unordered_map>

#include "src/balance/maglev.h"
#include "src/config/finder.h"
#include "src/shm/limits.h"

namespace shunt::config {
namespace {

// Index 0 means "none" in shared memory.
constexpr std::size_t most_services = shm::max_services - 1;
constexpr std::size_t most_listeners = shm::max_listeners - 1;
constexpr std::size_t most_handles = shm::max_handles - 1;
constexpr std::size_t most_next_hops = shm::max_next_hops - 1;
constexpr std::size_t most_backends = maglev_none - 1;  // of one service

// Why nothing may be sent to or from an address; empty if it is an ordinary one.
std::string_view oddity(const IpAddress& address) {
    static const std::array<std::pair<Prefix, std::string_view>, 9> odd{{
        {*Prefix::parse("0.0.0.0/8"), "means \"this network\""},
        {*Prefix::parse("127.0.0.0/8"), "is a loopback address"},
        {*Prefix::parse("169.254.0.0/16"), "is link-local"},
        {*Prefix::parse("224.0.0.0/4"), "is a multicast address"},
        {*Prefix::parse("240.0.0.0/4"), "is reserved"},
        {*Prefix::parse("::/128"), "means \"no address\""},
        {*Prefix::parse("::1/128"), "is a loopback address"},
        {*Prefix::parse("fe80::/10"), "is link-local"},
        {*Prefix::parse("ff00::/8"), "is a multicast address"},
    }};
    for (const auto& [prefix, why] : odd) {
        if (prefix.contains(address)) return why;
    }
    return {};
}
bool is_loopback(const IpAddress& address) { return oddity(address) == "is a loopback address"; }
bool is_link_local(const IpAddress& address) { return oddity(address) == "is link-local"; }

// VIPs of a service that lead to the same port and protocol of a backend.
struct Group {
    std::uint32_t service{};
    std::vector<std::uint32_t> vips{};
    bool follows_many{};  // the backend has no port, and the VIPs have many: every packet keeps its own
};
// By port and protocol; 0: the backend's own port, or where it has none every packet's own.
using Groups = std::map<std::pair<std::uint16_t, Protocol>, Group>;
// By family of the backend (is it IPv4?), and whether it has a port of its own.
using GroupsOfService = std::array<std::array<Groups, 2>, 2>;

// An endpoint of a backend, and who uses it. Port 0: every port its packets come to.
struct Use {
    Endpoint endpoint{};
    const Group* group{};
    std::uint32_t backend{};
};

std::string text_of(const Endpoint& wire) {
    const PortRange ports = wire.port == Be16{} ? PortRange::all() : PortRange(wire.port);
    return Vip{wire.address, ports, wire.protocol}.text();
}

class Examiner : public Finder {
  public:
    using Finder::Finder;

    Findings examine() {
        node();
        dataplane();
        next_hops();
        services();
        announce();
        examine_ha(*this);
        examine_sync(*this);
        return take();
    }

  private:
    // ---- node and data plane
    void node() {
        for (std::size_t i = 0; i < state_.node.source.size(); ++i) {
            ordinary(state_.node.source[i], top("node").child("source").element(i));
        }
    }
    void ordinary(const IpAddress& address, const Path& path) {
        const std::string_view why = oddity(address);
        if (!why.empty()) refuse(path, address.text() + " " + std::string(why), "use the address of a machine");
    }
    void dataplane() {
        const Dataplane& dataplane = state_.dataplane;
        const Path path = top("dataplane");
        if (!dataplane.cores.empty() && dataplane.cores.size() != dataplane.workers) {
            refuse(path.child("cores"),
                   number(dataplane.cores.size()) + " cores for " + number(dataplane.workers) + " workers",
                   "name one core for each worker");
        }
        if (dataplane.ports.size() > shm::max_ports) {
            refuse(path.child("port"), "there are " + number(dataplane.ports.size()) + " ports",
                   "use at most " + number(shm::max_ports));
        }
        std::unordered_map<std::string, const Port*> names;
        std::unordered_map<std::string, const Port*> devices;
        for (const Port& port : dataplane.ports) {
            const Path here = at(port);
            if (!names.emplace(port.name, &port).second) {
                refuse(here.child("name"), "two ports are named " + quoted(port.name), "rename one");
            }
            if (const auto* af_xdp = std::get_if<AfXdpPort>(&port.kind)) {
                const auto [other, is_new] = devices.emplace(af_xdp->device, &port);
                if (!is_new) {
                    refuse(here.child("af_xdp"),
                           "port " + quoted(other->second->name) + " has " + af_xdp->device + " already",
                           "name another interface, or remove one of the two");
                }
            }
            if (port.queues != dataplane.workers) {
                refuse(here.child("queues"),
                       "port " + quoted(port.name) + " has " + number(port.queues) + " queues for " +
                           number(dataplane.workers) + " workers",
                       "worker i serves queue i of every port: make the two numbers equal");
            }
        }
    }

    // ---- next hops
    void next_hops() {
        const Path path = top("next_hop");
        if (state_.next_hops.size() > most_next_hops) {
            return refuse(path, "there are " + number(state_.next_hops.size()) + " next hops",
                          "use at most " + number(most_next_hops));
        }
        std::map<IpAddress, std::size_t> addresses;
        std::map<Prefix, std::size_t> prefixes;
        for (std::size_t i = 0; i < state_.next_hops.size(); ++i) {
            const NextHop& hop = state_.next_hops[i];
            const Path here = at(hop);
            if (!is_link_local(hop.address)) ordinary(hop.address, here.child("address"));
            if (!addresses.emplace(hop.address, i).second) {
                refuse(here.child("address"), "the next hop " + hop.address.text() + " is there twice", "remove one");
            }
            for (std::size_t j = 0; j < hop.prefix.size(); ++j) {
                if (prefixes.emplace(hop.prefix[j], i).second) continue;
                refuse(here.child("prefix").element(j), "two next hops lead to " + hop.prefix[j].text(),
                       "remove it from one");
            }
            const auto is_its_port = [&hop](const Port& port) { return port.name == hop.port; };
            if (std::ranges::none_of(state_.dataplane.ports, is_its_port)) {
                refuse(here.child("port"), "there is no port " + quoted(hop.port), "name one of [[dataplane.port]]");
            }
        }
        captures_have_next_hops();
    }
    void captures_have_next_hops() {
        for (const Port& port : state_.dataplane.ports) {
            const auto is_on_it = [&port](const NextHop& hop) { return hop.port == port.name; };
            if (!std::holds_alternative<CapturePort>(port.kind)) continue;
            if (std::ranges::any_of(state_.next_hops, is_on_it)) continue;
            refuse(at(port), "the capture port " + quoted(port.name) + " has no next hop",
                   "add [[next_hop]] with address, mac and port = " + quoted(port.name));
        }
    }

    // ---- services
    void services() {
        if (state_.services.size() > most_services) {
            return refuse(top("service"), "there are " + number(state_.services.size()) + " services",
                          "use at most " + number(most_services));
        }
        std::unordered_map<std::string_view, const Service*> names;
        for (const Service& service : state_.services) {
            if (!names.emplace(service.name, &service).second) {
                refuse(at(service).child("name"), "two services are named " + quoted(service.name), "rename one");
            }
            table_size(service);
            check(service);
            quorum(service);
            if (!service.flows) only_udp(service);
        }
        examine_schedulers(*this);
        if (!vips()) return;
        examine_ranges(*this);
        backends();
        endpoints();
        examine_modes(*this);
    }
    void table_size(const Service& service) {
        if (!service.table_size) return;
        const std::size_t count = service.backends.size();
        const std::uint32_t size = *service.table_size;
        const Path path = at(service).child("table_size");
        const std::string says = "service " + quoted(service.name) + ": table_size " + number(size);
        const std::string better = "use " + number(default_table_size(count));
        if (!is_prime(size)) return refuse(path, says + " is not prime", better + ", or another prime");
        if (size < count) return refuse(path, says + " is less than the number of backends, " + number(count), better);
        if (size >= 100 * count) return;
        warn(path,
             says + " is less than 100 times the number of backends, " + number(count) + ": shares will be uneven",
             better);
    }
    void check(const Service& service) {
        if (!service.check || service.check->timeout <= service.check->interval) return;
        refuse(at(service).child("check").child("timeout"),
               "the timeout " + duration_text(service.check->timeout) + " is longer than the interval " +
                   duration_text(service.check->interval),
               "make it at most the interval");
    }
    void only_udp(const Service& service) {
        for (std::size_t i = 0; i < service.vips.size(); ++i) {
            if (service.vips[i].protocol == Protocol::udp) continue;
            refuse(at_vip(service, i),
                   "flows = \"off\" is for services of single packets, but " + service.vips[i].text() + " is tcp",
                   "use udp, or flows = \"on\"");
        }
    }

    void quorum(const Service& service) {
        const std::size_t count = service.backends.size();
        const std::size_t needed = std::size_t{service.quorum.up} + service.quorum.hysteresis;
        if (needed <= std::max<std::size_t>(count, 1)) return;
        const bool never = service.quorum.up > count;
        warn(at(service).child("quorum"),
             "service " + quoted(service.name) + " has " + number(count) + " backends: " +
                 (never ? "its quorum of " + number(service.quorum.up) + " is never there"
                        : "a quorum that was lost comes back with " + number(needed) + ", which is never"),
             "lower quorum.up or quorum.hysteresis, or add backends");
    }
    void announce() {
        for (const Port& port : state_.dataplane.ports) {
            const auto* af_xdp = std::get_if<AfXdpPort>(&port.kind);
            if (af_xdp == nullptr || af_xdp->device != state_.announce_device) continue;
            refuse(top("announce").child("device"),
                   state_.announce_device + " is the interface of port " + quoted(port.name),
                   "name a device that carries nothing but the VIPs, like \"shunt-vip\"");
        }
    }

    bool vips() {
        std::map<Vip, const Service*> seen;
        std::size_t count = 0;
        for (const Service& service : state_.services) {
            count += service.vips.size();
            if (service.vips.empty()) {
                refuse(at(service).child("vip"), "service " + quoted(service.name) + " has no VIP",
                       "add one, like vip = [\"198.18.0.10:443/tcp\"]");
            }
            for (std::size_t i = 0; i < service.vips.size(); ++i) {
                const Vip& vip = service.vips[i];
                ordinary(vip.address, at_vip(service, i));
                const auto [other, is_new] = seen.emplace(vip, &service);
                if (is_new) continue;
                const bool same = other->second == &service;
                refuse(
                    at_vip(service, i),
                    "the VIP " + vip.text() +
                        (same ? " is there twice" : " belongs to service " + quoted(other->second->name) + " already"),
                    "remove one of the two");
            }
        }
        if (count <= most_listeners) return true;
        refuse(top("service"), "there are " + number(count) + " VIPs", "use at most " + number(most_listeners));
        return false;
    }

    void backends() {
        std::map<IpAddress, const Service*> vip_addresses;
        for (const Service& service : state_.services) {
            for (const Vip& vip : service.vips) vip_addresses.emplace(vip.address, &service);
        }
        for (const Service& service : state_.services) {
            if (service.backends.size() > most_backends) {
                refuse(at(service).child("backend"),
                       "there are " + number(service.backends.size()) + " backends in one service",
                       "use at most " + number(most_backends));
            }
            for (const Backend& backend : service.backends) {
                one_backend(service, backend);
                const auto vip = vip_addresses.find(backend.address);
                if (vip == vip_addresses.end()) continue;
                refuse(at(service, backend).child("address"),
                       backend.address.text() + " is also a VIP, of service " + quoted(vip->second->name),
                       "a backend needs an address of its own");
            }
        }
    }
    void one_backend(const Service& service, const Backend& backend) {
        const auto usable = [&](const Vip& vip) {
            return can_serve(service.mode, vip.address.family(), backend.address.family());
        };
        if (!service.vips.empty() && std::ranges::none_of(service.vips, usable)) {
            const std::string family(name_of(backend.address.family()));
            refuse(at(service, backend).child("address"),
                   "no VIP of service " + quoted(service.name) + " can use " + label(backend) + ": none is " + family,
                   "add an " + family + " VIP, use a mode that encapsulates, or remove the backend");
        }
        if (backend.weight > max_weight) {
            refuse(at(service, backend).child("weight"), "the weight " + number(backend.weight) + " is out of range",
                   "use 0 to " + number(max_weight));
        }
        if (is_loopback(backend.address)) {
            warn(at(service, backend).child("address"),
                 backend.address.text() + " is a loopback address: no packet can be forwarded to it",
                 "use an address of the machine");
        } else {
            ordinary(backend.address, at(service, backend).child("address"));
        }
    }

    // ---- backends on the wire, where services meet
    std::vector<Use> uses(const std::vector<GroupsOfService>& groups) const;
    void endpoints();
    void used_twice(const Use& one, const Use& other);
    void used_without_flows(const Use& one, const Use& other);
    void met_by_ranges(const std::vector<Use>& all);
    void shared_by_vips(const std::vector<const Group*>& groups, const Endpoint& example, std::size_t count);
    std::vector<const Vip*> that_meet(const std::vector<const Group*>& groups) const;
    bool translates(const Group* group) const { return traits_of(state_.services[group->service].mode).translates; }
};

GroupsOfService groups_of(const Service& service, std::uint32_t index) {
    GroupsOfService result;
    for (std::uint32_t i = 0; i < service.vips.size(); ++i) {
        const Vip& vip = service.vips[i];
        for (const Family family : {Family::ipv4, Family::ipv6}) {
            if (!can_serve(service.mode, vip.address.family(), family)) continue;
            auto& [following, fixed] = result[family == Family::ipv4];
            Group& followed = following[{port_to_follow(vip.ports).host(), vip.protocol}];
            followed.follows_many = !vip.ports.is_one();
            for (Group* group : {&followed, &fixed[{0, vip.protocol}]}) {
                group->service = index;
                group->vips.push_back(i);
            }
        }
    }
    return result;
}

const Groups& groups_for(const GroupsOfService& groups, const Backend& backend) {
    return groups[backend.address.is_v4()][backend.port != 0];
}

// Sorted by endpoint.
std::vector<Use> Examiner::uses(const std::vector<GroupsOfService>& groups) const {
    std::vector<Use> result;
    for (std::uint32_t s = 0; s < state_.services.size(); ++s) {
        const std::vector<Backend>& backends = state_.services[s].backends;
        for (std::uint32_t b = 0; b < backends.size(); ++b) {
            for (const auto& [wire, group] : groups_for(groups[s], backends[b])) {
                const auto& [port, protocol] = wire;
                const Be16 own_or_followed(port != 0 ? port : backends[b].port);
                result.push_back({{backends[b].address, own_or_followed, protocol}, &group, b});
            }
        }
    }
    std::ranges::stable_sort(result, {}, &Use::endpoint);
    return result;
}

void Examiner::endpoints() {
    std::vector<GroupsOfService> groups;
    std::size_t handles = 0;
    for (std::uint32_t s = 0; s < state_.services.size(); ++s) {
        groups.push_back(groups_of(state_.services[s], s));
        for (const Backend& backend : state_.services[s].backends) handles += groups_for(groups[s], backend).size();
    }
    if (handles > most_handles) {
        return refuse(
            top("service"),
            "all services together have " + number(handles) + " backends, counted once for each port they serve",
            "use at most " + number(most_handles));
    }
    // One warning for each set of VIPs, however many backends they share: an example and the number.
    std::map<std::vector<const Group*>, std::pair<Endpoint, std::size_t>> shared;
    const std::vector<Use> all = uses(groups);
    for (auto use = all.begin(); use != all.end();) {
        std::vector<const Group*> together;  // those whose replies meet here
        const Use* last = nullptr;           // of them
        auto next = use;
        for (; next != all.end() && next->endpoint == use->endpoint; ++next) {
            if (next != use) used_twice(*(next - 1), *next);
            if (!translates(next->group)) continue;
            if (last != nullptr) used_without_flows(*last, *next);
            last = &*next;
            together.push_back(next->group);
        }
        ++shared.try_emplace(std::move(together), use->endpoint, 0).first->second.second;
        use = next;
    }
    for (const auto& [together, example] : shared) shared_by_vips(together, example.first, example.second);
    met_by_ranges(all);
}

// A backend that takes packets of many ports answers from them all: also from that which another service has there.
void Examiner::met_by_ranges(const std::vector<Use>& all) {
    std::vector<const Use*> ranges;  // of the address at hand; they sort first, with port 0
    for (const Use& use : all) {
        if (!ranges.empty() && ranges.front()->endpoint.address != use.endpoint.address) ranges.clear();
        if (!translates(use.group)) continue;
        if (use.endpoint.port == Be16{}) {
            ranges.push_back(&use);
            continue;
        }
        for (const Use* range : ranges) {
            const std::vector<Vip>& vips = state_.services[range->group->service].vips;
            const auto has_port = [&](std::uint32_t vip) { return vips[vip].ports.contains(use.endpoint.port); };
            const bool meets = range->endpoint.protocol == use.endpoint.protocol;
            if (meets && std::ranges::any_of(range->group->vips, has_port)) used_without_flows(*range, use);
        }
    }
}

void Examiner::used_twice(const Use& one, const Use& other) {
    if (one.group->service != other.group->service) return;
    const Service& service = state_.services[other.group->service];
    refuse(at(service, service.backends[other.backend]),
           "the backend " + text_of(other.endpoint) + " is in service " + quoted(service.name) + " twice",
           "remove one of the two");
}

void Examiner::used_without_flows(const Use& one, const Use& other) {
    const Service& before = state_.services[one.group->service];
    const Service& service = state_.services[other.group->service];
    if (&service == &before || (service.flows && before.flows)) return;
    const std::string off = service.flows ? before.name : service.name;
    refuse(at(service, service.backends[other.backend]),
           "the backend " + text_of(other.endpoint) + " is in services " + quoted(before.name) + " and " +
               quoted(service.name) + ", and " + quoted(off) +
               " has flows = \"off\": nobody could tell whose its replies are",
           "give it another port in one of them, or set flows = \"on\"");
}

// The VIPs that come to one port of the backend. All do, except that those of many ports keep theirs.
std::vector<const Vip*> Examiner::that_meet(const std::vector<const Group*>& groups) const {
    std::vector<const Vip*> vips;
    for (const Group* group : groups) {
        for (const std::uint32_t vip : group->vips) vips.push_back(&state_.services[group->service].vips[vip]);
    }
    const bool keep_ports = !groups.empty() && groups.front()->follows_many;
    if (!keep_ports) return vips;
    std::ranges::stable_sort(vips, {}, [](const Vip* vip) { return vip->ports; });
    std::vector<const Vip*> meeting;
    const Vip* widest = nullptr;
    const Vip* counted = nullptr;
    for (const Vip* vip : vips) {
        if (widest != nullptr && widest->ports.overlaps(vip->ports) && widest->address != vip->address) {
            if (std::exchange(counted, widest) != widest) meeting.push_back(widest);
            meeting.push_back(vip);
        }
        if (widest == nullptr || vip->ports.last > widest->ports.last) widest = vip;
    }
    return meeting;
}

void Examiner::shared_by_vips(const std::vector<const Group*>& groups, const Endpoint& example, std::size_t count) {
    const std::vector<const Vip*> vips = that_meet(groups);
    if (vips.size() < 2) return;
    const std::string more = count > 1 ? " and " + number(count - 1) + " more" : "";
    std::string message = "the backend " + text_of(example) + more + " is behind " + number(vips.size()) + " VIPs (" +
                          vips[0]->text() + ", " + vips[1]->text() + (vips.size() > 2 ? ", …" : "") +
                          "): two connections from one client port would be one at the backend";
    if (vips.size() > shm::listeners_per_source) {
        message += ", and replies without a known flow are derived for the first " + number(shm::listeners_per_source) +
                   " of them only";
    }
    warn(at(state_.services[groups.front()->service]).child("backend"), message,
         "give each VIP a port of its own at the backends");
}

}  // namespace

Findings examine(const DesiredState& state, const Positions& positions) { return Examiner(state, positions).examine(); }

Status validate(const DesiredState& state, const Positions& positions) {
    Findings findings = examine(state, positions);
    if (!findings.errors.empty()) return std::move(findings.errors.front());
    return Done{};
}

std::vector<Error> warnings(const DesiredState& state, const Positions& positions) {
    return examine(state, positions).warnings;
}

void fix_table_sizes(DesiredState& state, const DesiredState* previous) {
    std::unordered_map<std::string_view, std::uint32_t> known;
    if (previous != nullptr) {
        for (const Service& service : previous->services) known.emplace(service.name, service.table_size.value_or(0));
    }
    for (Service& service : state.services) {
        if (service.table_size) continue;
        const auto before = known.find(service.name);
        const bool fixed = before != known.end() && before->second != 0;
        service.table_size = fixed ? before->second : default_table_size(service.backends.size());
    }
}

}  // namespace shunt::config
