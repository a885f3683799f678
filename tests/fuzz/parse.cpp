// Fuzzes parse alone: what it says of a packet lies inside the packet, and it reads nothing behind it.
#include "dataplane/path/parse.h"

#include <cstdint>
#include <cstring>
#include <memory>

#include "src/base/assert.h"

using namespace shunt;
using namespace shunt::dataplane;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto packet =
        std::make_unique<std::byte[]>(size);  // of exactly this size, so that the sanitizer sees its end
    if (size > 0) std::memcpy(packet.get(), data, size);
    Lane lane;
    lane.bytes = packet.get();
    lane.length = static_cast<std::uint32_t>(size);
    const Verdict verdict = parse(lane);
    SHUNT_ASSERT(std::memcmp(packet.get(), data, size) == 0 || size == 0);
    Lane at_a_glance = lane;  // the step has a shorter text for plain packets, which says the same
    static_cast<Reading&>(at_a_glance) = {};
    SHUNT_ASSERT(Parse{}.apply(at_a_glance) == verdict);
    SHUNT_ASSERT(static_cast<const Reading&>(at_a_glance) == static_cast<const Reading&>(lane));
    if (!verdict.keeps()) return 0;
    SHUNT_ASSERT(lane.l3_offset >= sizeof(EthernetHeader));
    SHUNT_ASSERT(lane.l3_offset + lane.ip_length <= size);
    if (lane.unsupported != shm::DropReason::not_dropped) return 0;
    SHUNT_ASSERT(lane.l4_offset > lane.l3_offset && lane.l4_offset <= lane.l3_offset + lane.ip_length);
    const std::uint32_t end = lane.is_quote() ? lane.quote_l4 : lane.l4_offset + (lane.is_tcp() ? 20U : 8U);
    SHUNT_ASSERT(lane.part == Part::later || end <= std::uint32_t{lane.l3_offset} + lane.ip_length);
    return 0;
}
