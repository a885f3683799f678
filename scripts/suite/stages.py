"""The stages of scripts/test, in the order in which they run: each takes the Session and returns its cases."""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import cases
from cases import Case
from processes import ROOT, Interrupted

PYTHON = "/usr/bin/python3"
SANITIZER_SLOWDOWN = 6


def check_names():
    return [path.stem for path in sorted((ROOT / "scripts/checks").glob("*.py")) if path.stem != "house"]


def house(session):
    """Each check of scripts/checks on the tree, and its self-test: the proof that it can fail."""
    found = []
    for check in session.checks:
        for name, options in ((check, []), (f"{check} can fail", ["--self-test"])):
            log = session.log(f"house-{name.replace(' ', '-')}")
            status = session.run([PYTHON, ROOT / f"scripts/checks/{check}.py", *options], log)
            found.append(cases.from_exit(name, status, log))
    return found


def build(session):
    if not session.whole_stage:
        return []
    log = session.log("build")
    return [cases.from_exit("scripts/build", session.run(["scripts/build"], log), log)]


def unit(session):
    return _executables(session, "build", [], lambda suites: not suites & {"property", "system"})


def properties(session):
    return _executables(session, "build", [], lambda suites: "property" in suites)


def asan(session):
    env = {"ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
           "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}
    return _executables(session, "build-asan", ["--asan"], lambda suites: "asan" in suites, env)


def tsan(session):
    env = {"TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}
    return _executables(session, "build-tsan", ["--tsan"], lambda suites: "tsan" in suites, env)


def fuzz(session):
    """A million inputs beyond the committed corpus; with --full ten minutes for each harness, what the corpus covers,
    and a planted defect that must be found."""
    runs = {"path": "60000", "flows": "60000", "parse": "890000"}
    commands = {f"fuzz {name}": ["scripts/fuzz", "--runs", number, name] for name, number in runs.items()}
    if os.environ["SHUNT_FULL"] == "1":
        commands = {f"fuzz {name}": ["scripts/fuzz", "--seconds", "600", name] for name in runs}
        commands |= {"fuzz finds a planted defect": ["scripts/fuzz", "--planted"],
                     "the corpus covers the packet path": ["scripts/coverage"]}
    wanted = {name: command for name, command in commands.items() if session.wants(name)}
    log = session.log("fuzz-build")
    if session.run(["scripts/build", "--fuzz", *(f"tests/fuzz/fuzz_{name}" for name in runs), "tests/fuzz/fuzz_seeds"], log) != 0:
        return [Case("compilation", False, f"see {log}")]

    def run(name, command):
        case_log = session.log(name.replace(" ", "-"))
        return cases.from_exit(name, session.run(command, case_log), case_log)

    return _together(session, [(run, name, command) for name, command in wanted.items()])


def system(session):
    """Real processes in network namespaces of their own; needs root and the whole build. One test at a time."""
    found = _executables(session, "build", [], lambda suites: "system" in suites, at_once=1) + _pytest(session)
    if not found:
        return []
    left = session.processes.end_leftovers() + _end_namespaces(session.id)
    return found + [Case("nothing is left behind", not left, ", ".join(left))]


def _pytest(session):
    tests = ROOT / "tests/system"
    if not list(tests.glob("**/test_*.py")):
        return []
    nodes = [tests]
    if not session.whole_stage:
        nodes = [node for node in _pytest_nodes(tests) if session.wants(node)]
        if not nodes:
            return []
    log = session.log("system-pytest")
    if session.run(["scripts/build"], session.log("system-build")) != 0:
        return [Case("scripts/build", False, f"see {session.log('system-build')}")]
    report = log.with_suffix(".xml")
    report.unlink(missing_ok=True)
    status = session.run([PYTHON, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}", *nodes], log)
    found = cases.from_junit(report, log) if report.exists() else []
    if status != 0 and all(case.passed for case in found):
        found.append(cases.from_exit("pytest", status, log))
    return found


def _pytest_nodes(tests):
    listing = subprocess.run([PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", tests],
                             cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return [f"{tests}/{line}" for line in listing.stdout.splitlines() if "::" in line]  # pytest names them from there


def _end_namespaces(prefix):
    """Removes the network namespaces of this run (SHUNT_TEST_ID-…) that a test forgot; returns their names."""
    listing = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    names = [line.split()[0] for line in listing.splitlines() if line.startswith(f"{prefix}-")]
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], check=False)
    return [f"namespace {name}" for name in names]


def _executables(session, tree, options, chosen, env=None, at_once=os.cpu_count()):
    """Builds and runs the test executables of a tree whose meson suites `chosen` likes."""
    log = session.log(f"{session.stage}-build")
    if session.run(["scripts/build", *options, "--configure"], log) != 0:
        return [Case("configuration", False, f"see {log}")]
    listing = subprocess.run(["meson", "introspect", "--tests", tree], cwd=ROOT, capture_output=True, text=True,
                             check=True)
    tests = [test for test in json.loads(listing.stdout) if chosen({name.split(":")[-1] for name in test["suite"]})]
    tests = session.narrow(tests)
    if not tests:
        return []
    targets = [os.path.relpath(test["cmd"][0], ROOT / tree) for test in tests]
    if session.run(["scripts/build", *options, *targets], log) != 0:
        return [Case("compilation", False, f"see {log}")]
    runs = _together(session, [(_run_executable, session, test, env or {}) for test in tests], at_once)
    return [case for run in runs for case in run]


def _together(session, jobs, at_once=os.cpu_count()):
    """What the functions return that `jobs` name, with their arguments."""
    with ThreadPoolExecutor(at_once) as pool:
        runs = [pool.submit(*job) for job in jobs]
        try:
            return [run.result() for run in runs]
        except Interrupted:
            session.processes.stop_all()
            raise


def _run_executable(session, test, env):
    log = session.log(f"{session.stage}-{test['name']}")
    report = log.with_suffix(".json")
    report.unlink(missing_ok=True)
    command, filtered = list(test["cmd"]), False
    if not session.wants(test["name"]):
        wanted = [name for name in _gtest_names(command, test["workdir"]) if session.wants(name)]
        if not wanted:
            return []
        command.append(f"--gtest_filter={':'.join(wanted)}")
        filtered = True
    timeout = test["timeout"] * (SANITIZER_SLOWDOWN if env else 1)
    status = session.run(_without_address_randomisation(env) + command, log, timeout,
                         {**test["env"], **env, "GTEST_OUTPUT": f"json:{report}"}, test["workdir"] or ROOT)
    if not report.exists():  # no gtest program, or one that died
        return [cases.from_exit(test["name"], status, log)]
    found = cases.from_gtest(report, filtered, log)
    if not found or (status != 0 and all(case.passed for case in found)):
        found.append(Case(test["name"], False, f"exit status {status} after {len(found)} cases, see {log}"))
    return found


def _gtest_names(command, workdir):
    listing = subprocess.run([*command, "--gtest_list_tests"], cwd=workdir, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, check=False)
    names, suite = [], ""
    for line in listing.stdout.splitlines():
        word = line.split("#")[0].rstrip()
        if line.startswith("  "):
            names.append(suite + word.strip())
        elif word.endswith("."):
            suite = word
    return names


def _without_address_randomisation(env):
    """The thread sanitizer of GCC 12 dies on kernels that randomise more address bits than it knows of."""
    setarch = shutil.which("setarch")
    if "TSAN_OPTIONS" not in env or not setarch:
        return []
    allowed = subprocess.run([setarch, "-R", "true"], capture_output=True, check=False).returncode == 0
    return [setarch, "-R"] if allowed else []


STAGES = {"house": house, "build": build, "unit": unit, "asan": asan, "tsan": tsan, "property": properties,
          "fuzz": fuzz, "system": system}
