#!/usr/bin/python3
"""No orphans: every .cpp and .c file is named in a meson.build."""

import re

import house


def check(tree):
    listed = {path.parent / word for path in tree.files if path.name == "meson.build"
              for word in re.findall(r"'([^'\n]+)'", tree.text(path))}
    return [f"{path}:1: named in no meson.build, so nothing builds it"
            for path in tree.sources((".cpp", ".c")) if path not in listed]


GOOD = {
    "src/net/meson.build": "static_library('net', 'a.cpp')\n",
    "tests/meson.build": "executable('net_test', 'unit/net_a_test.cpp')\n",
    "src/net/a.cpp": "",
    "tests/unit/net_a_test.cpp": "",
}
BAD = [
    ({"src/net/b.cpp": ""}, "src/net/b.cpp:1: named in no meson.build"),
    ({"tests/unit/net_b_test.cpp": ""}, "net_b_test.cpp:1: named in no meson.build"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
