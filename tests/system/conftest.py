"""What the system tests share: laboratories, and the end of every log beside a failure."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from lab.config import lab_config, live_service, web_service  # noqa: E402  the path comes first
from lab.laboratory import Lab  # noqa: E402
from lab.shunt import Shunt  # noqa: E402

LOG_LINES, LOG_COLUMNS = 15, 240
open_labs = []


def repeats(usual, full):
    """How often a test repeats itself: SHUNT_FULL=1 asks for the numbers of a release."""
    return full if os.environ.get("SHUNT_FULL") == "1" else usual


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for log in (log for lab in open_labs for log in sorted(lab.directory.glob("**/*.log"))):
            tail = [line[:LOG_COLUMNS] for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]]
            if tail:
                report.sections.append((f"end of {log.name} in {log.parent}", "\n".join(tail)))


def opened(lab):
    open_labs.append(lab)
    with lab:
        yield lab
    open_labs.remove(lab)


@pytest.fixture(scope="module")
def standing_lab():
    yield from opened(Lab())


@pytest.fixture
def plain_lab(standing_lab):
    """The network and its nginx servers, without Shunt: the balancer is a router."""
    yield standing_lab
    standing_lab.stop_loads()


@pytest.fixture(scope="session")
def session_lab():
    """One laboratory for all tests that leave it as they found it; the echo servers run."""
    for lab in opened(Lab()):
        lab.start_echo()
        lab.shunt = Shunt(lab, lab_config(web_service(), live_service()))
        yield lab


@pytest.fixture
def lab(session_lab):
    """The shared laboratory with Shunt serving `web` and `live`, as it was configured, whatever happened before."""
    shunt = session_lab.shunt
    for nginx in session_lab.nginx.values():
        nginx.thaw()
        if not nginx.process.running:
            nginx.start()
    if not shunt.running("dataplane"):
        shunt.start_dataplane()
    if not shunt.running("controlplane"):
        shunt.start_controlplane()
    shunt.wait_serving()
    yield session_lab
    session_lab.stop_loads()


@pytest.fixture
def shunt(lab):
    return lab.shunt
