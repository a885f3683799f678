#include "src/shm/node_health.h"

#include <cstring>

namespace shunt::shm {

std::string text_of(const NodeHealth& health, std::span<const PortBlock> ports) {
    const std::string number = std::to_string(health.place);
    const auto port = [&] {
        if (health.place >= ports.size()) return "port " + number;
        const auto& name = ports[health.place].name;
        return "port " + std::string(name.data(), strnlen(name.data(), name.size()));
    };
    switch (health.fault) {
        case NodeFault::none:
            return {};
        case NodeFault::starting:
            return "it is starting";
        case NodeFault::no_tables:
            return "there are no tables to forward by";
        case NodeFault::worker_still:
            return "worker " + number + " stands still";
        case NodeFault::nothing_received:
            return port() + " receives nothing of what arrives for it";
        case NodeFault::link_down:
            return port() + " has no link";
        case NodeFault::stopping:
            return "it was stopped";
    }
    return "it says something that this version does not know";
}

}  // namespace shunt::shm
