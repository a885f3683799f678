"""What the system tests share: laboratories, and the end of every log beside a failure."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT)]

from lab.laboratory import Lab  # noqa: E402  the path comes first

LOG_LINES, LOG_COLUMNS = 12, 240
open_labs = []


def opened(lab):
    open_labs.append(lab)
    return lab


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for lab in open_labs:
            for log in sorted(lab.directory.glob("**/*.log")):
                tail = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
                if tail:
                    report.sections.append((f"end of {log.relative_to(lab.directory)}",
                                            "\n".join(line[:LOG_COLUMNS] for line in tail)))


@pytest.fixture(scope="module")
def plain_lab():
    """The network and its nginx servers, without Shunt: the balancer is a router."""
    with opened(Lab()) as lab:
        yield lab
    open_labs.remove(lab)
