#!/usr/bin/python3
"""No orphans: every .cpp and .c file is named in a meson.build, and every header is included by another file."""

import re

import house

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def check(tree):
    listed = {path.parent / word for path in tree.files if path.name == "meson.build"
              for word in re.findall(r"'([^'\n]+)'", tree.text(path))}
    included = {name for path in tree.sources() for name in INCLUDE.findall(tree.text(path)) if name != str(path)}
    unbuilt = [f"{path}:1: named in no meson.build, so nothing builds it"
               for path in tree.sources((".cpp", ".c")) if path not in listed]
    return unbuilt + [f"{path}:1: no other file includes it"
                      for path in tree.sources((".h",)) if str(path) not in included]


GOOD = {
    "src/net/meson.build": "static_library('net', 'a.cpp')\n",
    "tests/meson.build": "executable('net_test', 'unit/net_a_test.cpp')\n",
    "src/net/a.cpp": '#include "src/net/a.h"\n',
    "src/net/a.h": "",
    "tests/unit/net_a_test.cpp": "",
}
BAD = [
    ({"src/net/b.cpp": ""}, "src/net/b.cpp:1: named in no meson.build"),
    ({"tests/unit/net_b_test.cpp": ""}, "net_b_test.cpp:1: named in no meson.build"),
    ({"src/net/b.h": '#include "src/net/b.h"\n'}, "src/net/b.h:1: no other file includes it"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
