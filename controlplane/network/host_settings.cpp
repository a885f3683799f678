#include "controlplane/network/host_settings.h"

#include <fstream>

namespace shunt::controlplane {

std::vector<std::string> host_warnings() {
    std::ifstream file("/proc/sys/net/ipv4/conf/all/rp_filter");
    int filter = 0;
    file >> filter;
    if (filter == 0) return {};
    // The kernel takes the larger of this and the device's own, which the data plane keeps at 0.
    return {"net.ipv4.conf.all.rp_filter is " + std::to_string(filter) +
            ": the kernel drops what the data plane hands over to it (fragments, packets to clients whose link address "
            "is unknown); set it to 0, interfaces may keep their own setting"};
}

}  // namespace shunt::controlplane
