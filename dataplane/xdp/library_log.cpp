#include "dataplane/xdp/library_log.h"

#include <xdp/libxdp.h>

#include <cstdio>
#include <cstring>

namespace shunt::dataplane::xdp {
namespace {

void (*write_line)(const char*) = nullptr;

[[gnu::format(printf, 2, 0)]] int write(libxdp_print_level level, const char* format, va_list arguments) {
    if (level == LIBXDP_DEBUG) return 0;
    char line[512];
    const int length = std::vsnprintf(line, sizeof line, format, arguments);
    line[std::strcspn(line, "\n")] = '\0';
    write_line(line);
    return length;
}

}  // namespace

void set_library_log(void (*log)(const char* line)) {
    write_line = log;
    libxdp_set_print(write);
}

}  // namespace shunt::dataplane::xdp
