"""Test cases and where they come from: one Case per gtest case, pytest case or house check."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass


@dataclass
class Case:
    name: str
    passed: bool
    why: str = ""  # for a failed one: a few words


def from_exit(name, status, log=""):
    return Case(name, status == 0, "" if status == 0 else f"exit status {status}{', see ' + str(log) if log else ''}")


def from_gtest(path, filtered, log):
    """The cases in a gtest JSON report. Skipped and disabled ones failed; ones left out by our own filter do not count."""
    found = []
    for suite in json.loads(path.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            ran = case["status"] == "RUN"
            if not ran and filtered:
                continue
            if not ran or case["result"] == "SKIPPED":
                found.append(Case(name, False, "skipped or disabled"))
            else:
                found.append(Case(name, not case.get("failures"), f"assertion failed, see {log}"))
    return found


def from_junit(path, log):
    """The cases in pytest's JUnit report; a case may appear twice (body and teardown), then both must be good."""
    found = {}
    for element in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{element.get('classname')}::{element.get('name')}"
        bad = [kind for kind in ("failure", "error", "skipped") if element.find(kind) is not None]
        if name not in found or bad:
            found[name] = Case(name, not bad, f"{' and '.join(bad)}, see {log}")
    return list(found.values())
