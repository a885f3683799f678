// Runs the nft program. Not libnftables: that library calls exit() when memory is short and abort() when it meets a
// bug, which a program may do and a library in the deciding process may not.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "src/base/result.h"

namespace shunt::controlplane {

// `nft ARGUMENTS`, with `input` as its standard input, in the network namespace of the calling thread. Returns what it
// printed; an error bears its first line. Blocks until nft is done, at most ten seconds.
Result<std::string> run_nft(const std::vector<std::string>& arguments, std::string_view input);

}  // namespace shunt::controlplane
