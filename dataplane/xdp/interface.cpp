#include "dataplane/xdp/interface.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>

namespace shunt::dataplane::xdp {
namespace {

std::string name_list() {
    const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> names(if_nameindex(), if_freenameindex);
    std::string list;
    for (const auto* entry = names.get(); entry != nullptr && entry->if_index != 0; ++entry) {
        list += (list.empty() ? "" : ", ") + std::string(entry->if_name);
    }
    return list;
}

// An ioctl that speaks about one interface. 0 or the errno.
class InterfaceRequest {
  public:
    explicit InterfaceRequest(const std::string& name) : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        name.copy(request_.ifr_name, IFNAMSIZ - 1);
    }

    int run(unsigned long command) { return ::ioctl(socket_.get(), command, &request_) == 0 ? 0 : errno; }
    template <class Command>
    int ethtool(Command& command) {
        request_.ifr_data = reinterpret_cast<char*>(&command);
        return run(SIOCETHTOOL);
    }
    const ifreq& answer() const noexcept { return request_; }

  private:
    Descriptor socket_;
    ifreq request_{};
};

Error failure(const Interface& interface, const std::string& what, int error) {
    const bool forbidden = error == EPERM || error == EACCES;
    return {.message = "interface " + interface.name + ": " + what + ": " + std::strerror(error),
            .remedy = forbidden ? needed_rights : ""};
}

// Receive queues: how many it has, could have, and what changes that.
struct Queues {
    std::uint32_t now{};
    std::uint32_t most{};
    bool combined{};  // ethtool knows them as "combined", else "rx" and "tx" apart (veth)
};

// A driver without channels has the queues that the kernel made for it.
Queues queues_of_kernel(const std::string& name) {
    std::uint32_t count = 0;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator("/sys/class/net/" + name + "/queues", ignored)) {
        if (entry.path().filename().string().starts_with("rx-")) ++count;
    }
    count = std::max(count, 1U);
    return {.now = count, .most = count, .combined = false};
}

Result<Queues> queues_of(const Interface& interface) {
    ethtool_channels channels{};
    channels.cmd = ETHTOOL_GCHANNELS;
    const int error = InterfaceRequest(interface.name).ethtool(channels);
    if (error == EOPNOTSUPP) return queues_of_kernel(interface.name);
    if (error != 0) return failure(interface, "cannot read the number of its queues", error);
    return Queues{.now = channels.combined_count + channels.rx_count,
                  .most = std::max(channels.max_combined, channels.max_rx),
                  .combined = channels.max_combined != 0};
}

std::string queues_remedy(const Interface& interface, const Queues& has, std::uint32_t wanted) {
    if (wanted == 0 || has.most < wanted) {
        return "it can have 1 to " + std::to_string(has.most) + ": set queues = " + std::to_string(has.now);
    }
    const std::string command = "ethtool -L " + interface.name, number = std::to_string(wanted);
    return command + (has.combined ? " combined " + number : " rx " + number + " tx " + number);
}

constexpr std::uint32_t unwanted_offloads = ETH_FLAG_RXVLAN | ETH_FLAG_LRO;

Result<std::uint32_t> offloads_of(const Interface& interface) {
    ethtool_value flags{};
    flags.cmd = ETHTOOL_GFLAGS;
    if (const int error = InterfaceRequest(interface.name).ethtool(flags)) {
        return failure(interface, "cannot read its offloads", error);
    }
    return flags.data;
}

}  // namespace

Result<Interface> find_interface(const std::string& name) {
    InterfaceRequest request(name);
    if (name.size() >= IFNAMSIZ || request.run(SIOCGIFINDEX) != 0) {
        return Error{.message = "there is no interface " + name, .remedy = "the interfaces here are: " + name_list()};
    }
    Interface interface;
    interface.name = name;
    interface.index = request.answer().ifr_ifindex;
    if (const int error = request.run(SIOCGIFMTU)) return failure(interface, "cannot read its MTU", error);
    interface.mtu = static_cast<std::uint32_t>(request.answer().ifr_mtu);
    if (const int error = request.run(SIOCGIFHWADDR)) return failure(interface, "cannot read its MAC address", error);
    const sockaddr& hardware = request.answer().ifr_hwaddr;
    if (hardware.sa_family != ARPHRD_ETHER) {
        return Error{.message = "interface " + name + " is no Ethernet interface", .remedy = "use one that is"};
    }
    std::memcpy(interface.mac.bytes.data(), hardware.sa_data, interface.mac.bytes.size());
    return interface;
}

Status require_queues(const Interface& interface, std::uint32_t queues) {
    const auto has = queues_of(interface);
    if (!has) return has.error();
    if (has->now == queues) return Done{};
    return Error{.message = "interface " + interface.name + " has " + std::to_string(has->now) +
                            " receive queues, but queues = " + std::to_string(queues),
                 .remedy = queues_remedy(interface, *has, queues)};
}

Status prepare_offloads(const Interface& interface) {
    const auto before = offloads_of(interface);
    if (!before) return before.error();
    if ((*before & unwanted_offloads) == 0) return Done{};
    ethtool_value flags{};
    flags.cmd = ETHTOOL_SFLAGS;
    flags.data = *before & ~unwanted_offloads;
    const int error = InterfaceRequest(interface.name).ethtool(flags);
    const auto after = offloads_of(interface);
    if (after && (*after & unwanted_offloads) == 0) return Done{};
    return failure(
        interface,
        "cannot switch off receive VLAN offload and LRO (ethtool -K " + interface.name + " rxvlan off lro off)",
        error != 0 ? error : EOPNOTSUPP);
}

Result<InterfaceLock> InterfaceLock::take(const Interface& interface) {
    // An abstract socket name: it belongs to the network namespace, as the interface does, and leaves nothing behind.
    const std::string name = "shunt/interface/" + std::to_string(interface.index);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
    Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0) {
        return InterfaceLock(std::move(socket));
    }
    if (errno != EADDRINUSE) return failure(interface, "cannot lock it", errno);
    return Error{.message = "interface " + interface.name + " is in use by another shunt-dataplane",
                 .remedy = "stop that one first, or give this one another interface"};
}

}  // namespace shunt::dataplane::xdp
