// Settings of this host that stand in Shunt's way.
#pragma once

#include <string>
#include <vector>

namespace shunt::controlplane {

// As they are now, in the network namespace of the calling thread; a sentence for each that should be changed.
std::vector<std::string> host_warnings();

}  // namespace shunt::controlplane
