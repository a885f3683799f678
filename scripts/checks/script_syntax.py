#!/usr/bin/python3
"""Every script parses, is executable where it starts with a shebang, and names the interpreter that has our packages."""

import os
import subprocess

import house

BASH = "#!/usr/bin/env bash"
PYTHON = "#!/usr/bin/python3"  # the python3 first on the PATH may be another one, without scapy and pytest


def check(tree):
    problems = []
    for path in tree.files:
        text = tree.text(path)
        first = text.split("\n", 1)[0]
        if path.suffix == ".py" or first == PYTHON:
            problems += python_problems(path, text)
        elif path.suffix == ".sh" or first == BASH:
            problems += bash_problems(tree, path)
        if first.startswith("#!") and path.parts[0] in ("scripts", "tests", ".ci"):
            problems += shebang_problems(tree, path, first)
    return problems


def python_problems(path, text):
    try:
        compile(text, str(path), "exec")
    except SyntaxError as error:
        return [f"{path}:{error.lineno}: {error.msg}"]
    return []


def bash_problems(tree, path):
    run = subprocess.run(["bash", "-n", path], cwd=tree.root, capture_output=True, text=True, check=False)
    return [f"{path}:1: {line}" for line in run.stderr.splitlines()]


def shebang_problems(tree, path, first):
    problems = []
    if first not in (BASH, PYTHON):
        problems.append(f"{path}:1: {first}: use {BASH} or {PYTHON}")
    if not os.access(tree.root / path, os.X_OK):
        problems.append(f"{path}:1: starts with a shebang but is not executable")
    return problems


GOOD = {"scripts/good.py": "print()\n", "scripts/good.sh": "if true; then :; fi\n"}
BAD = [
    ({"scripts/bad.py": "\ndef f(:\n"}, "scripts/bad.py:2: "),
    ({"scripts/bad": f"{BASH}\nif true; then\n"}, "syntax error"),
    ({"scripts/bad": f"{BASH}\ntrue\n"}, "not executable"),
    ({"scripts/bad": "#!/usr/bin/env python3\n"}, "use #!/usr/bin/env bash or"),
]

if __name__ == "__main__":
    house.main(check, GOOD, BAD)
