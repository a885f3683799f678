// The steering program on an interface: loading ours, putting it in place, taking it away.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dataplane/xdp/attachment.h"
#include "dataplane/xdp/descriptor.h"
#include "dataplane/xdp/interface.h"
#include "src/base/result.h"

namespace shunt::dataplane::xdp {

// Of a steering program of ours only: equal for equal object code.
std::optional<std::uint64_t> build_of(const Program& program);

// Leaves this build of our program attached in that mode: the one that is there already, maps and all, if it is of this
// build, else a new one that replaces a leftover of another build. A program that is not Shunt's is refused by name.
Result<Program> ensure_program(const Interface& interface, Mode mode);
// The same in two steps, so that one of this build can be made complete before it replaces the other: a program that is
// in force already if it is of this build, else one that nothing leads to before put_in_place.
Result<Program> prepare_program(const Interface& interface, Mode mode);
Status put_in_place(const Interface& interface, const Program& program);

// Takes a program of ours away, of whichever build. No program is fine, one that is not Shunt's is refused by name.
Status remove_program(const Interface& interface);

// The map of that name which the steering program uses.
Result<Descriptor> map_of(const Interface& interface, const Program& program, const std::string& name);

}  // namespace shunt::dataplane::xdp
