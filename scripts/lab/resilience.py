"""What scripts/resilience does: runs experiments one after the other, and prints what became of their promises."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Callable, Iterator, TextIO

from . import damage, ecmp, pair, restarts
from .experiment import Experiment, Row, Stages, Wish
from .laboratory import REQUIRED, Unfit, check_environment, error_document
from .modes import WAYS
from .namespace import CommandFailed
from .process import ProcessEnded
from .shunt import CliFailed
from .waiting import NotInTime

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment
                                      for experiment in (*restarts.EXPERIMENTS, *damage.EXPERIMENTS, *pair.EXPERIMENTS,
                                                         *ecmp.EXPERIMENTS)}
FAILURES = (NotInTime, ProcessEnded, CliFailed, CommandFailed, OSError, subprocess.SubprocessError)
PROGRAMS = ("shunt", "shunt-dataplane", "shunt-controlplane", "shunt-decap")
USUAL_REPEATS, USUAL_CONNECTIONS = 3, 200
RELEASE_CONNECTIONS = 1000
COLUMNS = (("REPEATS", "repeats"), ("BROKEN", "broken"), ("RESET", "reset"), ("LOST", "lost_packets"),
           ("OUTAGE", "outage_ms_median"), ("MAX", "outage_ms_max"), ("SEEN", "detected_ms_max"),
           ("API", "api_back_ms_max"), ("GAP", "gap_ms_max"), ("LEFT", "withdrawn_ms_max"), ("REFUSED", "refused"))
EPILOG = """Experiments, and `all` for all of them:
  {names}

Times are milliseconds: OUTAGE and MAX are the median and the maximum over the repeats of the longest time in which no
datagram of one address and backend was answered.
Exit codes: 0 every promise held, 1 one was broken, 2 usage, 3 this machine is unfit (a sentence says why),
130 interrupted."""


def arguments(words: list[str]) -> argparse.Namespace:
    modes = sorted({name for way in WAYS for name in (way.name, way.mode)})
    parser = argparse.ArgumentParser(
        prog="scripts/resilience", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG.format(names="\n  ".join(EXPERIMENTS)), description=(
            "Breaks Shunt in a laboratory of namespaces, under live connections, and says what the clients saw (root)."))
    parser.add_argument("experiments", nargs="+", metavar="NAME", choices=[*EXPERIMENTS, "all"])
    parser.add_argument("--mode", action="append", choices=modes, help="the usual one unless given; may be given again")
    parser.add_argument("--repeat", type=at_least_one, metavar="N", help=f"faults under one load; {USUAL_REPEATS}")
    parser.add_argument("--connections", type=at_least_one, metavar="N", help=f"live ones; {USUAL_CONNECTIONS}")
    parser.add_argument("--workers", type=at_least_one, default=2, metavar="N", help="of the data plane; 2")
    parser.add_argument("--workers-after", type=at_least_one, metavar="N",
                        help="of every other successor, in experiments that replace the data plane")
    parser.add_argument("--release", action="store_true",
                        help=f"the figures of a release: its repeats, its modes, {RELEASE_CONNECTIONS} connections")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout, all else on stderr")
    return parser.parse_args(words)


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


def wishes(wanted: argparse.Namespace) -> Iterator[tuple[Experiment, Wish]]:
    names = EXPERIMENTS if "all" in wanted.experiments else dict.fromkeys(wanted.experiments)
    for experiment in (EXPERIMENTS[name] for name in names):
        usual = experiment.release_repeats if wanted.release else USUAL_REPEATS
        for mode in wanted.mode or (experiment.modes if wanted.release else experiment.modes[:1]):
            yield experiment, Wish(
                mode, wanted.repeat or usual,
                wanted.connections or (RELEASE_CONNECTIONS if wanted.release else USUAL_CONNECTIONS),
                wanted.workers, wanted.workers_after or wanted.workers)


def build() -> None:
    if subprocess.run(["scripts/build", *PROGRAMS], stdout=sys.stderr, check=False).returncode != 0:
        raise Unfit("the build failed; see what scripts/build said above")


def performed(experiment: Experiment, wish: Wish, stages: Stages, progress: Callable[[str], None]) -> Row:
    """An experiment that could not be brought to its end has broken its promise: something did not come back."""
    progress(f"{experiment.name} {wish.mode}: {wish.repeats} times, {wish.connections} live connections, "
             f"{wish.workers} workers")
    try:
        return experiment.judged(wish, experiment.run(wish, stages, progress))
    except FAILURES as failure:
        stages.close()
        return experiment.judged(wish, {"failure": str(failure)})


def print_table(rows: list[Row], out: TextIO) -> None:
    print(f"\n{'EXPERIMENT':<24} {'MODE':<7}" + "".join(f" {title:>8}" for title, _ in COLUMNS) + "  PROMISES", file=out)
    for row in rows:
        values = ("-" if row[key] is None else str(row[key]) for _, key in COLUMNS)
        verdict = "held" if row["held"] else "BROKEN: " + (row["failure"] or "; ".join(row["broken_promises"]))
        print(f"{row['experiment']:<24} {row['mode'] or '-':<7}" + "".join(f" {value:>8}" for value in values)
              + f"  {verdict}", file=out)


def main(words: list[str]) -> int:
    wanted = arguments(words)
    out = sys.stderr if wanted.json else sys.stdout
    rows: list[Row] = []
    try:
        check_environment((*REQUIRED, *pair.PROGRAMS, *ecmp.PROGRAMS))
        build()
        with Stages() as stages:
            for experiment, wish in wishes(wanted):
                rows.append(performed(experiment, wish, stages, lambda text: print(text, file=out, flush=True)))
    except Unfit as unfit:
        print(f"resilience: {unfit}", file=sys.stderr)
        if wanted.json:
            message, _, remedy = str(unfit).partition("; ")
            print(error_document(message, remedy))
        return 3
    except KeyboardInterrupt:
        print("resilience: interrupted; everything was removed", file=sys.stderr)
        return 130
    print_table(rows, out)
    if wanted.json:
        print(json.dumps({"experiments": rows}))
    return 0 if all(row["held"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
