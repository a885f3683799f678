#!/usr/bin/python3
"""Who may include whom: the walls of the house, read off the #include lines."""

import re

import house

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]')
GENERATED = re.compile(r"\.skel\.h$")

BASE = ["src/base/"]
NET = [*BASE, "src/net/"]
BALANCE = [*NET, "src/balance/"]
HEART = [*BALANCE, "src/shm/"]
# What is driven without DPDK: by unit tests, capture files, `shunt explain` and `shunt replay`.
PACKET_PATH = ["dataplane/path/", "dataplane/modes/", "dataplane/schedulers/", "dataplane/tables/",
               "dataplane/ports/(?!dpdk_)", "dataplane/(?!main)[^/]*$"]

# (who, whom they may include), both as beginnings of paths; the first that fits a file counts.
OWN = [
    ("src/base/", BASE),
    ("src/net/", NET),
    ("src/balance/", BALANCE),
    ("src/shm/", HEART),
    ("src/config/", [*HEART, "src/config/"]),
    ("src/api/", [*HEART, "src/config/", "src/api/"]),
    ("dataplane/main", ["src/", "dataplane/"]),
    (f"({'|'.join(PACKET_PATH)})", [*HEART, *PACKET_PATH]),
    # A program of its own, for the machines behind the balancer.
    ("dataplane/decap/", [*HEART, "dataplane/(decap|xdp)/"]),
    ("dataplane/", [*HEART, "dataplane/(?!main|decap)"]),
    # The one exception between the two processes: these verbs run the real packet path offline.
    ("controlplane/cli/(explain|replay|table_show)", ["src/", "controlplane/", *PACKET_PATH]),
    ("controlplane/cli/", ["src/", "controlplane/"]),
    ("controlplane/", ["src/", "controlplane/(?!cli/)"]),
    ("tests/", ["src/", "dataplane/", "controlplane/", "tests/"]),
]

TOML = r"toml(\+\+)?[./]"

# (headers, the only places that may include them, what they are)
ONLY_IN = [
    (r"rte_", "dataplane/dpdk/|dataplane/ports/dpdk_", "DPDK"),
    (r"(bpf|xdp)/", "dataplane/(xdp|decap)/|tests/(unit|system)/(xdp|decap)_", "libbpf and libxdp"),
    (r"netlink/", "dataplane/neighbours/|controlplane/network/", "libnl"),
    (TOML, r"src/config/[^/]*\.cpp$", "toml++"),
    (r"CLI/", "controlplane/cli/|(controlplane|dataplane)/main|dataplane/decap/main", "CLI11"),
    (r"(gtest|gmock|rapidcheck|benchmark)[./]", "tests/", "test libraries"),
    (r"(sys/(mman|file|stat|statfs|vfs)\.h|fcntl\.h|fstream|filesystem)$",
     "src/shm/region|src/config/file|dataplane/|controlplane/|tests/", "files and memory maps"),
]

# (headers, places that may not include them, what they are)
NEVER_IN = [
    (r"spdlog/", "src/|dataplane/(path|modes|schedulers|tables)/", "logging"),
    (r"(thread|mutex|shared_mutex|condition_variable|future|semaphore|stop_token|pthread\.h)$", "src/", "threads"),
    (r"(sys/socket\.h|sys/epoll\.h|netdb\.h)$", "src/|controlplane/(state|compile)/", "sockets"),
    (r"boost/", "src/|dataplane/|controlplane/(state|compile)/", "Boost"),
]
FILE_CALL = re.compile(r"(?<!\w)(fopen|mmap|::open)\s*\(")


def check(tree):
    problems = []
    toml_files = set()
    for path in tree.sources():
        for number, line in tree.lines(path):
            place = f"{path}:{number}"
            if found := INCLUDE.match(line):
                rule = own_include if found[1] == '"' else foreign_include
                problems += [f"{place}: {problem}" for problem in rule(tree, str(path), found[2])]
                toml_files |= {place} if re.match(TOML, found[2]) else set()
            elif re.match("src/(?!shm/region|config/file)", str(path)) and (call := FILE_CALL.search(line)):
                problems.append(f"{place}: {call[1]}: in src only src/shm/region.* and src/config/file.* open files")
    if len(toml_files) > 1:
        problems += [f"{place}: toml++ is slow to compile and stays in one file" for place in sorted(toml_files)]
    return problems


def own_include(tree, path, header):
    if not re.match("(src|dataplane|controlplane|tests)/", header):
        return [f'"{header}" does not name its room; write the path from the root of the repository']
    if not (tree.root / header).is_file() and not GENERATED.search(header):
        return [f'"{header}" does not exist']
    allowed = next(whom for who, whom in OWN if re.match(who, path))
    if not any(re.match(room, header) for room in allowed):
        return [f'this room may not include "{header}" (who may is in scripts/checks/includes.py)']
    return []


def foreign_include(_tree, path, header):
    problems = [f"<{header}>: {what} only in {where}"
                for headers, where, what in ONLY_IN if re.match(headers, header) and not re.match(where, path)]
    problems += [f"<{header}>: {what} never in {where}"
                 for headers, where, what in NEVER_IN if re.match(headers, header) and re.match(where, path)]
    return problems


def including(*headers):
    return "".join(f"#include {header}\n" for header in headers)


GOOD = {
    "src/base/result.h": including("<cstdint>"),
    "src/net/address.h": including('"src/base/result.h"'),
    "src/config/read.cpp": including("<toml++/toml.h>", '"src/net/address.h"'),
    "src/shm/region.cpp": including("<sys/mman.h>") + "void* p = mmap(nullptr);\n",
    "dataplane/batch.h": including('"src/net/address.h"'),
    "dataplane/path/parse.h": including('"dataplane/batch.h"'),
    "dataplane/dpdk/eal.h": including("<rte_eal.h>", "<spdlog/spdlog.h>"),
    "dataplane/xdp/load.cpp": including("<bpf/libbpf.h>", '"dataplane/xdp/steer.skel.h"'),
    "dataplane/main.cpp": including('"src/config/read.h"', '"dataplane/dpdk/eal.h"'),
    "dataplane/decap/main.cpp": including("<CLI/CLI.hpp>", "<bpf/bpf.h>", '"dataplane/xdp/load.h"'),
    "dataplane/xdp/load.h": "",
    "src/config/read.h": "",
    "controlplane/cli/replay.cpp": including('"dataplane/path/parse.h"', "<CLI/CLI.hpp>"),
    "controlplane/state/desired.h": including('"src/config/read.h"'),
    "tests/unit/path_test.cpp": including("<gtest/gtest.h>", '"dataplane/path/parse.h"'),
}
BAD = [
    ({"src/base/x.h": including('"src/net/address.h"')}, 'src/base/x.h:1: this room may not include "src/net'),
    ({"src/net/x.h": including('"address.h"')}, "does not name its room"),
    ({"src/net/x.h": including('"src/net/none.h"')}, "does not exist"),
    ({"src/net/x.h": including("<fstream>")}, "files and memory maps"),
    ({"src/shm/x.cpp": "\nint f = ::open(name);\n"}, "src/shm/x.cpp:2: ::open"),
    ({"src/shm/x.h": including("<mutex>")}, "threads never in"),
    ({"src/config/x.cpp": including("<toml++/toml.h>")}, "stays in one file"),
    ({"src/config/x.h": including("<toml++/toml.h>")}, "toml++ only in"),
    ({"dataplane/path/x.h": including("<rte_mbuf.h>")}, "DPDK only in"),
    ({"dataplane/path/x.h": including("<spdlog/spdlog.h>")}, "logging never in"),
    ({"dataplane/path/x.h": including('"dataplane/dpdk/eal.h"')}, "may not include"),
    ({"dataplane/worker.h": including('"dataplane/dpdk/eal.h"')}, "may not include"),
    ({"dataplane/ports/x.h": including("<rte_ethdev.h>")}, "DPDK only in"),
    ({"dataplane/dpdk/x.h": including('"src/config/read.h"')}, "may not include"),
    ({"dataplane/dpdk/x.h": including("<bpf/libbpf.h>")}, "libbpf and libxdp only in"),
    ({"dataplane/decap/x.h": including('"dataplane/dpdk/eal.h"')}, "may not include"),
    ({"dataplane/xdp/x.h": including('"dataplane/decap/main.cpp"')}, "may not include"),
    ({"dataplane/main.cpp": including('"controlplane/state/desired.h"')}, "may not include"),
    ({"controlplane/state/x.h": including('"dataplane/path/parse.h"')}, "may not include"),
    ({"controlplane/cli/status.h": including('"dataplane/path/parse.h"')}, "may not include"),
    ({"controlplane/cli/explain.h": including('"dataplane/dpdk/eal.h"')}, "may not include"),
    ({"controlplane/state/x.h": including("<boost/asio.hpp>")}, "Boost never in"),
    ({"src/net/x.h": including("<gtest/gtest.h>")}, "test libraries only in"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
