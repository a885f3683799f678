#include "dataplane/neighbours/netlink.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <array>
#include <cstring>
#include <string>

namespace shunt::dataplane {
namespace {

static_assert(neighbour_use == NTF_USE && neighbour_managed == NTF_EXT_MANAGED << 8);

// Who asked for a managed neighbour (NDA_PROTOCOL, a number of rtnetlink.h's kind that nobody there has): so that what
// a predecessor asked for is known as ours.
constexpr std::uint8_t our_protocol = 83;

constexpr std::uint16_t usable_states = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP;
constexpr int event_buffer_bytes = 1 << 20;  // as much as net.core.rmem_max allows

std::optional<IpAddress> address_in(int family, const nlattr* attribute) {
    if (attribute == nullptr) return std::nullopt;
    if (family == AF_INET && nla_len(attribute) == 4) return IpAddress::load_v4(nla_data(attribute));
    if (family == AF_INET6 && nla_len(attribute) == 16) return IpAddress::load_v6(nla_data(attribute));
    return std::nullopt;
}

std::optional<NeighbourReport> read_neighbour(nlmsghdr* message) {
    std::array<nlattr*, NDA_MAX + 1> attributes{};
    if (nlmsg_parse(message, sizeof(ndmsg), attributes.data(), NDA_MAX, nullptr) < 0) return std::nullopt;
    const auto& header = *static_cast<const ndmsg*>(nlmsg_data(message));
    const auto address = address_in(header.ndm_family, attributes[NDA_DST]);
    if (!address || (header.ndm_flags & NTF_PROXY) != 0) return std::nullopt;

    NeighbourReport report;
    report.neighbour = {.address = *address, .interface = header.ndm_ifindex};
    report.gone = message->nlmsg_type == RTM_DELNEIGH;
    report.fixed = (header.ndm_state & (NUD_PERMANENT | NUD_NOARP)) != 0;
    const auto* flags = attributes[NDA_FLAGS_EXT];
    report.managed = flags != nullptr && (nla_get_u32(flags) & NTF_EXT_MANAGED) != 0;
    const auto* protocol = attributes[NDA_PROTOCOL];
    report.ours = protocol != nullptr && nla_get_u8(protocol) == our_protocol;
    const auto* mac = attributes[NDA_LLADDR];
    if (!report.gone && (header.ndm_state & usable_states) != 0 && mac != nullptr && nla_len(mac) == 6) {
        std::memcpy(report.mac.emplace().bytes.data(), nla_data(mac), 6);
    }
    return report;
}

int on_message(nl_msg* message, void* argument) {
    const auto& heard = *static_cast<const Heard*>(argument);
    nlmsghdr* header = nlmsg_hdr(message);
    if (header->nlmsg_type == RTM_NEWNEIGH || header->nlmsg_type == RTM_DELNEIGH) {
        if (const auto report = read_neighbour(header)) heard(*report);
    } else if (header->nlmsg_type == RTM_NEWLINK) {
        const auto& link = *static_cast<const ifinfomsg*>(nlmsg_data(header));
        heard(LinkReport{.interface = link.ifi_index, .up = (link.ifi_flags & IFF_RUNNING) != 0});
    }
    return NL_OK;
}

// Reads what one nl_recvmsgs reads. 0 or libnl's negative error.
int receive(nl_sock* socket, const Heard& heard) {
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_message, const_cast<Heard*>(&heard));
    const int error = nl_recvmsgs_default(socket);
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_DEFAULT, nullptr, nullptr);  // `heard` ends here
    return error;
}

Error failure(const std::string& what, int error) {
    Error result{.message = what + ": " + nl_geterror(error)};
    if (error == -NLE_PERM) result.remedy = "run it as root, or with the capability CAP_NET_ADMIN";
    if (error == -NLE_NOMEM) {
        result.remedy =
            "the kernel's neighbour table may be full: raise net.ipv4.neigh.default.gc_thresh3 "
            "(net.ipv6.neigh.default.gc_thresh3)";
    }
    return result;
}

}  // namespace

void Netlink::Close::operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }

Result<Netlink> Netlink::open() {
    Socket events(nl_socket_alloc()), requests(nl_socket_alloc());
    if (!events || !requests) return Error{.message = "no memory for netlink sockets"};
    nl_socket_disable_seq_check(events.get());
    int error = nl_connect(events.get(), NETLINK_ROUTE);
    if (error == 0) error = nl_connect(requests.get(), NETLINK_ROUTE);
    if (error == 0) error = nl_socket_set_nonblocking(events.get());
    if (error == 0) error = nl_socket_set_buffer_size(events.get(), event_buffer_bytes, 0);
    if (error == 0) error = nl_socket_add_memberships(events.get(), RTNLGRP_NEIGH, RTNLGRP_LINK, 0);
    if (error != 0) return failure("cannot follow the kernel's neighbours", error);
    return Netlink(std::move(events), std::move(requests));
}

int Netlink::fd() const noexcept { return nl_socket_get_fd(events_.get()); }

Result<Netlink::Hearing> Netlink::hear(const Heard& heard) {
    Hearing hearing = Hearing::all;
    for (;;) {
        const int error = receive(events_.get(), heard);
        if (error == -NLE_AGAIN) return hearing;
        if (error == -NLE_NOMEM) {  // ENOBUFS
            hearing = Hearing::overrun;
        } else if (error < 0) {
            return failure("cannot hear of the kernel's neighbours", error);
        }
    }
}

Status Netlink::list(const Heard& heard) {
    constexpr int attempts = 10;  // the kernel says when the table changed under the listing
    int error = -NLE_DUMP_INTR;
    for (int attempt = 0; attempt < attempts && error == -NLE_DUMP_INTR; ++attempt) {
        ndmsg everything{};
        error = nl_send_simple(requests_.get(), RTM_GETNEIGH, NLM_F_DUMP, &everything, sizeof everything);
        if (error >= 0) error = receive(requests_.get(), heard);
    }
    if (error < 0 && error != -NLE_DUMP_INTR) return failure("cannot list the kernel's neighbours", error);
    return Done{};
}

Status Netlink::set(const Neighbour& neighbour, std::uint32_t flags, bool create) {
    const int error = request(neighbour, RTM_NEWNEIGH, NLM_F_REPLACE | (create ? NLM_F_CREATE : 0), flags);
    if (error >= 0) return Done{};
    return failure("interface " + std::to_string(neighbour.interface) + ": cannot have the neighbour " +
                       neighbour.address.text() + " resolved",
                   error);
}

Status Netlink::forget(const Neighbour& neighbour) {
    const int error = request(neighbour, RTM_DELNEIGH, 0, 0);
    if (error >= 0 || error == -NLE_OBJ_NOTFOUND) return Done{};
    return failure("interface " + std::to_string(neighbour.interface) + ": cannot have the neighbour " +
                       neighbour.address.text() + " forgotten",
                   error);
}

int Netlink::request(const Neighbour& neighbour, int type, int how, std::uint32_t flags) {
    const std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message(
        nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_ACK | how), nlmsg_free);
    const bool v4 = neighbour.address.is_v4();
    const auto bytes = neighbour.address.bytes();
    ndmsg header{};
    header.ndm_family = v4 ? AF_INET : AF_INET6;
    header.ndm_ifindex = neighbour.interface;
    header.ndm_flags = static_cast<std::uint8_t>(flags & 0xff);
    int error = message ? nlmsg_append(message.get(), &header, sizeof header, NLMSG_ALIGNTO) : -NLE_NOMEM;
    if (error == 0) error = nla_put(message.get(), NDA_DST, v4 ? 4 : 16, bytes.data() + (v4 ? 12 : 0));
    if (error == 0) error = nla_put_u32(message.get(), NDA_FLAGS_EXT, flags >> 8);
    if (error == 0) error = nla_put_u8(message.get(), NDA_PROTOCOL, our_protocol);
    if (error == 0) error = nl_send_auto(requests_.get(), message.get());
    return error >= 0 ? nl_wait_for_ack(requests_.get()) : error;
}

}  // namespace shunt::dataplane
