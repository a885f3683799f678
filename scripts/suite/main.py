"""The test suite: stage after stage, minutes for each, and `N passed, N failed` as the last line of stdout."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from processes import ROOT, Interrupted, Processes
from stages import STAGES, check_names

LIMIT_MINUTES = 28
FULL_LIMIT_MINUTES = 120
LOGS = ROOT / "build-logs"
USAGE = """
Stages, in order: house (rules of the house), build, unit, asan (address and undefined-behaviour sanitizers),
tsan (thread sanitizer), property, fuzz (libFuzzer), system (real processes in network namespaces; root).
NAME is a stage, a check of scripts/checks, or a part of a test's name (executable, gtest case or pytest case). Parts of
names are looked for in the named stages or, when none is named, in unit, property and system.
Examples: scripts/test unit    scripts/test includes    scripts/test asan flow_table    scripts/test Maglev.Weights
"""


class Session:
    """What a stage needs: which cases are wanted, where logs go, and a way to run commands."""

    def __init__(self, processes, checks, parts):
        self.processes = processes
        self.checks = checks
        self.parts = parts
        self.matched = set()
        self.stage = ""
        self.id = os.environ["SHUNT_TEST_ID"]
        self.run = processes.run

    @property
    def whole_stage(self):
        return not self.parts

    def wants(self, name):
        hits = {part for part in self.parts if part.lower() in name.lower()}
        self.matched |= hits
        return self.whole_stage or bool(hits)

    def narrow(self, tests):
        """The executables that can hold wanted cases: those named, or all while a part may be the name of a case."""
        named = [test for test in tests if self.wants(test["name"])]
        names = " ".join(test["name"].lower() for test in tests)
        return named if all(part.lower() in names for part in self.parts) else tests

    def log(self, name):
        return LOGS / f"{name.replace('/', '-')}.log"


def run_stage(session, name):
    """Runs one stage and prints what it found; returns (passed, failed)."""
    start = time.monotonic()
    session.stage = name
    print(f"== {name}", flush=True)
    found = STAGES[name](session)
    failed = [case for case in found if not case.passed]
    for case in failed:
        print(f"   FAILED {case.name}: {case.why}")
    show_log(failed)
    minutes = (time.monotonic() - start) / 60
    print(f"   {len(found) - len(failed)} passed, {len(failed)} failed, {minutes:.1f} minutes", flush=True)
    return len(found) - len(failed), len(failed)


def show_log(failed):
    """The end of the first failed case's log, which is most often all one needs."""
    logs = [Path(case.why.split("see ")[-1]) for case in failed if "see " in case.why]
    if logs and logs[0].exists():
        lines = logs[0].read_text(errors="replace").splitlines()[-40:]
        print("\n".join(f"   | {line}" for line in lines))


def run_stages(session, names):
    passed = failed = 0
    for name in names:
        if session.processes.seconds_left() <= 0:
            print(f"== {name}\n   FAILED: not run, the time is used up")
            failed += 1
            continue
        good, bad = run_stage(session, name)
        passed, failed = passed + good, failed + bad
        if name == "build" and bad:
            break  # nothing after it can say anything
    for part in session.parts:
        if part not in session.matched:
            print(f"   FAILED {part}: no stage and no test has this in its name")
            failed += 1
    return passed, failed


def main():
    parser = argparse.ArgumentParser(prog="scripts/test", epilog=USAGE,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="system tests with their full numbers of repeats, long fuzzing")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    checks = [name for name in check_names() if name in arguments.names]
    stages = [name for name in STAGES if name in arguments.names]
    parts = [name for name in arguments.names if name not in (*STAGES, *check_names())]
    if not stages:
        stages = (["house"] if checks else []) + (["unit", "property", "system"] if parts else [])

    os.chdir(ROOT)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir()
    os.environ["SHUNT_TEST_ID"] = f"t{os.getpid()}"  # system tests begin the names of their namespaces with it
    os.environ["SHUNT_FULL"] = "1" if arguments.full else "0"
    limit = FULL_LIMIT_MINUTES if arguments.full else LIMIT_MINUTES
    processes = Processes(limit * 60, float(os.environ.get("SHUNT_TEST_ELAPSED", "0")))
    passed, failed, status = 0, 1, 1
    with tempfile.TemporaryDirectory(prefix="shunt-test-") as scratch:
        os.environ["TMPDIR"] = scratch
        try:
            passed, failed = run_stages(Session(processes, checks or check_names(), parts), stages or list(STAGES))
            status = 0 if failed == 0 else 1
        except Interrupted as signal_name:
            print(f"interrupted by {signal_name}: ending what runs")
            status = 130
        finally:
            processes.stop_all()
    print(f"{passed} passed, {failed} failed")
    return status


if __name__ == "__main__":
    sys.exit(main())
