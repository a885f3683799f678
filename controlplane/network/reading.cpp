#include "controlplane/network/reading.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/addr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/object.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace shunt::controlplane {
namespace {

constexpr std::size_t buffer_bytes = 65'536;  // one answer; the kernel fills at most 32 KiB of it with a dump
constexpr int answers_at_once = 8;            // about 2,000 routes

struct Table {
    const char* name;
    std::uint16_t request;
    std::uint8_t family;
};
constexpr std::array<Table, 6> tables{{{"links", RTM_GETLINK, AF_UNSPEC},
                                       {"addresses", RTM_GETADDR, AF_UNSPEC},
                                       {"IPv4 routes", RTM_GETROUTE, AF_INET},
                                       {"IPv6 routes", RTM_GETROUTE, AF_INET6},
                                       {"IPv4 rules", RTM_GETRULE, AF_INET},
                                       {"IPv6 rules", RTM_GETRULE, AF_INET6}}};

Error cannot_read(const char* what, int error) {
    return {std::string("cannot read the kernel's ") + what + ": " + std::strerror(error)};
}

std::optional<IpAddress> address_of(nl_addr* address) {
    if (address == nullptr) return std::nullopt;
    const void* bytes = nl_addr_get_binary_addr(address);
    if (nl_addr_get_family(address) == AF_INET && nl_addr_get_len(address) == 4) return IpAddress::load_v4(bytes);
    if (nl_addr_get_family(address) == AF_INET6 && nl_addr_get_len(address) == 16) return IpAddress::load_v6(bytes);
    return std::nullopt;
}

// A default route has no destination, or one of no length.
Prefix destination_of(rtnl_route* route) {
    nl_addr* destination = rtnl_route_get_dst(route);
    const bool is_v4 = rtnl_route_get_family(route) == AF_INET;
    Prefix prefix{is_v4 ? IpAddress::v4(0, 0, 0, 0) : IpAddress{}, 0};
    if (const auto address = address_of(destination)) prefix.address = *address;
    if (destination != nullptr) prefix.length = static_cast<std::uint8_t>(nl_addr_get_prefixlen(destination));
    return prefix;
}

std::vector<NextHopRef> living_next_hops(rtnl_route* route) {
    std::vector<NextHopRef> hops;
    const int count = rtnl_route_get_nnexthops(route);
    for (int i = 0; i < count; ++i) {
        rtnl_nexthop* hop = rtnl_route_nexthop_n(route, i);
        if (rtnl_route_nh_get_flags(hop) & RTNH_F_DEAD) continue;
        nl_addr* via = rtnl_route_nh_get_via(hop);  // a gateway of the other family
        hops.push_back({address_of(via != nullptr ? via : rtnl_route_nh_get_gateway(hop)),
                        static_cast<std::uint32_t>(rtnl_route_nh_get_ifindex(hop))});
    }
    return hops;
}

// Ends in a drop or an error, whatever its next hops.
bool is_dead_end(std::uint8_t type) {
    return type == RTN_BLACKHOLE || type == RTN_UNREACHABLE || type == RTN_PROHIBIT || type == RTN_THROW;
}

bool is_link_local(const Prefix& prefix) {
    static const Prefix link_local{*IpAddress::parse("fe80::"), 10};
    return prefix.length >= link_local.length && link_local.contains(prefix.address);
}

// The rules every network namespace is born with: local, main, default.
bool is_of_every_system(rtnl_rule* rule) {
    const std::uint32_t priority = rtnl_rule_get_prio(rule);
    const std::uint32_t table = rtnl_rule_get_table(rule);
    return (priority == 0 && table == RT_TABLE_LOCAL) || (priority == 32'766 && table == RT_TABLE_MAIN) ||
           (priority == 32'767 && table == RT_TABLE_DEFAULT);
}

}  // namespace

KernelReading::KernelReading(std::size_t route_limit, nl_sock* socket) noexcept
    : route_limit_(route_limit), socket_(socket), buffer_(buffer_bytes) {}
KernelReading::~KernelReading() { nl_socket_free(socket_); }

Result<std::unique_ptr<KernelReading>> KernelReading::start(std::size_t route_limit) {
    nl_sock* socket = nl_socket_alloc();
    if (socket == nullptr) return cannot_read("network", ENOMEM);
    std::unique_ptr<KernelReading> reading(new KernelReading(route_limit, socket));
    if (const int error = nl_connect(socket, NETLINK_ROUTE); error < 0) {
        return Error{std::string("cannot open a netlink socket: ") + nl_geterror(error)};
    }
    // The kernel then dumps only the table asked for. Without it (before Linux 4.20) we choose ourselves.
    const int yes = 1;
    ::setsockopt(nl_socket_get_fd(socket), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &yes, sizeof yes);
    if (auto asked = reading->request(); !asked) return asked.error();
    return reading;
}

int KernelReading::fd() const noexcept { return nl_socket_get_fd(socket_); }

Status KernelReading::request() {
    const Table& table = tables[step_];
    union {
        ifinfomsg link;
        ifaddrmsg address;
        rtmsg route;
        fib_rule_hdr rule;
    } header;
    std::memset(&header, 0, sizeof header);
    header.route.rtm_family = table.family;  // every one of them begins with the family
    std::size_t size = sizeof header.link;
    if (table.request == RTM_GETADDR) size = sizeof header.address;
    if (table.request == RTM_GETRULE) size = sizeof header.rule;
    if (table.request == RTM_GETROUTE) {
        size = sizeof header.route;
        header.route.rtm_table = RT_TABLE_MAIN;
    }
    nl_msg* message = nlmsg_alloc_simple(table.request, NLM_F_REQUEST | NLM_F_DUMP);
    if (message == nullptr) return cannot_read(table.name, ENOMEM);
    int error = nlmsg_append(message, &header, size, NLMSG_ALIGNTO);
    if (error == 0) error = nl_send_auto(socket_, message);
    nlmsg_free(message);
    if (error < 0) return Error{std::string("cannot ask for the kernel's ") + table.name + ": " + nl_geterror(error)};
    return Done{};
}

Result<bool> KernelReading::advance() {
    for (int answers = 0; answers < answers_at_once; ++answers) {
        const ssize_t received = ::recv(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
        if (received < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        if (received < 0) return cannot_read(tables[step_].name, errno);
        if (static_cast<std::size_t>(received) > buffer_.size()) return cannot_read(tables[step_].name, EMSGSIZE);
        int left = static_cast<int>(received);
        bool complete = false;
        for (auto* header = reinterpret_cast<nlmsghdr*>(buffer_.data()); nlmsg_ok(header, left);
             header = nlmsg_next(header, &left)) {
            auto taken = take_message(*header);
            if (!taken) return taken;
            complete = complete || *taken;
        }
        if (!complete) continue;
        if (++step_ == tables.size()) return true;
        if (auto asked = request(); !asked) return asked.error();
    }
    return false;
}

Result<bool> KernelReading::take_message(const nlmsghdr& header) {
    interrupted_ = interrupted_ || (header.nlmsg_flags & NLM_F_DUMP_INTR);
    if (header.nlmsg_type == NLMSG_DONE) return true;
    if (header.nlmsg_type == NLMSG_ERROR) {
        const int error = -static_cast<const nlmsgerr*>(nlmsg_data(&header))->error;
        // No such table yet, or no such family on this machine: nothing in it.
        if (error == ENOENT || error == EAFNOSUPPORT || error == EOPNOTSUPP) return true;
        return cannot_read(tables[step_].name, error);
    }
    nl_msg* message = nlmsg_convert(const_cast<nlmsghdr*>(&header));
    if (message == nullptr) return cannot_read(tables[step_].name, ENOMEM);
    nlmsg_set_proto(message, NETLINK_ROUTE);
    const int error = nl_msg_parse(
        message, [](nl_object* object, void* self) { static_cast<KernelReading*>(self)->take_object(object); }, this);
    nlmsg_free(message);
    if (error < 0)
        return Error{std::string("cannot read the kernel's ") + tables[step_].name + ": " + nl_geterror(error)};
    return false;
}

void KernelReading::take_object(nl_object* object) {
    switch (tables[step_].request) {
        case RTM_GETLINK:
            return take_link(object);
        case RTM_GETADDR:
            return take_address(object);
        case RTM_GETROUTE:
            return take_route(object);
        default:
            return take_rule(object);
    }
}

void KernelReading::take_link(nl_object* object) {
    auto* link = reinterpret_cast<rtnl_link*>(object);
    constexpr unsigned working = IFF_UP | IFF_RUNNING;
    Link result{.ifindex = static_cast<std::uint32_t>(rtnl_link_get_ifindex(link)),
                .name = rtnl_link_get_name(link),
                .mtu = rtnl_link_get_mtu(link),
                .up = (rtnl_link_get_flags(link) & working) == working};
    nl_addr* mac = rtnl_link_get_addr(link);
    if (mac != nullptr && nl_addr_get_len(mac) == result.mac.bytes.size()) {
        std::memcpy(result.mac.bytes.data(), nl_addr_get_binary_addr(mac), result.mac.bytes.size());
    }
    snapshot_.links.push_back(std::move(result));
}

void KernelReading::take_address(nl_object* object) {
    auto* address = reinterpret_cast<rtnl_addr*>(object);
    nl_addr* local = rtnl_addr_get_local(address);
    if (const auto value = address_of(local)) {
        snapshot_.addresses.push_back({*value, static_cast<std::uint8_t>(rtnl_addr_get_prefixlen(address)),
                                       static_cast<std::uint32_t>(rtnl_addr_get_ifindex(address))});
    }
}

void KernelReading::take_route(nl_object* object) {
    auto* route = reinterpret_cast<rtnl_route*>(object);
    const std::uint8_t type = rtnl_route_get_type(route);
    const bool dead_end = is_dead_end(type);
    if (rtnl_route_get_table(route) != RT_TABLE_MAIN || (rtnl_route_get_flags(route) & RTM_F_CLONED)) return;
    if (type != RTN_UNICAST && !dead_end) return;
    nl_addr* source = rtnl_route_get_src(route);
    if (rtnl_route_get_tos(route) != 0 || (source != nullptr && nl_addr_get_prefixlen(source) != 0)) {
        snapshot_.policy_rules = true;
        return;
    }
    CandidateRoute candidate{{destination_of(route), {}}, rtnl_route_get_priority(route)};
    if (is_link_local(candidate.route.prefix)) return;
    if (!dead_end) candidate.route.next_hops = living_next_hops(route);
    // No next hop is named where net.ipv4.nexthop_compat_mode is off and the route uses a next hop object.
    const bool understood = dead_end || !candidate.route.next_hops.empty();
    if (understood && candidates_.size() < route_limit_) {
        candidates_.push_back(std::move(candidate));
    } else {
        ++snapshot_.routes_ignored;
    }
}

void KernelReading::take_rule(nl_object* object) {
    if (!is_of_every_system(reinterpret_cast<rtnl_rule*>(object))) snapshot_.policy_rules = true;
}

NetworkSnapshot KernelReading::take() {
    std::sort(snapshot_.links.begin(), snapshot_.links.end());
    std::sort(snapshot_.addresses.begin(), snapshot_.addresses.end());
    snapshot_.routes = best_routes(std::move(candidates_));
    return std::move(snapshot_);
}

}  // namespace shunt::controlplane
