"""What this node tells of itself: two track files for keepalived, its role, and what a fault is and is not."""

import json
import os
import signal
import statistics
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from lab.api import UnixConnection
from lab.config import lab_config, live_service
from lab.laboratory import Lab
from lab.network import LIVE_PORT, VIP
from lab.shunt import BUILD, CliFailed, Shunt
from lab.track_file import TrackFile
from lab.waiting import wait_until

from tests.system.conftest import opened, repeats

HOLD = 0.4
DETECTION = 0.25  # seconds, of a worker that stands still
OTHERWISE = 0.5  # of what begins with a command that takes its time, and is looked at ten times a second
SHORT_STALL_MS = 90
WEDGES = repeats(5, 50)
STALLS = repeats(4, 40)
MONITOR_PORT = 9480
NOTIFY = Path(__file__).resolve().parents[2] / "docs/samples/keepalived/shunt-notify"


def ha_config(port):
    return lab_config(live_service(), workers=2) | {
        "ha": {"hold": f"{int(HOLD * 1000)}ms"}, "http": {"listen": f"127.0.0.1:{port}"}}


@pytest.fixture(scope="module")
def ha_shunt():
    """Two workers under load, with [ha] and test hooks."""
    os.environ["SHUNT_TEST_HOOKS"] = "1"
    for lab in opened(Lab(queues=2)):
        lab.start_echo()
        shunt = Shunt(lab, ha_config(MONITOR_PORT))
        shunt.start()
        yield shunt
    del os.environ["SHUNT_TEST_HOOKS"]


@pytest.fixture
def node(ha_shunt):
    """The same, serving, with both files followed."""
    for daemon in ("dataplane", "controlplane"):
        if not ha_shunt.running(daemon):
            ha_shunt.daemon(daemon)
    ha_shunt.wait_serving()
    files = [ha_shunt.run_dir / f"ha.{daemon}" for daemon in ("dataplane", "controlplane")]
    wait_until(lambda: all(file.exists() and file.read_text() == "0\n" for file in files), 10, "both files to say 0")
    with ExitStack() as undo:
        for file in files:
            followed = TrackFile(file)
            undo.callback(followed.close)
            setattr(ha_shunt, file.name.replace(".", "_"), followed)
        yield ha_shunt
    ha_shunt.lab.stop_loads()


def loaded(node):
    live = node.lab.live(VIP, connections=20, udp_rate=500, port=LIVE_PORT)
    wait_until(lambda: live.report()["tcp"]["live"] == 20, 20, "live connections")
    return live


def wedge(node, worker, milliseconds):
    """When it began, at the latest."""
    status, answer = UnixConnection(node.run_dir / "api.sock").ask(
        "POST", f"workers/{worker}:wedge", {"for_ms": milliseconds})
    assert status == 200, answer
    return time.monotonic()


def until(instant):
    wait_until(lambda: time.monotonic() >= instant, 60, "the time to pass", every=0.005)


def reasons(node):
    """Why `status` is not well."""
    return json.loads(node.call("status", "--json").stdout)["reasons"]


def faults(node):
    return [event["text"] for event in node.ask("events")["events"] if event["kind"] == "ha"]


def test_a_wedged_worker_is_told_in_time_and_forgiven_after_the_hold(node):
    loaded(node)
    took = []
    for number in range(WEDGES):
        before = time.monotonic()
        wedge(node, number % 2, 400)
        told = node.ha_dataplane.wait_for("1", before)
        took.append((told - before) * 1000)
        over = node.ha_dataplane.wait_for("0", told)
        assert over - (before + 0.4) >= HOLD * 0.9
        assert over - (before + 0.4) <= HOLD + 1
    print(f"{WEDGES} wedges told after {statistics.median(took):.0f} ms (median), {max(took):.0f} ms (longest)")
    assert faults(node).count("this node cannot serve: worker 0 stands still") >= WEDGES // 2
    assert max(took) <= DETECTION * 1000
    assert min(took) >= 100
    assert node.ha_controlplane.written == [], "the main thread was alive all the time"


def test_a_short_stall_of_a_worker_or_of_everything_is_no_fault(node):
    loaded(node)
    for number in range(STALLS):
        until(wedge(node, number % 2, SHORT_STALL_MS) + SHORT_STALL_MS / 1000 + 0.1)
    dataplane = node.daemons["dataplane"]
    for _ in range(STALLS):
        dataplane.signal(signal.SIGSTOP)
        until(time.monotonic() + SHORT_STALL_MS / 1000)
        dataplane.signal(signal.SIGCONT)
        until(time.monotonic() + 0.1)
    assert node.ha_dataplane.written == [] and node.ha_controlplane.written == [], faults(node)


def test_a_data_plane_that_stands_still_as_a_whole_is_told_by_the_control_plane(node):
    dataplane = node.daemons["dataplane"]
    before = time.monotonic()
    dataplane.signal(signal.SIGSTOP)
    told = node.ha_controlplane.wait_for("1", before)
    dataplane.signal(signal.SIGCONT)
    assert 0.4 <= told - before <= 1.5
    assert node.ha_controlplane.wait_for("0", told) - told >= HOLD * 0.9
    assert node.ha_dataplane.written == [], "it cannot know that anything was wrong"


def test_a_killed_data_plane_is_told_by_the_control_plane_and_by_its_successor(node):
    before = time.monotonic()
    node.kill("dataplane")
    told = node.ha_controlplane.wait_for("1", before)
    print(f"a kill told after {(told - before) * 1000:.0f} ms")
    assert told - before <= OTHERWISE
    assert node.ha_dataplane.written == [], "a killed process writes nothing"
    assert node.ask("ha", "show")["reasons"][0] == "no data plane is running"

    before = time.monotonic()
    node.start_dataplane()
    ready = time.monotonic()
    boot = node.ha_dataplane.wait_for("1", before)
    assert boot < ready, "from boot on"
    assert node.ha_dataplane.wait_for("0", boot) - boot >= HOLD
    node.ha_controlplane.wait_for("0", told)
    wait_until(lambda: node.ask("ha", "show")["ready"], 5, "the node to be ready")


def test_a_stopped_data_plane_says_so_itself(node):
    before = time.monotonic()
    node.daemons["dataplane"].stop()
    assert node.ha_dataplane.wait_for("1", before) - before <= OTHERWISE
    assert node.ha_dataplane.says() == "1"


def test_a_port_without_a_link_is_a_fault(node):
    network = node.lab.network
    before = time.monotonic()
    network.balancer.run("ip", "link", "set", "lan0", "down")
    try:
        told = node.ha_dataplane.wait_for("1", before)
        assert told - before <= OTHERWISE
        wait_until(lambda: "data plane: port lan0 has no link" in reasons(node), 5, "status to say it")
    finally:
        network.balancer.run("ip", "link", "set", "lan0", "up")
    node.ha_dataplane.wait_for("0", told)


def test_a_restart_of_the_control_plane_leaves_file_and_role(node):
    node.cli("ha", "role", "MASTER")
    before = wait_until(lambda: (ha := node.ask("ha", "show"))["ready"] and ha, 5, "the node to be ready")
    assert before["role"] == "master"
    assert node.ask("status")["ha"]["role"] == "master" and " role master " in node.cli("status")
    node.kill("controlplane")
    node.start_controlplane()
    until(time.monotonic() + HOLD + 0.2)
    assert node.ha_controlplane.written == []
    after = node.ask("ha", "show")
    assert after["role"] == "master" and after["role_for_ms"] >= before["role_for_ms"]
    node.daemons["controlplane"].stop()
    node.start_controlplane()
    assert node.ha_controlplane.written == []


def notify(node, state):
    """As keepalived runs it: it does not wait."""
    environment = {"PATH": f"{BUILD}:{os.environ['PATH']}", "SHUNT_SOCKET": str(node.run_dir / "api.sock")}
    return subprocess.Popen([NOTIFY, "INSTANCE", "VI_1", state, "100"], env=environment, stderr=subprocess.DEVNULL)


def test_the_notify_script_tells_the_newest_state_also_to_a_control_plane_that_comes_back(node):
    for state, role in (("BACKUP", "backup"), ("MASTER", "master"), ("STOP", "none")):
        assert notify(node, state).wait(10) == 0
        assert node.ask("ha", "show")["role"] == role
    node.daemons["controlplane"].stop()
    calls, newest = [], node.run_dir / "ha.notify"
    for state in ("MASTER", "FAULT", "BACKUP"):
        before = newest.read_text()
        calls.append(notify(node, state))
        wait_until(lambda: newest.read_text().strip() and newest.read_text() != before, 10, "it to have begun")
    node.start_controlplane()
    assert [call.wait(20) for call in calls] == [0, 0, 0]
    assert node.ask("ha", "show")["role"] == "backup"


def test_a_file_that_cannot_be_written_is_loud(node):
    file = node.ha_dataplane.path
    file.unlink()
    file.mkdir()
    try:
        wedge(node, 0, 400)

        def is_loud():
            return any(f"cannot write {file}" in reason for reason in reasons(node))

        wait_until(is_loud, 5, "status to say it")
        assert any("keepalived does not hear" in text for text in faults(node))
    finally:
        file.rmdir()
    wait_until(lambda: file.exists() and file.read_text() == "0\n", 10, "the file to be written again")


def watch(node, path, *options, port=MONITOR_PORT):
    """Status and body of an answer, as a monitoring program on the node gets them."""
    said = node.balancer.run("curl", "-s", "--max-time", "5", "-w", "\n%{http_code}", *options,
                             f"http://127.0.0.1:{port}{path}")
    body, _, status = said.rpartition("\n")
    return int(status), body


def test_whoever_watches_is_answered_on_the_tcp_port(node):
    assert watch(node, "/healthz") == (200, "ok\n")
    wait_until(lambda: watch(node, "/readyz") == (200, "ready\n"), 5, "the node to be ready")
    node.cli("ha", "role", "backup")
    status, metrics = watch(node, "/metrics")
    assert status == 200 and 'shunt_ha_role{role="backup"} 1\n' in metrics
    assert 'shunt_worker_received_packets_total{worker="1"}' in metrics

    wedge(node, 0, 1000)
    node.ha_dataplane.wait_for("1", 0)
    status, reasons = wait_until(lambda: (answer := watch(node, "/readyz"))[0] == 503 and answer, 5, "it not to be ready")
    assert "worker 0 stands still" in reasons or "ha.dataplane says 1" in reasons

    for method in ("POST", "PUT", "DELETE"):
        assert watch(node, "/metrics", "-X", method)[0] == 405
    assert watch(node, "/v1/ha/role", "-X", "POST", "-d", '{"role": "fault"}')[0] == 404
    assert node.ask("ha", "show")["role"] == "backup"
    assert watch(node, "/metrics", "-H", "X: " + 9000 * "x")[0] == 431


def test_the_tcp_port_follows_the_configuration(node):
    other = MONITOR_PORT + 1
    node.write_config(ha_config(other))
    assert "http.listen" in node.cli("config", "apply", str(node.config_file))
    try:
        wait_until(lambda: listens(node, other), 5, "the other port to answer")
        assert not listens(node, MONITOR_PORT)
    finally:
        node.write_config(ha_config(MONITOR_PORT))
        node.cli("config", "apply", str(node.config_file))
    wait_until(lambda: listens(node, MONITOR_PORT), 5, "the port to answer again")


def listens(node, port):
    return f"127.0.0.1:{port}" in node.balancer.run("ss", "-Htln")


def test_a_worker_that_stands_still_for_long_ends_the_process(node):
    dataplane = node.daemons["dataplane"]
    before = time.monotonic()
    wedge(node, 1, 10_000)
    told = node.ha_dataplane.wait_for("1", before)
    assert told - before <= DETECTION
    assert dataplane.popen.wait(10) == -signal.SIGABRT
    assert 2 <= time.monotonic() - before <= 5
    node.ha_controlplane.wait_for("1", before)
    assert node.ha_dataplane.says() == "1"


def test_hooks_for_tests_are_refused_without_them(node):
    node.daemons["dataplane"].stop()
    del os.environ["SHUNT_TEST_HOOKS"]
    try:
        node.start_dataplane()
        node.wait_serving()
        with pytest.raises(CliFailed) as failed:
            node.ask("worker", "wedge", "0", "--for", "100ms")
        assert failed.value.code == 1
        assert failed.value.answer["error"]["message"] == "the data plane takes no test hooks"
    finally:
        os.environ["SHUNT_TEST_HOOKS"] = "1"
        node.daemons["dataplane"].stop()
