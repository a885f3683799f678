#!/usr/bin/python3
"""No function, in C, C++ or Python, has more than 70 lines."""

import re
import subprocess

import house

LIMIT = 70


def check(tree):
    files = [str(path) for path in tree.sources() + tree.sources((".py",), ("scripts", "tests"))]
    if not files:
        return []
    run = subprocess.run(["ctags", "--fields=+ne", "--kinds-C=f", "--kinds-C++=f", "--kinds-Python=fm", "--sort=no",
                          "-L", "-", "-o", "-"], cwd=tree.root, input="\n".join(files), capture_output=True, text=True,
                         check=True)
    return [problem for line in run.stdout.splitlines() if (problem := too_long(line))]


def too_long(tag):
    """Judges one line of ctags: name, file, pattern, then line: and end: among the fields."""
    name, path = tag.split("\t")[:2]
    fields = dict(re.findall(r"\t(line|end):(\d+)", tag))
    length = int(fields.get("end", fields["line"])) - int(fields["line"]) + 1
    return f"{path}:{fields['line']}: {name} has {length} lines, more than {LIMIT}" if length > LIMIT else None


def function(lines, head="int f()"):
    return head + " {\n" + "    g();\n" * (lines - 2) + "}\n"


GOOD = {"src/net/good.cpp": function(LIMIT), "src/net/good.h": "int f();\n"}
BAD = [
    ({"src/net/bad.cpp": function(LIMIT + 1)}, "bad.cpp:1: f has 71 lines"),
    ({"tests/unit/bad_test.cpp": "\n" + function(LIMIT + 1, "TEST(Suite, Case)")}, "bad_test.cpp:2: TEST has 71"),
    ({"dataplane/xdp/bad.bpf.c": function(LIMIT + 1)}, "bad.bpf.c:1: f has 71 lines"),
    ({"scripts/bad.py": "def f():\n" + "    g()\n" * LIMIT}, "bad.py:1: f has 71 lines"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
