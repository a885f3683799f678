"""What the checks share: which files there are, how a problem is printed, and how a check proves that it can fail.

A check is a function from a Tree to a list of sentences `path:line: what is wrong`. It hands `main` examples: trees that
must be refused (with words that must appear) and one that must pass. `CHECK.py` judges the project, `--self-test` the check.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CPP = (".h", ".cpp", ".c")
CODE_ROOMS = ("src", "dataplane", "controlplane", "tests")


class Tree:
    """The files of a project: relative paths, read on demand."""

    def __init__(self, root):
        self.root = Path(root)
        self.files = sorted(self._from_git() or self._from_disk())

    def _from_git(self):
        if not (self.root / ".git").exists() or not shutil.which("git"):
            return []
        listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=self.root,
                                 capture_output=True, text=True, check=False)
        names = [Path(name) for name in listing.stdout.split("\0") if name]
        return [name for name in names if (self.root / name).is_file()]

    def _from_disk(self):
        paths = (path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file())
        return [path for path in paths if not path.parts[0].startswith("build") and path.parts[0] != ".git"]

    def text(self, path):
        """The text of a file, empty for a binary one."""
        raw = (self.root / path).read_bytes()
        return "" if b"\0" in raw else raw.decode(errors="replace")

    def lines(self, path):
        return enumerate(self.text(path).splitlines(), 1)

    def sources(self, suffixes=CPP, rooms=CODE_ROOMS):
        return [path for path in self.files if path.suffix in suffixes and path.parts[0] in rooms]


def _tree_of(directory, files):
    for name, text in files.items():
        path = Path(directory, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(directory)


def _self_test(check, good, bad):
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        failures += [f"refused a good example: {problem}" for problem in check(_tree_of(directory, good))]
    for files, words in bad:
        with tempfile.TemporaryDirectory() as directory:
            problems = check(_tree_of(directory, {**good, **files}))
        if not any(words in problem for problem in problems):
            failures.append(f"let a bad example pass ({', '.join(files)}): expected '{words}', got {problems}")
    return failures


def main(check, good, bad):
    """`good`: files that must pass; `bad`: (files added to them, words expected in a problem)."""
    problems = _self_test(check, good, bad) if sys.argv[1:] == ["--self-test"] else check(Tree(ROOT))
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
