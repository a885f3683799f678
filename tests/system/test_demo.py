"""scripts/demo keeps its promises, prints them as CONTRACTS says, and leaves nothing."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from lab.laboratory import remove

DEMO = Path(__file__).resolve().parents[2] / "scripts/demo"
LIMIT_TOLERANCE = 1.1
SHARE_TOLERANCE = 0.15


@pytest.fixture(scope="module")
def demo():
    """One run with --json --keep: what it said, and what it left standing, removed afterwards."""
    done = subprocess.run([DEMO, "--json", "--keep"], capture_output=True, text=True, timeout=600)
    kept = [word for word in done.stderr.split() if word.startswith("/dev/shm/shunt-lab-")]
    yield done, kept
    if kept:
        remove(Path(kept[-1]))


def test_every_promise_of_the_demo_holds(demo):
    done, _ = demo
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["failed_after_detection"] == 0
    assert sum(said["per_backend"].values()) >= 3000 and said["ipv6_requests"] >= 1000
    share = sum(said["per_backend"].values()) / 3
    assert len(said["per_backend"]) == 3
    assert all(abs(served - share) <= SHARE_TOLERANCE * share for served in said["per_backend"].values())
    assert 0 < said["detection"]["kill_ms"] <= said["detection_limit_ms"] * LIMIT_TOLERANCE
    assert 0 < said["detection"]["silence_ms"] <= said["detection_limit_ms"] * LIMIT_TOLERANCE
    assert said["detection_ms"] == max(said["detection"].values())
    assert said["download_ms"] >= 10_000 and said["download_after_drain_ms"] * 2 >= said["download_ms"]
    assert said["long_download_intact"] is True and said["new_connections_to_drained"] == 0
    for counters in [said, *said["workers"]]:
        assert counters["received"] == counters["forwarded"] + counters["punted"] + counters["dropped"]
    assert said["received"] == sum(worker["received"] for worker in said["workers"]) > 20_000
    assert said["forwarded"] > 20_000 and said["originated"] == 0
    assert 0 < said["failed"] < said["requests"]  # a server died: some were under way


def test_what_the_demo_leaves_with_keep_still_works(demo):
    done, kept = demo
    assert kept, done.stderr
    tried = [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("nsenter") and "curl" in line]
    assert len(tried) == 2
    for command in tried:
        answer = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20)
        assert answer.stdout.strip() in ("b1", "b2", "b3"), command
    status = next(line.strip() for line in done.stderr.splitlines() if line.strip().endswith(" status"))
    assert subprocess.run(status, shell=True, capture_output=True, timeout=20).returncode == 0


def test_an_interrupted_demo_leaves_nothing():
    demo = subprocess.Popen([DEMO], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = iter(demo.stdout.readline, "")
    assert any("[2/" in line for line in said)
    name = f"-{demo.pid}-"  # the shell became the demo
    directory = next(str(lab.parent) for lab in Path("/dev/shm").glob("shunt-lab-*/inventory.json")
                     if name in lab.read_text())
    assert running_in(directory)
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert name in listed
    demo.send_signal(signal.SIGINT)
    demo.stdout.read()
    assert demo.wait(30) == 130
    demo.stdout.close()
    assert name not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert not running_in(directory)


def running_in(directory):
    """Processes whose command line names the laboratory's directory."""
    return subprocess.run(["pgrep", "-f", directory], capture_output=True, text=True, check=False).stdout.split()


def test_wrong_usage_is_refused_and_another_user_is_told():
    assert subprocess.run([DEMO, "--jsom"], capture_output=True).returncode == 2
    assert subprocess.run([DEMO, "--remove"], capture_output=True).returncode == 2
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*as_nobody, "bash", DEMO, "--json"], capture_output=True, text=True)
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert "root" in error["message"] and error["remedy"]
