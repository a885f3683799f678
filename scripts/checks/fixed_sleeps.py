#!/usr/bin/python3
"""Tests never sleep for a fixed time: they wait for an event with scripts/lab/waiting.py, or drive an injected clock."""

import re

import house

POLLING_HELPER = "scripts/lab/waiting.py"
# Pieces are joined so that this file does not match itself.
CALL = re.compile(r"\b(sleep" + r"_for|sleep" + r"_until|(u|nano|clock_nano|time\.|asyncio\.)?sleep)\s*\(")
SHELL = re.compile(r"(^|[;&|]|\bdo|\bthen)\s*sleep\s+[\d.$\"]")


def check(tree):
    tests = [path for path in tree.files if path.parts[0] == "tests"]
    return [f"{path}:{number}: a fixed sleep; wait for the event ({POLLING_HELPER}) or drive the clock"
            for path in tests if path.suffix != ".md" for number, line in tree.lines(path)
            if CALL.search(line) or SHELL.search(line)]


GOOD = {
    "scripts/lab/waiting.py": "time.sleep" + "(0.02)\n",
    "tests/unit/good_test.cpp": "clock.advance(3s);  // a worker asleep, sleeps = 2\n",
}
BAD = [
    ({"tests/unit/bad_test.cpp": "std::this_thread::sleep" + "_for(1s);\n"}, "bad_test.cpp:1: a fixed sleep"),
    ({"tests/unit/bad_test.cpp": "usleep" + "(10);\n"}, "bad_test.cpp:1: a fixed sleep"),
    ({"tests/system/test_bad.py": "\n    time.sleep" + "(1)\n"}, "test_bad.py:2: a fixed sleep"),
    ({"tests/system/bad.sh": "true; sleep" + " 1\n"}, "bad.sh:1: a fixed sleep"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
