#include "dataplane/punt/punt_device.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <thread>
#include <utility>

namespace shunt::dataplane {
namespace {

constexpr char needed_rights[] = "run it as root, or with the capability CAP_NET_ADMIN";
constexpr auto predecessors_end = std::chrono::seconds(2);
constexpr auto look_again_after = std::chrono::milliseconds(10);

Error failure(const std::string& device, const std::string& what, int error) {
    return {.message = "punt device " + device + ": " + what + ": " + std::strerror(error),
            .remedy = error == EPERM || error == EACCES ? needed_rights : ""};
}

ifreq request_about(const std::string& device) {
    ifreq request{};
    device.copy(request.ifr_name, IFNAMSIZ - 1);
    return request;
}

// One more queue of the device; the first one makes the device. 0 or the errno.
int attach_queue(int fd, const std::string& device, bool first) {
    ifreq request = request_about(device);
    const int flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | (first ? IFF_TUN_EXCL : 0);
    request.ifr_flags = static_cast<short>(flags);
    return ::ioctl(fd, TUNSETIFF, &request) == 0 ? 0 : errno;
}

Status attach_first_queue(int fd, const std::string& device) {
    const auto deadline = std::chrono::steady_clock::now() + predecessors_end;
    int error = attach_queue(fd, device, true);
    while (error == EBUSY && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(look_again_after);
        error = attach_queue(fd, device, true);
    }
    if (error == 0) return Done{};
    if (error != EBUSY) return failure(device, "cannot be made", error);
    return Error{.message = "there is an interface " + device + " already, and it is not this data plane's",
                 .remedy = "ip link delete " + device + ", or rename the port"};
}

// `alone`: nobody else may have the device.
Result<std::vector<xdp::Descriptor>> attach_queues(const PuntSettings& settings, bool alone) {
    std::vector<xdp::Descriptor> queues;
    for (std::uint16_t i = 0; i < settings.queues; ++i) {
        xdp::Descriptor queue(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
        if (!queue) return failure(settings.name, "cannot open /dev/net/tun", errno);
        if (i == 0 && alone) {
            if (const auto done = attach_first_queue(queue.get(), settings.name); !done) return done.error();
        } else if (const int error = attach_queue(queue.get(), settings.name, false)) {
            return failure(settings.name, "cannot have one queue for each worker", error);
        }
        queues.push_back(std::move(queue));
    }
    return queues;
}

Status run(const std::string& device, unsigned long command, ifreq request, const char* what) {
    const xdp::Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (::ioctl(socket.get(), command, &request) == 0) return Done{};
    return failure(device, what, errno);
}

Status set_link(const PuntSettings& settings) {
    ifreq address = request_about(settings.name);
    address.ifr_hwaddr.sa_family = ARPHRD_ETHER;
    std::copy(settings.mac.bytes.begin(), settings.mac.bytes.end(), address.ifr_hwaddr.sa_data);
    ifreq mtu = request_about(settings.name);
    mtu.ifr_mtu = static_cast<int>(settings.mtu);
    const auto done = run(settings.name, SIOCSIFHWADDR, address, "cannot bear the port's MAC address");
    return done ? run(settings.name, SIOCSIFMTU, mtu, "cannot have the port's MTU") : done;
}

Status bring_up(const std::string& device) {
    ifreq flags = request_about(device);  // without multicast: reports to routers would go nowhere
    flags.ifr_flags = IFF_UP | IFF_NOARP;
    return run(device, SIOCSIFFLAGS, flags, "cannot be brought up");
}

std::string read_setting(const std::string& key) {
    std::ifstream file("/proc/sys/net/" + key);
    std::string value;
    file >> value;
    return value;  // empty: there is no such setting
}

Status set(const std::string& device, const std::string& key, const std::string& value) {
    const std::string now = read_setting(key);
    if (now.empty() || now == value) return Done{};
    std::ofstream file("/proc/sys/net/" + key);
    file << value << std::flush;
    if (file) return Done{};
    return Error{.message = "punt device " + device + ": cannot set net/" + key + " to " + value + " from " + now,
                 .remedy = "make /proc/sys writable, or: sysctl -w net/" + key + "=" + value};
}

struct Setting {
    const char* family;
    const char* name;
    const char* value;
};

// What arrives may come from an address of this host (a reply that was translated to the VIP), and from anywhere. IPv6
// needs no such permission; a host without IPv6 has none of its settings, an older kernel no force_forwarding.
constexpr Setting settings_of_device[] = {
    {"ipv4", "rp_filter", "0"},        {"ipv4", "accept_local", "1"},  {"ipv4", "forwarding", "1"},
    {"ipv6", "accept_ra", "0"},        {"ipv6", "addr_gen_mode", "1"},  // none
    {"ipv6", "force_forwarding", "1"},
};

}  // namespace

bool PuntQueue::put(std::span<std::byte> frame) noexcept {
    if (fd_ < 0 || frame.size() < mac_.bytes.size()) return false;
    auto* destination = reinterpret_cast<std::uint8_t*>(frame.data());
    const auto is_destination = [&](const MacAddress& mac) {
        return std::equal(mac.bytes.begin(), mac.bytes.end(), destination);
    };
    if (std::any_of(virtual_macs_.begin(), virtual_macs_.end(), is_destination)) {
        std::copy(mac_.bytes.begin(), mac_.bytes.end(), destination);
    }
    return ::write(fd_, frame.data(), frame.size()) > 0;
}

std::string punt_device_name(std::string_view run_directory, std::string_view port) {
    constexpr std::size_t readable = 4;
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (const std::string_view part : {run_directory, std::string_view("\0", 1), port}) {
        for (const char c : part) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    std::string name = "punt-";
    for (const char c : port.substr(0, readable)) {
        const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        name += plain ? c : '_';
    }
    char tail[8];
    std::snprintf(tail, sizeof tail, "-%05x", static_cast<unsigned>(hash >> 44));
    return name + tail;
}

Result<PuntDevice> PuntDevice::create(PuntSettings settings) { return make(std::move(settings), true); }

Result<PuntDevice> PuntDevice::join(PuntSettings settings) { return make(std::move(settings), false); }

Result<PuntDevice> PuntDevice::make(PuntSettings settings, bool alone) {
    auto queues = attach_queues(settings, alone);
    if (!queues) return queues.error();
    PuntDevice device(std::move(settings), *std::move(queues));
    if (const auto done = set_link(*device.settings_); !done) return done.error();
    if (const auto done = device.apply_settings(); !done) return done.error();
    if (const auto done = bring_up(device.name()); !done) return done.error();
    return device;
}

Status PuntDevice::apply_settings() const {
    for (const auto& setting : settings_of_device) {
        const std::string key = std::string(setting.family) + "/conf/" + name() + "/" + setting.name;
        if (auto done = set(name(), key, setting.value); !done) return done;
    }
    return Done{};
}

Status PuntDevice::keep() const {
    if (auto done = apply_settings(); !done) return done;
    const std::string filter = read_setting("ipv4/conf/all/rp_filter");
    if (filter.empty() || filter == "0") return Done{};
    return Error{.message = "net.ipv4.conf.all.rp_filter is " + filter + ": the kernel drops what comes from " +
                            name() + ", that is fragments and packets to clients whose link address is unknown",
                 .remedy = "sysctl -w net.ipv4.conf.all.rp_filter=0; interfaces may keep their own setting"};
}

}  // namespace shunt::dataplane
