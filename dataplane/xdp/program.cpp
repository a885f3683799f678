#include "dataplane/xdp/program.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

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

// libbpf and, through it, the kernel explain failures in text only: collected while one of these lives.
class LibbpfMessages {
  public:
    LibbpfMessages() : previous_(libbpf_set_print(collect)) { text_.clear(); }
    LibbpfMessages(const LibbpfMessages&) = delete;
    LibbpfMessages& operator=(const LibbpfMessages&) = delete;
    ~LibbpfMessages() { libbpf_set_print(previous_); }
    static const std::string& text() { return text_; }

  private:
    [[gnu::format(printf, 2, 0)]] static int collect(libbpf_print_level level, const char* format, va_list arguments) {
        if (level != LIBBPF_WARN) return 0;
        char line[512];
        const int length = std::vsnprintf(line, sizeof line, format, arguments);
        text_ += line;
        return length;
    }

    inline static thread_local std::string text_;
    libbpf_print_fn_t previous_;
};

Error failure(const Interface& interface, const std::string& what, int error) {
    std::string details = LibbpfMessages::text();
    while (!details.empty() && details.back() == '\n') details.pop_back();
    Error result{.message = "interface " + interface.name + ": " + what + ": " + std::strerror(error)};
    if (!details.empty()) result.message += " (" + details + ")";
    if (error == EPERM || error == EACCES) result.remedy = needed_rights;
    return result;
}

Error not_ours(const Interface& interface, const Program& program) {
    return {.message = "interface " + interface.name + " carries the XDP program \"" + program.name + "\" (id " +
                       std::to_string(program.id) + "), which is not Shunt's",
            .remedy = "if nothing needs it: ip link set dev " + interface.name + " " +
                      (program.mode == Mode::native ? "xdpdrv" : "xdpgeneric") + " off"};
}

std::uint32_t flag_of(Mode mode) { return mode == Mode::native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE; }

// Equal object code, equal number (FNV-1a): whoever finds it attached knows every rule and every map.
std::uint64_t build_number() {
    std::size_t size = 0;
    const auto* bytes = static_cast<const unsigned char*>(steer__elf_bytes(&size));
    std::uint64_t hash = 0xcbf29ce484222325;
    for (std::size_t i = 0; i < size; ++i) hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

std::vector<std::uint32_t> map_ids_of(int program) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) return {};
    std::vector<std::uint32_t> ids(info.nr_map_ids);
    info = {};
    info.nr_map_ids = static_cast<std::uint32_t>(ids.size());
    info.map_ids = reinterpret_cast<std::uintptr_t>(ids.data());
    if (bpf_obj_get_info_by_fd(program, &info, &size) != 0) return {};
    return ids;
}

Descriptor find_map(int program, std::string_view name) {
    for (const std::uint32_t id : map_ids_of(program)) {
        Descriptor map(bpf_map_get_fd_by_id(id));
        bpf_map_info info{};
        std::uint32_t size = sizeof info;
        if (map && bpf_obj_get_info_by_fd(map.get(), &info, &size) == 0 && name == info.name) return map;
    }
    return {};
}

std::optional<std::uint64_t> build_of(const Program& program) {
    const Descriptor map = find_map(program.descriptor.get(), build_map_name);
    const std::uint32_t key = 0;
    std::uint64_t build = 0;
    if (!map || bpf_map_lookup_elem(map.get(), &key, &build) != 0) return std::nullopt;
    return build;
}

Result<Program> open_program(const Interface& interface, std::uint32_t id, Mode mode) {
    Program program{
        .descriptor = Descriptor(bpf_prog_get_fd_by_id(id)), .id = id, .name = {}, .mode = mode, .build = {}};
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (!program.descriptor || bpf_obj_get_info_by_fd(program.descriptor.get(), &info, &size) != 0) {
        return failure(interface, "cannot read its XDP program (id " + std::to_string(id) + ")", errno);
    }
    program.name = info.name;
    program.build = build_of(program);
    return program;
}

using Skeleton = std::unique_ptr<steer, decltype(&steer__destroy)>;

Result<Skeleton> load(const Interface& interface) {
    Skeleton skeleton(steer__open(), steer__destroy);
    if (!skeleton) return failure(interface, "cannot open the steering program", errno);
    skeleton->rodata_shunt->shunt_build = build_number();
    if (const int error = steer__load(skeleton.get())) {
        return failure(interface, "the kernel refuses the steering program", -error);
    }
    return skeleton;
}

Status attach(const Interface& interface, int program, Mode mode, const Program& replaced) {
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    std::uint32_t flags = flag_of(mode);
    if (replaced.descriptor) {
        options.old_prog_fd = replaced.descriptor.get();
    } else {
        flags |= XDP_FLAGS_UPDATE_IF_NOEXIST;
    }
    const int error = -bpf_xdp_attach(interface.index, program, flags, &options);
    if (error == 0) return Done{};
    Error result = failure(interface, "cannot attach the steering program", error);
    if (error == EOPNOTSUPP && mode == Mode::native) {
        result.remedy = "its driver has no native XDP: set xdp = \"generic\" for this port, which is slow";
    } else if (error == ERANGE || error == EINVAL) {
        result.remedy = "often its MTU is too large for XDP: ip link set dev " + interface.name + " mtu 1500";
    }
    return result;
}

Status detach(const Interface& interface, const Program& program) {
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    options.old_prog_fd = program.descriptor.get();
    const int error = -bpf_xdp_detach(interface.index, flag_of(program.mode), &options);
    if (error != 0) return failure(interface, "cannot detach the steering program", error);
    return Done{};
}

}  // namespace

Result<Program> attached_program(const Interface& interface) {
    const LibbpfMessages messages;
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    if (const int error = bpf_xdp_query(interface.index, 0, &query)) {
        return failure(interface, "cannot ask for its XDP program", -error);
    }
    if (query.drv_prog_id != 0) return open_program(interface, query.drv_prog_id, Mode::native);
    if (query.skb_prog_id != 0) return open_program(interface, query.skb_prog_id, Mode::generic);
    if (query.hw_prog_id != 0) return open_program(interface, query.hw_prog_id, Mode::native);
    return Program{};
}

Result<Program> ensure_program(const Interface& interface, Mode mode) {
    auto current = attached_program(interface);
    if (!current) return current;
    const bool occupied = static_cast<bool>(current->descriptor);
    if (occupied && !current->build) return not_ours(interface, *current);
    if (occupied && current->mode == mode && current->build == build_number()) return current;

    const LibbpfMessages messages;
    const auto skeleton = load(interface);
    if (!skeleton) return skeleton.error();
    if (occupied && current->mode != mode) {  // the kernel does not hold both modes at once
        if (const auto done = detach(interface, *current); !done) return done.error();
        *current = Program{};
    }
    const auto done = attach(interface, bpf_program__fd((*skeleton)->progs.xsk_def_prog), mode, *current);
    if (!done) return done.error();
    return attached_program(interface);
}

Status remove_program(const Interface& interface) {
    const auto current = attached_program(interface);
    if (!current) return current.error();
    if (!current->descriptor) return Done{};
    if (!current->build) return not_ours(interface, *current);
    const LibbpfMessages messages;
    return detach(interface, *current);
}

Result<Descriptor> map_of(const Interface& interface, const Program& program, const std::string& name) {
    Descriptor map = find_map(program.descriptor.get(), name);
    if (map) return map;
    return failure(interface, "cannot open the map " + name + " of its steering program", errno);
}

}  // namespace shunt::dataplane::xdp
