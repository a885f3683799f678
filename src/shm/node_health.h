// What a data plane says of its own fitness (NodeHealth in layout.h), in words.
#pragma once

#include <span>
#include <string>

#include "src/shm/layout.h"

namespace shunt::shm {

// "worker 1 stands still", "port lan0 has no link"; empty: nothing is wrong. `ports` are those of the state region.
std::string text_of(const NodeHealth& health, std::span<const PortBlock> ports);

}  // namespace shunt::shm
