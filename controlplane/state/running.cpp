#include "controlplane/state/running.h"

#include <algorithm>

#include "controlplane/compile/network_view.h"
#include "src/shm/state.h"

namespace shunt::controlplane {
namespace {

// The same port as the data plane means: by its device, which it cannot change; without one by its name.
bool is_same(const config::Port& desired, const RunningPort& running) {
    if (!running.device.empty()) return device_of(desired) == running.device;
    const bool has_interface = std::holds_alternative<config::AfXdpPort>(desired.kind);
    return !has_interface && desired.name.starts_with(running.name);  // which the state region cuts short
}

config::Port port_of(const std::vector<config::Port>& desired, const RunningPort& running) {
    const auto found =
        std::find_if(desired.begin(), desired.end(), [&](const config::Port& port) { return is_same(port, running); });
    if (found != desired.end()) return *found;
    config::Port port{.name = running.name, .kind = config::VdevPort{}};
    if (!running.device.empty()) port.kind = config::AfXdpPort{.device = running.device};
    return port;
}

std::string text_of(const std::string& name, const std::string& device) {
    return name + (device.empty() ? "" : " on " + device);
}

std::string desired_ports(const config::Dataplane& desired) {
    std::string all;
    for (const config::Port& port : desired.ports) {
        all += (all.empty() ? "" : ", ") + text_of(port.name, device_of(port));
    }
    return all.empty() ? "none" : all;
}

std::string running_ports(const Progress& progress) {
    std::string all;
    for (const RunningPort& port : progress.ports) {
        all += (all.empty() ? "" : ", ") + text_of(port.name, port.device);
    }
    return all;
}

bool same_ports(const config::Dataplane& desired, const Progress& progress) {
    return std::equal(desired.ports.begin(), desired.ports.end(), progress.ports.begin(), progress.ports.end(),
                      [](const config::Port& port, const RunningPort& running) {
                          return port.name.starts_with(running.name) && is_same(port, running);
                      });
}

}  // namespace

void fit_to_running(config::DesiredState& state, const Progress& progress) {
    if (progress.ports.empty()) return;
    std::vector<config::Port> ports;
    for (const RunningPort& running : progress.ports) ports.push_back(port_of(state.dataplane.ports, running));
    state.dataplane.ports = std::move(ports);
    std::erase_if(state.next_hops, [&](const config::NextHop& hop) {
        return std::none_of(state.dataplane.ports.begin(), state.dataplane.ports.end(),
                            [&](const config::Port& port) { return port.name == hop.port; });
    });
}

std::vector<std::string> differences(const config::Dataplane& desired, const Progress& progress) {
    std::vector<std::string> all;
    if (progress.ports.empty()) return all;  // none runs
    const auto differ = [&](const std::string& what, const std::string& running, const std::string& wanted) {
        all.push_back("the running data plane has other " + what + " than [dataplane] says: " + running + ", not " +
                      wanted + "; say the same in the file of shunt-dataplane's --config, and restart it");
    };
    const std::size_t workers = progress.workers.size();
    if (workers != desired.workers) differ("workers", std::to_string(workers), std::to_string(desired.workers));
    const auto count = static_cast<std::uint16_t>(workers);
    const auto wanted_buckets = shm::state_shape(count, desired.flows).buckets_per_worker;
    if (progress.buckets_per_worker != wanted_buckets) {
        differ("flows", "room for " + std::to_string(2 * progress.buckets_per_worker * workers),
               std::to_string(desired.flows));
    }
    if (!same_ports(desired, progress)) differ("ports", running_ports(progress), desired_ports(desired));
    return all;
}

}  // namespace shunt::controlplane
