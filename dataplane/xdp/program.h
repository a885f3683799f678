// The steering program as the kernel holds it: which one is attached, loading ours, putting it in place, taking it
// away. No pins: an attached program is found through its interface, its maps through the program.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dataplane/xdp/descriptor.h"
#include "dataplane/xdp/interface.h"
#include "src/base/result.h"

namespace shunt::dataplane::xdp {

// Native: in the driver. Generic: in the stack, slow, and it lets oversized frames in; only when asked for by name.
enum class Mode { native, generic };

struct Program {
    Descriptor descriptor;
    std::uint32_t id{};
    std::string name;
    Mode mode{};
    std::optional<std::uint64_t> build;  // of ours only: equal for equal object code
};

// What is attached to the interface now, whoever's it is. No program: a descriptor that holds nothing.
Result<Program> attached_program(const Interface& interface);

// Leaves this build of our program attached in that mode: the one that is there already, maps and all, if it is of this
// build, else a new one that replaces a leftover of another build. A program that is not Shunt's is refused by name.
Result<Program> ensure_program(const Interface& interface, Mode mode);

// Takes a program of ours away, of whichever build. No program is fine, one that is not Shunt's is refused by name.
Status remove_program(const Interface& interface);

// The map of that name which the program uses.
Result<Descriptor> map_of(const Interface& interface, const Program& program, const std::string& name);

}  // namespace shunt::dataplane::xdp
