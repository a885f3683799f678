// The XDP program of an interface as the kernel holds it, whoever's it is: finding it and its maps, putting another in
// its place, taking it away. No pins: a program is found through its interface, its maps through the program.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "dataplane/xdp/descriptor.h"
#include "dataplane/xdp/interface.h"
#include "src/base/result.h"

namespace shunt::dataplane::xdp {

// Native: in the driver. Generic: in the stack, slow, and it lets oversized frames in.
enum class Mode { native, generic };

struct Program {
    Descriptor descriptor;
    std::uint32_t id{};
    std::string name;
    Mode mode{};
};

// What is attached to the interface now. No program: a descriptor that holds nothing.
Result<Program> attached_program(const Interface& interface);

// Puts a program in the place of `current`, which is what attached_program said, in one step where the mode stays the
// same; if somebody else was quicker, nothing happens. 0 or the errno.
int attach(const Interface& interface, int program, Mode mode, const Program& current);
int detach(const Interface& interface, const Program& current);

// The map of that name which the program uses; holds nothing if there is none.
Descriptor find_map(const Program& program, std::string_view name);

// The refusal to touch a program that is not of `owner`.
Error foreign_program(const Interface& interface, const Program& program, const std::string& owner);

// libbpf and, through it, the kernel explain failures in text only: collected, on this thread, while one of these
// lives, for kernel_failure to add.
class LibbpfMessages {
  public:
    LibbpfMessages();
    LibbpfMessages(const LibbpfMessages&) = delete;
    LibbpfMessages& operator=(const LibbpfMessages&) = delete;
    ~LibbpfMessages();

  private:
    libbpf_print_fn_t previous_;
};
Error kernel_failure(const Interface& interface, const std::string& what, int error);

}  // namespace shunt::dataplane::xdp
