#!/usr/bin/python3
"""Every C and C++ file, BPF C included, is as clang-format leaves it (.clang-format in the root)."""

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import house

FILES_PER_RUN = 16


def check(tree):
    if tree.root != house.ROOT:  # a self-test
        shutil.copyfile(house.ROOT / ".clang-format", tree.root / ".clang-format")
    files = [str(path) for path in tree.sources()]
    groups = [files[first : first + FILES_PER_RUN] for first in range(0, len(files), FILES_PER_RUN)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [problem for problems in pool.map(lambda group: clang_format(tree, group), groups) for problem in problems]


def clang_format(tree, files):
    run = subprocess.run(["clang-format", "--dry-run", "--Werror", *files], cwd=tree.root, capture_output=True, text=True,
                         check=False)
    places = dict.fromkeys(re.findall(r"^(.*?):(\d+):\d+: error", run.stderr, re.MULTILINE))
    problems = [f"{name}:{line}: not formatted; run clang-format -i {name}" for name, line in places]
    if run.returncode != 0 and not problems:
        problems = [f"clang-format failed: {run.stderr.strip()}"]
    return problems


GOOD = {"src/net/good.h": "#pragma once\n\nint f(int x);\n"}
BAD = [
    ({"src/net/bad.cpp": "int f( int x ){return x;}\n"}, "src/net/bad.cpp:1: not formatted"),
    ({"dataplane/xdp/steer.bpf.c": "int  f;\n"}, "steer.bpf.c:1: not formatted"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
