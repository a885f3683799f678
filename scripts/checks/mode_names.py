#!/usr/bin/python3
"""Names of forwarding modes stand in one list, src/net/forwarding_mode.h, in dataplane/modes, in dataplane/decap, which
undoes them, in tests and in documentation. Everywhere else code asks what a mode needs (traits_of), so that a new mode
is one file and one line."""

import re
from pathlib import Path

import house

LIST = Path("src/net/forwarding_mode.h")
MODES = (Path("dataplane/modes"), Path("dataplane/decap"))
ROOMS = ("src", "dataplane", "controlplane")
# `nat` and `direct` are also ordinary words: only where the list or a text names them. A check goes `via` a way, too.
UNMISTAKABLE = r"(?<![\w-])(?:l3dsr|ipip|gre|gue|vxlan)(?![\w-])"
NAMED = re.compile(rf'{UNMISTAKABLE}|ForwardingMode::(?!none\b)\w+|"(?:nat|direct)"')


def check(tree):
    return [f"{path}:{number}: names the mode {found[0]}; ask traits_of() what it needs"
            for path in tree.sources(rooms=ROOMS) if path != LIST and not any(room in path.parents for room in MODES)
            for number, line in tree.lines(path) for found in NAMED.finditer(line)
            if not (found[0] == '"direct"' and re.search(r"\bvia", line))]


GOOD = {
    str(LIST): 'Traits{.mode = ForwardingMode::gre, .name = "gre"}\n',
    "dataplane/modes/gre.h": "static constexpr ForwardingMode id = ForwardingMode::gre;\n",
    "dataplane/decap/undo.c": "undo_gre(); // gre\n",
    "tests/unit/gre_test.cpp": 'mode("gre");\n',
    "docs/reference.md": "gre, vxlan\n",
    "src/a.h": 'ForwardingMode::none; default_forwarding_mode; {"via", "direct"}; nat_backends; // in NAT; a direct way\n',
    "src/b.cpp": "direct_access; degree; IPPROTO_GRE; \"full-nat\";\n",
}
BAD = [
    ({"src/c.h": "x;\nif (mode == ForwardingMode::nat) {}\n"}, "src/c.h:2: names the mode ForwardingMode::nat"),
    ({"controlplane/d.cpp": 'if (name == "direct") {}\n'}, 'd.cpp:1: names the mode "direct"'),
    ({"dataplane/path/e.h": "Be32 key;  // gre: the key\n"}, "e.h:1: names the mode gre"),
    ({"controlplane/cli/f.cpp": '{"--mode", "nat, vxlan"}\n'}, "f.cpp:1: names the mode vxlan"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
