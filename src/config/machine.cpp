#include "src/config/machine.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>

#include "src/config/file.h"
#include "src/config/finder.h"
#include "src/shm/state.h"

namespace shunt::config {
namespace {

// The number behind "KEY:" at the beginning of a line; 0 if there is none.
std::uint64_t field(std::string_view text, std::string_view key) {
    for (std::size_t at = 0; at < text.size(); at = std::min(text.find('\n', at), text.size() - 1) + 1) {
        std::string_view line = text.substr(at);
        if (!line.starts_with(key) || line.substr(key.size(), 1) != ":") continue;
        line.remove_prefix(key.size() + 1);
        line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
        std::uint64_t value = 0;
        std::from_chars(line.data(), line.data() + line.size(), value);
        return value;
    }
    return 0;
}

std::string mebibytes(std::uint64_t bytes) { return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB"; }

}  // namespace

Machine parse_meminfo(std::string_view text) {
    const std::uint64_t free = field(text, "HugePages_Free");
    const std::uint64_t promised = std::min(free, field(text, "HugePages_Rsvd"));
    return {.memory = field(text, "MemTotal") << 10,
            .available = field(text, "MemAvailable") << 10,
            .huge_available = (free - promised) * (field(text, "Hugepagesize") << 10)};
}

Machine this_machine() {
    const auto text = read_text("/proc/meminfo");
    return text ? parse_meminfo(*text) : Machine{};
}

Findings examine_memory(const DesiredState& state, const Machine& machine, const Positions& positions) {
    if (machine.memory == 0) return {};
    const Dataplane& dataplane = state.dataplane;
    const std::uint64_t needed = shm::StateLayout::of(shm::state_shape(dataplane.workers, dataplane.flows)).total;
    const std::string needs = number(dataplane.flows) + " flows on " + number(dataplane.workers) + " workers need " +
                              mebibytes(needed) + " of memory, counters included; ";
    Finder finder(state, positions);
    const auto path = Finder::top("dataplane").child("flows");
    if (needed > machine.memory) {
        finder.refuse(path, needs + "this machine has " + mebibytes(machine.memory),
                      "use fewer flows: a million takes 31 MiB");
    } else if (needed > std::max(machine.available, machine.huge_available)) {
        finder.warn(path,
                    needs + "free now are " + mebibytes(machine.available) + ", and " +
                        mebibytes(machine.huge_available) + " in huge pages",
                    "have one of them free when shunt-dataplane starts, unless it has the same flows already");
    }
    return finder.take();
}

Findings examine_here(const DesiredState& state, const Positions& positions) {
    Findings findings = examine(state, positions);
    Findings memory = examine_memory(state, this_machine(), positions);
    std::ranges::move(memory.errors, std::back_inserter(findings.errors));
    std::ranges::move(memory.warnings, std::back_inserter(findings.warnings));
    return findings;
}

}  // namespace shunt::config
