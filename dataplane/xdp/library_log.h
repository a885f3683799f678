// What libxdp, through which DPDK opens its sockets, has to say. It would write to stderr; a worker that opens the
// second queue of an interface makes it complain about a program that it did not load, which is as we want it.
#pragma once

namespace shunt::dataplane::xdp {

// From now on, a line at a time. For the whole process.
void set_library_log(void (*log)(const char* line));

}  // namespace shunt::dataplane::xdp
