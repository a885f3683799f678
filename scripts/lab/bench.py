"""What scripts/bench does: runs the benchmark, keeps its document, prints it as a table, judges the promises."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn, TextIO

from .bench_goals import judged
from .bench_guard import BURST, BURSTS, counted, record
from .bench_profile import by_step
from .huge_pages import extra_huge_pages
from .namespace import Namespace, cable

PROGRAM, AF_XDP_PROGRAM = "tests/path_bench", "tests/xdp_bench"
RESULTS, AF_XDP_RESULTS = Path("build/bench/results.json"), Path("build/bench/af_xdp.json")
PAGES = 360  # of 2 MiB: the state region of ten million IPv6 flows, and frames
UNITS = {"cycles_per_packet": "cycles", "ms": "ms", "bytes": "bytes"}
EPILOG = "Exit codes: 0 every promise held, 1 one was broken, 2 usage, 3 it could not be measured."


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", epilog=EPILOG, description=(
        "Builds Shunt and measures what it costs, case by case, in four minutes; the document goes to "
        f"{RESULTS}, too."))
    parser.add_argument("--json", action="store_true", help="print the document; the table goes to stderr")
    parser.add_argument("--case", action="append", default=[], metavar="GLOB",
                        help="only cases whose name matches, for example 'nat4/*'; may be given again")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an older document: how many times as much is it now")
    parser.add_argument("--runs", type=int, metavar="N", help="of each case of packets; fewer are quicker, and vaguer")
    parser.add_argument("--af-xdp", action="store_true", help=(
        "the path over an AF_XDP port on veth instead, in a namespace made for it: root; the kernel is most of what it takes"))
    parser.add_argument("--profile", action="store_true", help=(
        "instructions per packet of each step instead, counted by callgrind; of --case, or of nat4/flows=10k"))
    parser.add_argument("--record", action="store_true", help="measure what tests/bench/recorded.json holds anew")
    return parser.parse_args()


def fail(code: int, message: str, remedy: str, as_json: bool) -> NoReturn:
    print(f"bench: {message}; {remedy}", file=sys.stderr)
    if as_json:
        where = dict.fromkeys(("file", "line", "column", "key"))
        print(json.dumps({"error": {"message": message, **where, "remedy": remedy}}))
    sys.exit(code)


def build(program: str, as_json: bool) -> None:
    if subprocess.run(["scripts/build", program], stdout=sys.stderr, check=False).returncode != 0:
        fail(3, "the build failed", "see what scripts/build said above", as_json)


@contextmanager
def cabled_namespace() -> Iterator[list[str]]:
    """A namespace with the two ends of a cable, `lan` and `wire`; what to put before a command that is to run in it."""
    namespace = Namespace(f"bench-{os.getpid()}")
    try:
        namespace.sysctl(net__ipv6__conf__all__disable_ipv6=1)  # nobody but us says anything on the cable
        cable(namespace, "lan", namespace, "wire")
        yield namespace.prefix
    finally:
        namespace.close()


def measure(wanted: argparse.Namespace) -> dict:
    options = [word for pattern in wanted.case for word in ("--case", pattern)]
    options += ["--runs", str(wanted.runs)] if wanted.runs else []
    program = AF_XDP_PROGRAM if wanted.af_xdp else PROGRAM
    place = cabled_namespace() if wanted.af_xdp else nullcontext([])
    with extra_huge_pages(PAGES), place as prefix:
        run = subprocess.run([*prefix, f"build/{program}", *options], stdout=subprocess.PIPE, check=False)
    if run.returncode == 2:
        fail(2, "no such case", f"build/{program} --list names all", wanted.json)
    if run.returncode != 0:
        fail(3, "the benchmark could not measure", "see what it said above", wanted.json)
    return json.loads(run.stdout)


def older_values(path: Path | None, as_json: bool) -> dict[str, float]:
    """Value by case of an older document."""
    if path is None:
        return {}
    try:
        return {case["name"]: case["value"] for case in json.loads(path.read_text())["cases"] if case["value"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(2, f"{path} is no document of scripts/bench: {error}", "give a results.json", as_json)


def number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def print_table(document: dict, older: dict[str, float], out: TextIO) -> None:
    machine = document["machine"]
    print(f"{machine['cpu']}, clock counter {machine['tsc_mhz']} MHz, {machine['hugepages']} huge pages reserved, "
          f"memory on {machine['pages']} pages", file=out)
    print(f"{'CASE':<28} {'VALUE':>9} {'UNIT':<6} {'FLOOR':>6} {'OF FLOOR':>8} {'SPREAD':>6} {'RUNS':>5}"
          f"{'  OF OLDER' if older else ''}", file=out)
    for case in document["cases"]:
        if case["value"] is None:
            print(f"{case['name']:<28} skipped: {case['skipped']}", file=out)
            continue
        line = (f"{case['name']:<28} {number(case['value']):>9} {UNITS[case['unit']]:<6} {number(case['floor']):>6} "
                f"{number(case['ratio'], 1):>8} {number(case['spread']):>6} {case['runs']:>5}")
        if case["name"] in older:
            line += f"  {case['value'] / older[case['name']]:>8.2f}"
        print(line, file=out)


def profile(wanted: argparse.Namespace) -> None:
    document = {}
    for case in wanted.case or ["nat4/flows=10k"]:
        with counted(case) as callgrind:
            document[case] = dict(by_step(callgrind, BURSTS * BURST))
        if wanted.json:
            continue
        print(f"{case}, instructions per packet")
        for step, instructions in document[case].items():
            print(f"  {step:<24} {instructions:>7.1f}")
        print(f"  {'all':<24} {sum(document[case].values()):>7.1f}")
    if wanted.json:
        print(json.dumps(document))


def main() -> None:
    wanted = arguments()
    older = older_values(wanted.compare, wanted.json)
    if wanted.af_xdp and os.geteuid() != 0:
        fail(3, "network namespaces need root", "run it with sudo", wanted.json)
    build(AF_XDP_PROGRAM if wanted.af_xdp else PROGRAM, wanted.json)
    if wanted.record:
        record()
        return
    if wanted.profile:
        profile(wanted)
        return
    document = measure(wanted)
    results = AF_XDP_RESULTS if wanted.af_xdp else RESULTS
    results.parent.mkdir(parents=True, exist_ok=True)
    results.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    out = sys.stderr if wanted.json else sys.stdout
    print_table(document, older, out)
    verdicts = list(judged(document))
    for _held, sentence in verdicts:
        print(sentence, file=out)
    if wanted.json:
        print(json.dumps(document))
    sys.exit(0 if all(held for held, _sentence in verdicts) else 1)


if __name__ == "__main__":
    main()
