"""scripts/resilience: every experiment keeps its promises, and one that does not is told from one that does."""

import json
import signal
import subprocess
from collections import deque
from pathlib import Path

import pytest
from conftest import repeats
from lab.experiment import KEYS, LoadExperiment, Promise, Wish, summary
from lab.outages import Outages
from lab.resilience import EXPERIMENTS

from tests.system.test_demo import running_in

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/resilience"
USUAL = ["--repeat", "2", "--connections", "50"]


@pytest.fixture(scope="module")
def document():
    done = subprocess.run([SCRIPT, "all", "--json", *repeats(USUAL, ["--release"])], capture_output=True, text=True,
                          timeout=repeats(600, 6000))
    said = json.loads(done.stdout)
    assert "error" not in said, done.stderr
    return done, said["experiments"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_promises_of_an_experiment_are_held(document, name):
    rows = [row for row in document[1] if row["experiment"] == name]
    assert rows
    for row in rows:
        assert row["failure"] is None, row["failure"]
        assert row["held"] and not row["broken_promises"], row["broken_promises"]


def test_the_document_is_that_of_the_contract(document):
    done, rows = document
    assert [row["experiment"] for row in rows] == [name for name in EXPERIMENTS for _ in modes_of(name)]
    assert all(tuple(row) == KEYS for row in rows)
    assert done.returncode == (0 if all(row["held"] for row in rows) else 1)
    loaded = [row for row in rows if isinstance(EXPERIMENTS[row["experiment"]], LoadExperiment)]
    for row in loaded:
        assert row["repeats"] == repeats(2, EXPERIMENTS[row["experiment"]].release_repeats)
        assert row["outage_ms_median"] <= row["outage_ms_max"]
        assert row["datagrams"] > 1000 and row["new_connections"] > 50 and row["mode"]


def modes_of(name):
    return repeats(EXPERIMENTS[name].modes[:1], EXPERIMENTS[name].modes)


class Unharmed(LoadExperiment):
    name, promises = "unharmed", (Promise("broken", 0), Promise("outage_ms_max", 100), Promise("table_hash_same"))

    def stage(self, wish):
        raise NotImplementedError

    def strike(self, stage):
        raise NotImplementedError


@pytest.mark.parametrize(("measured", "broken"), [
    ({"broken": 0, "outage_ms_max": 100, "table_hash_same": True}, []),
    ({"broken": 1, "outage_ms_max": 100, "table_hash_same": True}, ["broken is 1, promised at most 0"]),
    ({"broken": 0, "outage_ms_max": 101, "table_hash_same": False},
     ["outage_ms_max is 101, promised at most 100", "table_hash_same is False"]),
    ({"broken": 0}, ["outage_ms_max is None, promised at most 100", "table_hash_same is None"])])
def test_a_promise_that_was_not_kept_or_not_measured_is_broken(measured, broken):
    row = Unharmed().judged(Wish("nat", 2, 50, 2, 2), measured)
    assert row["broken_promises"] == broken and row["held"] == (not broken)
    assert tuple(row) == KEYS


def test_an_experiment_that_could_not_end_is_broken():
    row = Unharmed().judged(Wish("nat", 2, 50, 2, 2), {"broken": 0, "outage_ms_max": 1, "table_hash_same": True,
                                                      "failure": "the daemon did not come back"})
    assert not row["held"]


def test_medians_maxima_and_sums():
    observed = [{"outage_ms": 10.4, "refused": 2, "table_hash_same": True},
                {"outage_ms": 30.6, "refused": 3, "table_hash_same": False},
                {"outage_ms": 20.0, "refused": 0, "table_hash_same": True}]
    assert summary(observed) == {"outage_ms_max": 31, "outage_ms_median": 20, "refused": 5, "table_hash_same": False}


def test_an_outage_is_the_longest_wait_of_a_part():
    outages, here, there = Outages(), ("198.18.0.10", "b1"), ("198.18.0.10", "b2")
    for number, part, at in ((1, here, 1.0), (2, there, 1.1), (3, here, 1.2), (4, here, 1.3)):
        outages.sent(part, number, at)
    outages.answered(there, 2, 1.15)  # one part is no proof of another
    outages.answered(here, 3, 1.25)  # 1 was lost
    assert outages.longest == pytest.approx(0.25)
    outages.answered(here, 1, 1.9)  # or only overtaken: 3 has ended that outage
    assert outages.longest_until(1.5) == pytest.approx(0.25)
    assert outages.longest_until(1.7) == pytest.approx(0.4)  # 4 still waits
    outages.answered(here, 4, 1.8)
    outages.mark()
    assert outages.longest_until(2.0) == 0
    assert outages.waiting == {here: deque(), there: deque()}


def test_wrong_usage_is_refused_and_another_user_is_told():
    assert subprocess.run([SCRIPT, "kill-contrl-plane"], capture_output=True).returncode == 2
    assert subprocess.run([SCRIPT, "link-flap", "--repeat", "0"], capture_output=True).returncode == 2
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*as_nobody, "bash", SCRIPT, "link-flap", "--json"], capture_output=True, text=True)
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert "root" in error["message"] and error["remedy"]


def test_an_interrupted_experiment_leaves_nothing():
    script = subprocess.Popen([SCRIPT, "link-flap", "--repeat", "100", "--connections", "10"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    assert any("1/100" in line for line in iter(script.stdout.readline, ""))
    name = f"-{script.pid}-"  # the shell became the script
    directory = next(str(lab.parent) for lab in Path("/dev/shm").glob("shunt-lab-*/inventory.json")
                     if name in lab.read_text())
    assert running_in(directory)
    script.send_signal(signal.SIGINT)
    script.stdout.read()
    assert script.wait(30) == 130
    script.stdout.close()
    assert name not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not running_in(directory) and not Path(directory).exists()
