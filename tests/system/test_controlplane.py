"""shunt-controlplane by itself: no data plane, a namespace of its own, backends that only accept connections."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from itertools import count
from pathlib import Path

import pytest

from lab.api import UnixConnection
from lab.config import to_toml
from lab.namespace import Namespace
from lab.process import LAB_ROOT, Process
from lab.waiting import wait_until

PROGRAM = Path(os.environ.get("SHUNT_BUILD", LAB_ROOT.parent / "build")) / "shunt-controlplane"
numbers = count(1)
UP, DOWN = "198.18.2.11", "198.18.2.12"


class Backend:
    """Accepts connections on (address, port) and closes them."""

    def __init__(self, namespace, address, port=80):
        with namespace.entered():
            self.socket = socket.create_server((address, port), backlog=128)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        try:
            while True:
                self.socket.accept()[0].close()
        except OSError:
            return

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


class Node:
    """A namespace, the directories of one instance, and a control plane in them."""

    def __init__(self, directory):
        self.directory = directory
        self.namespace = Namespace(f"{os.environ.get('SHUNT_TEST_ID', 'shunt')}-cp{os.getpid()}-{next(numbers)}")
        for address in (UP, DOWN):
            self.namespace.ip("address", "add", f"{address}/32", "dev", "lo")
        self.run_dir, self.state_dir = directory / "run", directory / "state"
        self.config_file = directory / "shunt.toml"
        self.config = {"version": 1, "node": {"name": "test"}, "service": [{
            "name": "web", "vip": ["198.18.0.10:80/tcp"], "table_size": 1021,
            "check": {"type": "tcp", "interval": "50ms", "timeout": "40ms", "rise": 2, "fall": 3},
            "backend": [{"address": UP, "weight": 100}, {"address": DOWN, "weight": 100}]}]}
        self.write()
        self.processes = []
        self.backend = Backend(self.namespace, UP)

    def write(self):
        self.config_file.write_text(to_toml(self.config))

    def command(self):
        return [PROGRAM, "--config", self.config_file, "--run-dir", self.run_dir, "--state-dir", self.state_dir]

    def start(self):
        (self.run_dir / "controlplane.ready").unlink(missing_ok=True)
        process = Process("shunt-controlplane", self.command(), self.log, self.namespace)
        self.processes.append(process)
        process.wait_ready((self.run_dir / "controlplane.ready").exists)
        return process

    def run(self, *more):
        """Starts one that is expected to end by itself."""
        return subprocess.run([*self.namespace.prefix, *map(str, self.command()), *more], capture_output=True, text=True,
                              timeout=20)

    @property
    def log(self):
        return self.directory / "controlplane.log"

    def ask(self, method, target, body=None):
        connection = UnixConnection(self.run_dir / "api.sock")
        status, document = connection.ask(method, target, body)
        connection.close()
        return status, document

    def get(self, target):
        status, document = self.ask("GET", target)
        assert status == 200, document
        return document

    def backends(self):
        return {entry["address"]: entry for entry in self.get("status")["services"][0]["backends"]}

    def verdicts(self):
        return {address: entry["verdict"] for address, entry in self.backends().items()}

    def settled(self):
        """Waits until both verdicts are there and published."""
        wait_until(lambda: self.verdicts() == {UP: "up", DOWN: "down"} and not self.backends()[DOWN]["in_table"], 10,
                   "one backend up, one down")
        return self.picture()

    def picture(self):
        status = self.get("status")
        return status["generation"], status["services"][0]["table_hash"], self.verdicts()

    def events(self):
        return [event["text"] for event in self.get("events")["events"]]

    def close(self):
        for process in self.processes:
            process.stop()
        self.backend.close()
        self.namespace.close()


@pytest.fixture
def node():
    directory = Path(tempfile.mkdtemp(prefix="shunt-cp-", dir="/dev/shm"))
    made = Node(directory)
    yield made
    made.close()
    shutil.rmtree(directory)


def test_publishes_checks_and_says_so(node):
    process = node.start()
    _, hashes, _ = node.settled()
    assert hashes["ipv4"] and hashes["ipv6"] is None
    status = node.get("status")
    assert status["node"] == "test" and status["workers"] == {"passed": 0, "total": 0}
    assert status["reasons"][1].startswith(f"web: 1 of 2 backends down ({DOWN}: ")
    table = node.get("services/web/table")
    assert [entry["key"] for entry in table["backends"]] == [f"{UP}:0"]
    assert table["backends"][0]["slots"] == 1021 and table["hash"] == hashes["ipv4"]
    guard = node.namespace.run("nft", "list", "ruleset")
    assert "198.18.0.10" in guard
    assert process.stop() == 0
    assert not (node.run_dir / "controlplane.ready").exists() and not (node.run_dir / "api.sock").exists()
    assert node.namespace.run("nft", "list", "ruleset") == guard, "the guard stays"


def test_a_second_instance_is_refused_and_disturbs_nothing(node):
    first = node.start()
    before = node.settled()
    second = node.run()
    assert second.returncode == 1
    assert f"process {first.pid}" in second.stderr and "--run-dir" in second.stderr
    assert first.running and node.picture() == before
    assert (node.run_dir / "controlplane.ready").exists()


def test_detach_takes_the_guard_away_and_only_then(node):
    process = node.start()
    refused = node.run("--detach")
    assert refused.returncode == 1 and f"process {process.pid}" in refused.stderr
    assert "198.18.0.10" in node.namespace.run("nft", "list", "ruleset")
    assert process.stop() == 0
    for _ in range(2):
        assert node.run("--detach").returncode == 0
        assert node.namespace.run("nft", "list", "ruleset") == ""


def test_without_anything_to_serve_nothing_is_left_behind(node):
    node.config_file.unlink()
    assert node.run().returncode == 1
    assert not node.run_dir.exists() and not node.state_dir.exists()


def test_kill_and_restart_change_no_table_and_no_verdict(node):
    process = node.start()
    before = node.settled()
    for _ in range(3):
        process.kill()
        process = node.start()
        assert node.picture() == before
    wait_until(lambda: node.get("events")["events"], 5, "an event")
    assert not [text for text in node.events() if " is down" in text or " is up" in text]


def test_a_drain_survives_kill_and_reload(node):
    process = node.start()
    node.settled()
    status, change = node.ask("POST", f"services/web/backends/{UP}:drain", {"reason": "maintenance", "for_ms": 3_600_000})
    assert status == 200 and change["text"].endswith("0/0 workers"), change
    process.kill()
    process = node.start()
    override = node.get("overrides")["overrides"][0]
    assert override["state"] == "drain" and override["reason"] == "maintenance"
    assert 0 < override["expires_in_ms"] <= 3_600_000
    process.signal(signal.SIGHUP)
    wait_until(lambda: any("SIGHUP" in text for text in node.events()), 5, "the reload")
    assert node.backends()[UP]["state"] == "drain"


def test_a_damaged_state_is_set_aside(node):
    process = node.start()
    node.settled()
    node.ask("PATCH", f"services/web/backends/{UP}", {"weight": 7})
    process.kill()
    state = node.state_dir / "state.toml"
    whole = state.read_bytes()
    for damage in (whole[:-20], whole.replace(b"weight = 7", b"weight = 8"), b""):
        state.write_bytes(damage)
        process = node.start()
        assert node.backends()[UP]["weight"] == 100
        loud = [event for event in node.get("events")["events"] if event["level"] == "error"]
        assert len(loud) == 1 and "moved to" in loud[0]["text"], loud
        process.kill()
    assert len(list(node.state_dir.glob("state.toml.damaged.*"))) == 3


def test_the_saved_state_wins_until_the_file_is_taken(node):
    process = node.start()
    node.ask("PATCH", f"services/web/backends/{UP}", {"weight": 7})
    node.config["service"][0]["backend"][0]["weight"] = 9
    node.write()
    process.kill()
    process = node.start()
    assert node.backends()[UP]["weight"] == 7
    status = node.get("status")
    assert status["config"]["file_differs"] and any("is not what" in text for text in status["warnings"])

    node.config_file.write_text("version = 1\nnonsense = true\n")
    process.signal(signal.SIGHUP)
    wait_until(lambda: any("shunt.toml:2:1: " in text for text in node.events()), 5, "the refusal")
    assert node.backends()[UP]["weight"] == 7

    node.write()
    process.signal(signal.SIGHUP)
    wait_until(lambda: node.backends()[UP]["weight"] == 9, 5, "the new weight")
    assert not node.get("status")["config"]["file_differs"]


def fill(path):
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))


def test_a_full_disk_refuses_the_change_and_nothing_else(node):
    node.state_dir.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", node.state_dir], check=True)
    try:
        process = node.start()
        before = node.settled()
        fill(node.state_dir / "filler")
        status, problem = node.ask("PATCH", f"services/web/backends/{UP}", {"weight": 7})
        assert status == 507 and "No space left" in problem["detail"], problem
        assert node.picture() == before and node.backends()[UP]["weight"] == 100
        (node.state_dir / "filler").unlink()
        assert node.ask("PATCH", f"services/web/backends/{UP}", {"weight": 7})[0] == 200
        process.kill()
        node.start().kill()
    finally:
        subprocess.run(["umount", node.state_dir], check=True)


def test_bad_input_is_refused_with_place_and_remedy(node):
    assert node.run("--no-such-option").returncode == 2
    node.config_file.write_text(node.config_file.read_text().replace('"tcp"', '"tpc"'))
    refused = node.run()
    assert refused.returncode == 1 and f"{node.config_file}:" in refused.stderr
    node.config_file.unlink()
    refused = node.run()
    assert refused.returncode == 1 and str(node.config_file) in refused.stderr


def test_the_tool_sets_a_mode_and_what_belongs_to_it(node):
    node.start()

    def shunt(*words):
        return subprocess.run([PROGRAM.parent / "shunt", "--socket", node.run_dir / "api.sock", *words], capture_output=True,
                              text=True, timeout=20)

    added = shunt("service", "add", "old", "198.18.0.60:443/tcp", "--mode", "l3dsr", "--set", "dscp=10", "--set", "mss=1200")
    assert added.returncode == 0, added.stderr
    refused = shunt("service", "set", "old", "--mode", "vxlan", "--set", "tunnel.vni=7")
    assert refused.returncode == 1 and 'mode "vxlan" has no use for dscp; remove it' in refused.stderr, refused.stderr
    changed = shunt("service", "set", "old", "--mode", "vxlan", "--set", "dscp=null", "--set", "tunnel.vni=7", "--set",
                    "tunnel.inner_mac=02:00:00:00:00:07")
    assert changed.returncode == 0, changed.stderr
    assert '~ service.old.mode  "l3dsr" -> "vxlan"' in changed.stdout and "+ service.old.tunnel.vni  7" in changed.stdout
    shown = {line.split()[0]: line.split()[-1] for line in shunt("service", "show", "old").stdout.splitlines()}
    assert shown["mode"] == "vxlan" and shown["mss"] == "1200" and shown["dscp"] == "-"
    assert shown["tunnel.vni"] == "7" and shown["tunnel.inner_mac"] == "02:00:00:00:00:07" and "tunnel.port" not in shown
    explained = shunt("explain", "203.0.113.7:40000", "198.18.0.60:443/tcp", "--json")
    assert json.loads(explained.stdout)["mode"] == "vxlan"


@pytest.mark.parametrize("words", [["frob"], ["backend", "frob", "web/1"], ["status", "frob"]])
def test_the_tool_names_the_word_it_does_not_know(words):
    done = subprocess.run([PROGRAM.with_name("shunt"), *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and '"frob" is not known here' in done.stderr
