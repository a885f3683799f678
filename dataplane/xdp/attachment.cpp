#include "dataplane/xdp/attachment.h"

#include <bpf/bpf.h>
#include <linux/if_link.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace shunt::dataplane::xdp {
namespace {

thread_local std::string libbpf_text;

[[gnu::format(printf, 2, 0)]] int collect(libbpf_print_level level, const char* format, va_list arguments) {
    if (level != LIBBPF_WARN) return 0;
    char line[512];
    const int length = std::vsnprintf(line, sizeof line, format, arguments);
    libbpf_text += line;
    return length;
}

std::uint32_t flag_of(Mode mode) { return mode == Mode::native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE; }

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

Result<Program> open_program(const Interface& interface, std::uint32_t id, Mode mode) {
    Program program{.descriptor = Descriptor(bpf_prog_get_fd_by_id(id)), .id = id, .name = {}, .mode = mode};
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (!program.descriptor || bpf_obj_get_info_by_fd(program.descriptor.get(), &info, &size) != 0) {
        return kernel_failure(interface, "cannot read its XDP program (id " + std::to_string(id) + ")", errno);
    }
    program.name = info.name;
    return program;
}

}  // namespace

LibbpfMessages::LibbpfMessages() : previous_(libbpf_set_print(collect)) { libbpf_text.clear(); }
LibbpfMessages::~LibbpfMessages() { libbpf_set_print(previous_); }

Error kernel_failure(const Interface& interface, const std::string& what, int error) {
    std::string details = libbpf_text;
    while (!details.empty() && details.back() == '\n') details.pop_back();
    Error result{.message = "interface " + interface.name + ": " + what + ": " + std::strerror(error)};
    if (!details.empty()) result.message += " (" + details + ")";
    if (error == EPERM || error == EACCES) result.remedy = needed_rights;
    return result;
}

Error foreign_program(const Interface& interface, const Program& program, const std::string& owner) {
    return {.message = "interface " + interface.name + " carries the XDP program \"" + program.name + "\" (id " +
                       std::to_string(program.id) + "), which is not " + owner + "'s",
            .remedy = "if nothing needs it: ip link set dev " + interface.name + " " +
                      (program.mode == Mode::native ? "xdpdrv" : "xdpgeneric") + " off"};
}

Result<Program> attached_program(const Interface& interface) {
    const LibbpfMessages messages;
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    if (const int error = bpf_xdp_query(interface.index, 0, &query)) {
        return kernel_failure(interface, "cannot ask for its XDP program", -error);
    }
    if (query.drv_prog_id != 0) return open_program(interface, query.drv_prog_id, Mode::native);
    if (query.skb_prog_id != 0) return open_program(interface, query.skb_prog_id, Mode::generic);
    if (query.hw_prog_id != 0) return open_program(interface, query.hw_prog_id, Mode::native);
    return Program{};
}

int attach(const Interface& interface, int program, Mode mode, const Program& current) {
    bool occupied = static_cast<bool>(current.descriptor);
    if (occupied && current.mode != mode) {  // the kernel does not hold both modes at once
        if (const int error = detach(interface, current)) return error;
        occupied = false;
    }
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    if (occupied) options.old_prog_fd = current.descriptor.get();
    const std::uint32_t flags = flag_of(mode) | (occupied ? 0 : XDP_FLAGS_UPDATE_IF_NOEXIST);
    return -bpf_xdp_attach(interface.index, program, flags, &options);
}

int detach(const Interface& interface, const Program& current) {
    LIBBPF_OPTS(bpf_xdp_attach_opts, options);
    options.old_prog_fd = current.descriptor.get();
    return -bpf_xdp_detach(interface.index, flag_of(current.mode), &options);
}

Descriptor find_map(const Program& program, std::string_view name) {
    for (const std::uint32_t id : map_ids_of(program.descriptor.get())) {
        Descriptor map(bpf_map_get_fd_by_id(id));
        bpf_map_info info{};
        std::uint32_t size = sizeof info;
        if (map && bpf_obj_get_info_by_fd(map.get(), &info, &size) == 0 && name == info.name) return map;
    }
    return {};
}

}  // namespace shunt::dataplane::xdp
