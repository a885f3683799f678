#include "controlplane/network/announcer.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

namespace shunt::controlplane {
namespace {

constexpr std::uint8_t our_protocol = 83;  // as the data plane's neighbours have
// Interfaces that carry addresses and nothing else. A bridge without ports does where the kernel has no dummies.
constexpr std::array kinds{"dummy", "bridge"};

using Socket = std::unique_ptr<nl_sock, decltype(&nl_socket_free)>;
using LinkObject = std::unique_ptr<rtnl_link, decltype(&rtnl_link_put)>;

Error failed(const std::string& what, int error) {
    const bool denied = error == -NLE_PERM;
    return {.message = "cannot " + what + ": " + nl_geterror(error), .remedy = denied ? "run as root" : ""};
}

Result<Socket> open_socket() {
    Socket socket(nl_socket_alloc(), &nl_socket_free);
    if (!socket) return failed("open a netlink socket", -NLE_NOMEM);
    if (const int error = nl_connect(socket.get(), NETLINK_ROUTE); error < 0) {
        return failed("open a netlink socket", error);
    }
    return socket;
}

struct Device {
    int index{};
    bool up{};
};

// Nothing if there is none of this name.
Result<std::optional<Device>> find_device(nl_sock* socket, const std::string& name) {
    rtnl_link* found = nullptr;
    const int error = rtnl_link_get_kernel(socket, 0, name.c_str(), &found);
    const LinkObject link(found, &rtnl_link_put);
    if (error == -NLE_NODEV || error == -NLE_OBJ_NOTFOUND) return std::optional<Device>{};
    if (error < 0) return failed("find the device " + name, error);
    return std::optional(
        Device{rtnl_link_get_ifindex(found), (rtnl_link_get_flags(found) & static_cast<unsigned>(IFF_UP)) != 0});
}

Status make_device(nl_sock* socket, const std::string& name) {
    int error = 0;
    for (const char* kind : kinds) {
        const LinkObject link(rtnl_link_alloc(), &rtnl_link_put);
        rtnl_link_set_name(link.get(), name.c_str());
        rtnl_link_set_type(link.get(), kind);
        rtnl_link_set_flags(link.get(), IFF_UP);
        error = rtnl_link_add(socket, link.get(), NLM_F_CREATE | NLM_F_EXCL);
        if (error >= 0) return Done{};
        if (error != -NLE_OPNOTSUPP) break;
    }
    return failed("make the device " + name, error);
}

Result<Device> device_for(nl_sock* socket, const std::string& name) {
    auto device = find_device(socket, name);
    if (device && !*device) {
        if (const Status made = make_device(socket, name); !made) return made.error();
        device = find_device(socket, name);
    }
    if (!device) return device.error();
    if (!*device) return Error{.message = "the device " + name + " is gone as soon as it is made"};
    if (!(*device)->up) {
        return Error{.message = "the device " + name + " is down", .remedy = "run `ip link set " + name + " up`"};
    }
    return **device;
}

// ------------------------------------------------------------------------------------------------ addresses

struct Dump {
    int index{};
    std::vector<DeviceAddress> addresses{};
};

std::optional<IpAddress> address_in(const nlattr* attribute, int family) {
    if (attribute == nullptr) return std::nullopt;
    const int bytes = nla_len(attribute);
    if (family == AF_INET && bytes == 4) return IpAddress::load_v4(nla_data(attribute));
    if (family == AF_INET6 && bytes == 16) return IpAddress::load_v6(nla_data(attribute));
    return std::nullopt;
}

int take_address(nl_msg* message, void* into) {
    auto& dump = *static_cast<Dump*>(into);
    nlmsghdr* header = nlmsg_hdr(message);
    std::array<nlattr*, IFA_MAX + 1> attributes{};
    if (header->nlmsg_type != RTM_NEWADDR ||
        nlmsg_parse(header, sizeof(ifaddrmsg), attributes.data(), IFA_MAX, nullptr) < 0) {
        return NL_SKIP;
    }
    const auto& fixed = *static_cast<const ifaddrmsg*>(nlmsg_data(header));
    if (static_cast<int>(fixed.ifa_index) != dump.index) return NL_OK;
    const nlattr* local = attributes[IFA_LOCAL];
    const auto address = address_in(local != nullptr ? local : attributes[IFA_ADDRESS], fixed.ifa_family);
    const nlattr* protocol = attributes[IFA_PROTO];
    if (!address) return NL_OK;
    dump.addresses.push_back(
        {*address, fixed.ifa_prefixlen, protocol != nullptr && nla_get_u8(protocol) == our_protocol});
    return NL_OK;
}

Result<std::vector<DeviceAddress>> addresses_on(nl_sock* socket, const Device& device) {
    Dump dump{.index = device.index};
    ifaddrmsg every{};
    int error = nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, take_address, &dump);
    if (error >= 0) error = nl_send_simple(socket, RTM_GETADDR, NLM_F_DUMP, &every, sizeof every);
    if (error >= 0) error = nl_recvmsgs_default(socket);
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_DEFAULT, nullptr, nullptr);
    if (error < 0) return failed("read the kernel's addresses", error);
    return std::move(dump.addresses);
}

// `request`: RTM_NEWADDR or RTM_DELADDR.
Status change(nl_sock* socket, int request, const Device& device, const IpAddress& address, std::uint8_t length) {
    const bool is_v4 = address.is_v4();
    ifaddrmsg fixed{};
    fixed.ifa_family = is_v4 ? AF_INET : AF_INET6;
    fixed.ifa_prefixlen = length;
    fixed.ifa_index = static_cast<std::uint32_t>(device.index);
    fixed.ifa_flags = is_v4 ? 0 : IFA_F_NODAD;
    nl_msg* message = nlmsg_alloc_simple(request, request == RTM_NEWADDR ? NLM_F_CREATE : 0);
    if (message == nullptr) return failed("write to the kernel", -NLE_NOMEM);
    const auto bytes = address.bytes();
    const std::size_t first = is_v4 ? 12 : 0;
    nlmsg_append(message, &fixed, sizeof fixed, NLMSG_ALIGNTO);
    nla_put(message, IFA_LOCAL, static_cast<int>(16 - first), bytes.data() + first);
    nla_put(message, IFA_ADDRESS, static_cast<int>(16 - first), bytes.data() + first);
    nla_put_u8(message, IFA_PROTO, our_protocol);
    const int error = nl_send_sync(socket, message);
    const bool is_so_already = error == (request == RTM_NEWADDR ? -NLE_EXIST : -NLE_NOADDR);
    if (error >= 0 || is_so_already) return Done{};
    return failed((request == RTM_NEWADDR ? "put " : "take ") + address.text() +
                      (request == RTM_NEWADDR ? " on its device" : " off its device"),
                  error);
}

Status reconcile(nl_sock* socket, const Device& device, const std::vector<IpAddress>& wanted) {
    const auto present = addresses_on(socket, device);
    if (!present) return present.error();
    const AddressChanges changes = address_changes(*present, wanted);
    Status outcome = Done{};  // the first that fails does not keep the others
    const auto note = [&outcome](Status done) {
        if (outcome && !done) outcome = std::move(done);
    };
    for (const DeviceAddress& old : changes.remove) {
        note(change(socket, RTM_DELADDR, device, old.address, old.prefix_length));
    }
    for (const IpAddress& address : changes.add) {
        note(change(socket, RTM_NEWADDR, device, address, address.is_v4() ? 32 : 128));
    }
    if (!outcome || changes.add.empty()) return outcome;
    const auto after = addresses_on(socket, device);
    if (!after) return after.error();
    const auto is_ours = [&](const IpAddress& address) {
        return std::ranges::any_of(*after, [&](const auto& there) { return there.ours && there.address == address; });
    };
    if (std::ranges::all_of(changes.add, is_ours)) return Done{};
    return Error{.message = "the kernel forgets who put an address on a device",
                 .remedy = "Linux 5.18 or later is needed for [announce]"};
}

// A device that is not there carries nothing: it is made when there is something to carry.
Status make_so(nl_sock* socket, const std::string& name, const std::vector<IpAddress>& wanted) {
    if (!wanted.empty()) {
        const auto device = device_for(socket, name);
        return device ? reconcile(socket, *device, wanted) : Status(device.error());
    }
    const auto device = find_device(socket, name);
    if (!device) return device.error();
    return *device ? reconcile(socket, **device, {}) : Done{};
}

}  // namespace

AddressChanges address_changes(const std::vector<DeviceAddress>& present, std::vector<IpAddress> wanted) {
    AddressChanges changes;
    std::ranges::sort(wanted);
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    for (const DeviceAddress& there : present) {
        if (there.ours && !std::ranges::binary_search(wanted, there.address)) changes.remove.push_back(there);
    }
    for (const IpAddress& address : wanted) {
        const auto is_it = [&](const DeviceAddress& there) { return there.address == address; };
        if (std::ranges::none_of(present, is_it)) changes.add.push_back(address);
    }
    return changes;
}

Status Announcer::announce(const Announcement& announcement) {
    if (announcement.device.empty() && device_.empty()) return Done{};
    const auto socket = open_socket();
    if (!socket) return socket.error();
    if (!announcement.device.empty()) {
        const Status done = make_so(socket->get(), announcement.device, announcement.addresses);
        if (!done) return done;
    }
    // Only now: whoever moves to another device is announced all the while.
    if (!device_.empty() && device_ != announcement.device) {
        if (const Status done = make_so(socket->get(), device_, {}); !done) return done;
    }
    device_ = announcement.device;
    return Done{};
}

Result<std::vector<IpAddress>> Announcer::found_on(const std::string& device) {
    const auto socket = open_socket();
    if (!socket) return socket.error();
    const auto there = find_device(socket->get(), device);
    if (!there) return there.error();
    if (!*there) return std::vector<IpAddress>{};
    const auto present = addresses_on(socket->get(), **there);
    if (!present) return present.error();
    std::vector<IpAddress> ours;
    for (const DeviceAddress& address : *present) {
        if (address.ours) ours.push_back(address.address);
    }
    device_ = device;
    return ours;
}

}  // namespace shunt::controlplane
