#!/usr/bin/python3
"""No private-range IPv4 address stands anywhere: tests and examples use 198.18.0.0/15, 203.0.113.0/24 or 2001:db8::/32."""

import re

import house

NUMBER = r"\.\d{1,3}"
PRIVATE = re.compile(rf"(?<![\d.])(10{NUMBER}{NUMBER}{NUMBER}|172\.(1[6-9]|2\d|3[01]){NUMBER}{NUMBER}|192\.168{NUMBER}{NUMBER})"
                     r"(?!\d|\.\d)")


def check(tree):
    return [f"{path}:{number}: {found[1]} is a private address; use 198.18.0.0/15 or 203.0.113.0/24"
            for path in tree.files for number, line in tree.lines(path) for found in PRIVATE.finditer(line)]


def address(*numbers):
    return ".".join(str(number) for number in numbers)


GOOD = {"docs/good.md": f"198.18.0.10, version 1.{address(10, 0, 0, 1)}, {address(172, 32, 0, 1)}, 2001:db8::1\n"}
BAD = [
    ({"docs/bad.md": f"ping {address(10, 1, 2, 3)}.\n"}, "docs/bad.md:1: "),
    ({"tests/system/bad.py": f'\nx = "{address(172, 31, 0, 1)}/24"\n'}, "bad.py:2: "),
    ({"scripts/bad": f"{address(192, 168, 0, 0)}/16\n"}, "scripts/bad:1: "),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
