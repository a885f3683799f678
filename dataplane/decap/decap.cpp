#include "dataplane/decap/decap.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <memory>

#include "dataplane/decap/decap_maps.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include "dataplane/decap/decap.skel.h"
#pragma GCC diagnostic pop

namespace shunt::dataplane::decap {
namespace {

// A program with this map is ours.
constexpr char settings_map_name[] = ".rodata.decap";
constexpr char owner[] = "shunt-decap";

static_assert(static_cast<int>(ForwardingMode::l3dsr) == decap_l3dsr);
static_assert(static_cast<int>(ForwardingMode::ipip) == decap_ipip);
static_assert(static_cast<int>(ForwardingMode::gre) == decap_gre);
static_assert(static_cast<int>(ForwardingMode::gue) == decap_gue);

using Skeleton = std::unique_ptr<::decap, decltype(&decap__destroy)>;

decap_address map_address(const IpAddress& address) { return std::bit_cast<decap_address>(address.bytes()); }

decap_prefix map_prefix(const Prefix& prefix) {
    constexpr std::uint32_t mapped = 96;
    return {.length = prefix.length + (prefix.address.is_v4() ? mapped : 0), .address = map_address(prefix.address)};
}

std::uint32_t vip_index(const MarkedVip& marked) {
    return marked.dscp + (marked.vip.is_v4() ? 0U : std::uint32_t{decap_dscps});
}

Status fill(const xdp::Interface& interface, const Settings& settings, const Skeleton& skeleton) {
    const std::uint8_t present = 1;
    for (const auto& source : settings.sources) {
        const decap_prefix key = map_prefix(source);
        if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.sources), &key, &present, BPF_ANY) == 0) continue;
        return xdp::kernel_failure(interface, "cannot take another source", errno);
    }
    for (const auto& marked : settings.vips) {
        const std::uint32_t key = vip_index(marked);
        const decap_address vip = map_address(marked.vip);
        if (bpf_map_update_elem(bpf_map__fd(skeleton->maps.vips), &key, &vip, BPF_ANY) == 0) continue;
        return xdp::kernel_failure(interface, "cannot take another VIP", errno);
    }
    return Done{};
}

Result<Skeleton> load(const xdp::Interface& interface, const Settings& settings) {
    Skeleton skeleton(decap__open(), decap__destroy);
    if (!skeleton) return xdp::kernel_failure(interface, "cannot open the program", errno);
    skeleton->rodata_decap->mode = static_cast<std::uint32_t>(settings.mode);
    skeleton->rodata_decap->gue_port = htons(settings.port);
    if (const int error = decap__load(skeleton.get())) {
        return xdp::kernel_failure(interface, "the kernel refuses the program", -error);
    }
    if (const auto filled = fill(interface, settings, skeleton); !filled) return filled.error();
    return skeleton;
}

// What is attached, if it is ours; a descriptor that holds nothing, if nothing is.
Result<xdp::Program> own_program(const xdp::Interface& interface) {
    auto current = xdp::attached_program(interface);
    if (!current || !current->descriptor) return current;
    if (!xdp::find_map(*current, settings_map_name)) return xdp::foreign_program(interface, *current, owner);
    return current;
}

std::uint64_t sum_of(int map, std::uint32_t counter) {
    std::vector<std::uint64_t> per_cpu(static_cast<std::size_t>(std::max(libbpf_num_possible_cpus(), 1)));
    std::uint64_t sum = 0;
    if (bpf_map_lookup_elem(map, &counter, per_cpu.data()) != 0) return 0;
    for (const auto count : per_cpu) sum += count;
    return sum;
}

}  // namespace

Result<Placed> place(const xdp::Interface& interface, const Settings& settings) {
    const auto current = own_program(interface);
    if (!current) return current.error();
    const xdp::LibbpfMessages messages;
    const auto skeleton = load(interface, settings);
    if (!skeleton) return skeleton.error();
    const int program = bpf_program__fd((*skeleton)->progs.shunt_decap);
    Placed placed{.replaced = static_cast<bool>(current->descriptor)};
    int error = xdp::attach(interface, program, xdp::Mode::native, *current);
    if (error == 0) return placed;
    placed.mode = xdp::Mode::generic;
    placed.native_refused = std::strerror(error);
    const auto left = xdp::attached_program(interface);  // a generic one has gone to make room for the native one
    if (!left) return left.error();
    error = xdp::attach(interface, program, xdp::Mode::generic, *left);
    if (error == 0) return placed;
    return xdp::kernel_failure(interface, "cannot attach the program", error);
}

Result<bool> remove(const xdp::Interface& interface) {
    const auto current = own_program(interface);
    if (!current) return current.error();
    if (!current->descriptor) return false;
    const xdp::LibbpfMessages messages;
    const int error = xdp::detach(interface, *current);
    if (error == 0) return true;
    return xdp::kernel_failure(interface, "cannot detach the program", error);
}

Result<std::optional<Report>> report(const xdp::Interface& interface) {
    const auto current = own_program(interface);
    if (!current) return current.error();
    if (!current->descriptor) return std::optional<Report>{};
    const xdp::Descriptor counters = xdp::find_map(*current, "counters");
    return std::optional<Report>({.mode = current->mode,
                                  .undone = sum_of(counters.get(), decap_undone),
                                  .congested = sum_of(counters.get(), decap_congested)});
}

}  // namespace shunt::dataplane::decap
