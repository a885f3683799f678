// A port's way back to the kernel: a TAP with the port's MAC address. What a worker writes there the kernel takes for
// received, and answers, routes or refuses it as it would have done on the port's own interface.
//
// The device is the process's: it goes with its last descriptor, however the process ends, and the next one makes it
// anew. What the kernel sends into it nobody reads: no route leads there, it resolves no address, and the little that
// goes there all the same (an operator's tcpdump replay, a routing daemon's multicast) stays within the kernel's queue
// of fixed length, and is dropped beyond.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/xdp/descriptor.h"
#include "src/base/result.h"
#include "src/net/address.h"

namespace shunt::dataplane {

// What one worker writes to. A view: the device must outlive it.
class PuntQueue {
  public:
    PuntQueue() = default;  // leads nowhere: takes nothing

    // Hands one frame over. If it is to a virtual address of the port it is readdressed to the port: the TAP has only
    // one address. False: the kernel did not take it.
    bool put(std::span<std::byte> frame) noexcept;

  private:
    friend class PuntDevice;
    PuntQueue(int fd, const MacAddress& mac, std::span<const MacAddress> virtual_macs) noexcept
        : fd_(fd), mac_(mac), virtual_macs_(virtual_macs) {}

    int fd_{-1};
    MacAddress mac_{};
    std::span<const MacAddress> virtual_macs_{};
};

// Of at most 15 bytes, always the same for a port of an instance, and so far as a hash can tell of no other.
std::string punt_device_name(std::string_view run_directory, std::string_view port);

struct PuntSettings {
    std::string name{};
    MacAddress mac{};
    std::vector<MacAddress> virtual_macs{};
    std::uint32_t mtu{1500};
    std::uint16_t queues{1};
};

class PuntDevice {
  public:
    // In the network namespace of the calling thread. Refused if somebody else has a device of that name; a predecessor
    // that is just dying is waited for.
    static Result<PuntDevice> create(PuntSettings settings);
    // Beside a predecessor that has it, of the same name, and is going to end.
    static Result<PuntDevice> join(PuntSettings settings);

    PuntQueue queue(std::uint16_t index) const noexcept {
        return {queues_[index].get(), settings_->mac, settings_->virtual_macs};
    }
    const std::string& name() const noexcept { return settings_->name; }

    // Makes the device what it has to be, again: where udev runs, it gives every new device the distribution's defaults
    // a moment later. An error also if a setting of the whole host stands against it.
    Status keep() const;

  private:
    Status apply_settings() const;
    static Result<PuntDevice> make(PuntSettings settings, bool alone);

    PuntDevice(PuntSettings settings, std::vector<xdp::Descriptor> queues)
        : settings_(std::make_unique<const PuntSettings>(std::move(settings))), queues_(std::move(queues)) {}

    std::unique_ptr<const PuntSettings> settings_;  // queues look at it: it stays where it is
    std::vector<xdp::Descriptor> queues_;
};

}  // namespace shunt::dataplane
