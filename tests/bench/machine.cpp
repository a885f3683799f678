#include "tests/bench/machine.h"

#include <x86intrin.h>

#include <cstdint>
#include <fstream>
#include <string>

#include "src/base/clock.h"
#include "tests/bench/balancer.h"

namespace shunt::bench {
namespace {

// The first line of a file that begins so, from there on; empty: there is none.
std::string line_of(const char* file, std::string_view beginning) {
    std::ifstream lines(file);
    for (std::string line; std::getline(lines, line);) {
        if (line.starts_with(beginning)) return line.substr(beginning.size());
    }
    return {};
}

std::uint64_t number_of(const char* file, std::string_view beginning = {}) {
    const std::string text = line_of(file, beginning);
    return text.empty() ? 0 : std::stoull(text);
}

std::uint64_t clock_megahertz() {
    const MonotonicClock clock;
    const Instant begin = clock.now();
    const std::uint64_t first = __rdtsc();
    while (clock.now() - begin < Duration::milliseconds(50)) continue;
    const auto nanoseconds = static_cast<std::uint64_t>((clock.now() - begin).nanoseconds);
    return (__rdtsc() - first) * 1000 / nanoseconds;
}

std::string pages(std::uint64_t reserved) {
    if (reserved > 0) return "reserved";
    const bool none = line_of("/sys/kernel/mm/transparent_hugepage/enabled", {}).find("[never]") != std::string::npos;
    return none ? "small" : "transparent";
}

}  // namespace

nlohmann::json machine() {
    const std::string cpu = line_of("/proc/cpuinfo", "model name");
    const std::uint64_t reserved = number_of("/proc/sys/vm/nr_hugepages");
    return {{"cpu", cpu.substr(std::min(cpu.size(), cpu.find(':') + 2))},
            {"tsc_mhz", clock_megahertz()},
            {"hugepages", reserved},
            {"pages", pages(reserved)}};
}

void need_memory(std::uint64_t bytes) {
    constexpr std::uint64_t for_all_else = std::uint64_t{512} << 20;
    constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;
    const std::uint64_t reserved = number_of("/proc/meminfo", "HugePages_Free:") * huge_page;
    const std::uint64_t available = number_of("/proc/meminfo", "MemAvailable:") * 1024;
    if (reserved >= bytes || available >= bytes + for_all_else) return;
    throw CannotRun("needs " + std::to_string((bytes + for_all_else) >> 20) + " MiB of memory, " +
                    std::to_string(available >> 20) + " are available");
}

}  // namespace shunt::bench
