// Keeps addresses on an interface for a routing daemon to export: VIPs on a dummy device.
//
// The kernel remembers whose an address is (IFA_PROTO, Linux 5.18 and later): ours carry a number of their own, and no
// other is ever touched, whatever it is and wherever it stands. So nothing has to be remembered here: a process that
// starts finds what one before it left. What is there stays when this process ends, in whatever way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/net/address.h"

namespace shunt::controlplane {

struct Announcement {
    std::string device{};                // empty: none
    std::vector<IpAddress> addresses{};  // in any order
    bool operator==(const Announcement&) const = default;
};

struct DeviceAddress {
    IpAddress address{};
    std::uint8_t prefix_length{};
    bool ours{};
};

// What has to be done so that all of `wanted` are on a device, and of ours no others. Pure.
struct AddressChanges {
    std::vector<IpAddress> add{};
    std::vector<DeviceAddress> remove{};
};
AddressChanges address_changes(const std::vector<DeviceAddress>& present, std::vector<IpAddress> wanted);

class Announcer {
  public:
    // Makes it so, the device included if it is missing; takes what is ours off the device of the call before, if that
    // was another. Blocks for as long as the kernel takes: some microseconds for an address. An error leaves what was
    // done until then; the next call goes on from there.
    Status announce(const Announcement& announcement);
    // What is ours on a device, left by a process before this one. None if there is no such device.
    Result<std::vector<IpAddress>> found_on(const std::string& device);

  private:
    std::string device_{};  // where there may be addresses of ours
};

}  // namespace shunt::controlplane
