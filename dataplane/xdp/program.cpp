#include "dataplane/xdp/program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string_view>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include "dataplane/xdp/steer.skel.h"
#pragma GCC diagnostic pop

namespace shunt::dataplane::xdp {
namespace {

// Whether a program is Shunt's is told by this map of it; its name says only "for AF_XDP", and libxdp's own bears it
// too.
constexpr std::string_view build_map_name = ".rodata.shunt";

// Equal object code, equal number (FNV-1a): whoever finds it attached knows every rule and every map.
std::uint64_t build_number() {
    std::size_t size = 0;
    const auto* bytes = static_cast<const unsigned char*>(steer__elf_bytes(&size));
    std::uint64_t hash = 0xcbf29ce484222325;
    for (std::size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

using Skeleton = std::unique_ptr<steer, decltype(&steer__destroy)>;

Result<Skeleton> load(const Interface& interface) {
    Skeleton skeleton(steer__open(), steer__destroy);
    if (!skeleton) return kernel_failure(interface, "cannot open the steering program", errno);
    skeleton->rodata_shunt->shunt_build = build_number();
    if (const int error = steer__load(skeleton.get())) {
        return kernel_failure(interface, "the kernel refuses the steering program", -error);
    }
    return skeleton;
}

Error attach_failure(const Interface& interface, Mode mode, int error) {
    Error result = kernel_failure(interface, "cannot attach the steering program", error);
    if (error == EOPNOTSUPP && mode == Mode::native) {
        result.remedy = "its driver has no native XDP: set xdp = \"generic\" for this port, which is slow";
    } else if (error == ERANGE || error == EINVAL) {
        result.remedy = "often its MTU is too large for XDP: ip link set dev " + interface.name + " mtu 1500";
    }
    return result;
}

}  // namespace

std::optional<std::uint64_t> build_of(const Program& program) {
    const Descriptor map = find_map(program, build_map_name);
    const std::uint32_t key = 0;
    std::uint64_t build = 0;
    if (!map || bpf_map_lookup_elem(map.get(), &key, &build) != 0) return std::nullopt;
    return build;
}

Result<Program> prepare_program(const Interface& interface, Mode mode) {
    auto current = attached_program(interface);
    if (!current) return current;
    if (current->descriptor) {
        const auto build = build_of(*current);
        if (!build) return foreign_program(interface, *current, "Shunt");
        if (current->mode == mode && build == build_number()) return current;
    }
    const LibbpfMessages messages;
    const auto skeleton = load(interface);
    if (!skeleton) return skeleton.error();
    Program program;
    program.descriptor = Descriptor::copy_of(bpf_program__fd((*skeleton)->progs.xsk_def_prog));
    program.mode = mode;
    if (!program.descriptor) return kernel_failure(interface, "cannot keep the steering program", errno);
    return program;
}

Status put_in_place(const Interface& interface, const Program& program) {
    if (program.id != 0) return Done{};  // it was there
    const auto current = attached_program(interface);
    if (!current) return current.error();
    const LibbpfMessages messages;
    const int error = attach(interface, program.descriptor.get(), program.mode, *current);
    return error == 0 ? Status(Done{}) : attach_failure(interface, program.mode, error);
}

Result<Program> ensure_program(const Interface& interface, Mode mode) {
    auto program = prepare_program(interface, mode);
    if (!program || program->id != 0) return program;
    if (auto done = put_in_place(interface, *program); !done) return done.error();
    return attached_program(interface);
}

Status remove_program(const Interface& interface) {
    const auto current = attached_program(interface);
    if (!current) return current.error();
    if (!current->descriptor) return Done{};
    if (!build_of(*current)) return foreign_program(interface, *current, "Shunt");
    const LibbpfMessages messages;
    if (const int error = detach(interface, *current)) {
        return kernel_failure(interface, "cannot detach the steering program", error);
    }
    return Done{};
}

Result<Descriptor> map_of(const Interface& interface, const Program& program, const std::string& name) {
    Descriptor map = find_map(program, name);
    if (map) return map;
    return kernel_failure(interface, "cannot open the map " + name + " of its steering program", errno);
}

}  // namespace shunt::dataplane::xdp
