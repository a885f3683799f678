// DPDK's environment (EAL): started once per process, with arguments made from the configuration, and never cleaned up:
// rte_eal_cleanup closes ports, and closing an af_xdp port detaches whatever program is on its interface.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "dataplane/dpdk/memory.h"
#include "src/base/index.h"
#include "src/base/result.h"

namespace shunt::dataplane::dpdk {

struct Cores {
    std::vector<std::uint16_t> workers{};  // worker i runs on workers[i] alone
    std::vector<std::uint16_t> main{};     // the main thread floats on these
};

// The cores this thread may run on, and what it starts; before EAL starts, those of the process.
std::vector<std::uint16_t> allowed_cores();
void run_on(const std::vector<std::uint16_t>& cores);

// `wanted`: as configured; empty: the first ones allowed. Workers that poll need a core each; workers that sleep may
// share. The main thread gets what is left, or everything if nothing is.
Result<Cores> plan_cores(std::uint16_t workers, const std::vector<std::uint16_t>& wanted,
                         const std::vector<std::uint16_t>& allowed, bool may_share);

// What EAL is told. The main thread is lcore 0, worker i is lcore i + 1.
std::vector<std::string> eal_arguments(const Cores& cores, const MemoryPlan& memory);

// Starts EAL; the calling thread becomes the main lcore. EAL's own files go to DIRECTORY/dpdk. What DPDK has to say
// goes to `log`, a line at a time, from any thread; it must live as long as the process.
using LogLine = std::function<void(const std::string&)>;
Status start_environment(const std::vector<std::string>& arguments, const std::string& directory, LogLine log);

// What DPDK said last: the reason behind its error numbers.
std::string last_log_line();

// Runs `loop` on the core of this worker. `loop` must live until wait_for_workers returns.
Status launch_worker(WorkerIndex worker, const std::function<void()>& loop);
void wait_for_workers();

}  // namespace shunt::dataplane::dpdk
