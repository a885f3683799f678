"""Operators see the flows that workers remember, and have them forgotten, while everything runs."""

import json
from collections import Counter

import pytest

from lab.network import VIP, backend_address
from lab.shunt import CliFailed
from lab.waiting import wait_until

CONNECTIONS = 100
LIVE = ("service=live", "protocol=tcp", "state=established")


@pytest.fixture
def live(lab):
    """Connections that are alive, and no other flow anywhere."""
    lab.shunt.cli("flow", "kill", "all", "--yes")
    load = lab.live(VIP, connections=CONNECTIONS, udp=False)
    wait_until(lambda: load.report()["tcp"]["live"] == CONNECTIONS, 20, "100 live connections")
    return load


def refused(shunt, *words):
    with pytest.raises(CliFailed) as failed:
        shunt.cli(*words, "--json")
    return failed.value


def test_every_connection_is_listed_and_counted_once(lab, live):
    shunt = lab.shunt
    listed = shunt.ask("flow", "list", *LIVE)
    assert (listed["total"], listed["listed"]) == (CONNECTIONS, CONNECTIONS)
    keys = {(flow["client"], flow["client_port"], flow["vip"]) for flow in listed["flows"]}
    assert len(keys) == CONNECTIONS
    assert {flow["state"] for flow in listed["flows"]} == {"established"}
    assert all(flow["workers"] == [0] for flow in listed["flows"])
    wait_until(lambda: shunt.ask("flow", "count", *LIVE, "idle<5s")["total"] == CONNECTIONS, 10, "all of them busy")
    per_backend = Counter()
    counts = shunt.ask("flow", "count", *LIVE, "--by", "backend")["counts"]
    names = {address: name for name in ("b1", "b2", "b3") for address in backend_address(name)}
    for count in counts:
        address = count["backend"].removeprefix("live/").rpartition(":")[0].strip("[]")
        per_backend[names[address]] += count["flows"]
    assert per_backend == live.report()["tcp"]["per_backend"]
    few = shunt.call("flow", "list", *LIVE, "--limit", "3")
    assert len(few.stdout.splitlines()) == 4 and f"and {CONNECTIONS - 3} more" in few.stderr
    assert few.stdout.splitlines()[0].split() == ["CLIENT", "VIP", "SERVICE", "BACKEND", "STATE", "IDLE", "WORKERS"]


def test_a_filter_that_is_wrong_is_pointed_at(lab):
    failed = refused(lab.shunt, "flow", "list", "service=live", "backend=198.18.2.99")
    error = failed.answer["error"]
    assert failed.code == 1
    assert (error["file"], error["line"], error["column"]) == ("filter", 1, 22)
    assert error["message"] == 'that service has no backend "198.18.2.99"' and error["remedy"]
    assert refused(lab.shunt, "flow", "kill", "idle", "--yes").answer["error"]["column"] == 5


def test_killed_flows_leave_a_drained_backend_and_nobody_else_notices(lab, live):
    shunt = lab.shunt
    shares = live.report()["tcp"]["per_backend"]
    addresses = backend_address("b1")
    for address in addresses:
        shunt.cli("backend", "drain", f"live/[{address}]" if ":" in address else f"live/{address}")
    try:
        dry = shunt.call("flow", "kill", f"backend={addresses[0]}", "--dry-run", "--json")
        expected = json.loads(dry.stdout)["flows"]
        assert dry.returncode == 4 and 0 < expected <= shares["b1"]
        assert shunt.ask("flow", "count", *LIVE)["total"] == CONNECTIONS
        killed = sum(shunt.ask("flow", "kill", *LIVE, f"backend={address}", "--yes")["flows"] for address in addresses)
        assert killed == shares["b1"]
        wait_until(lambda: live.report()["tcp"]["live"] == CONNECTIONS - shares["b1"], 20, "those of b1 to be reset")
        live.ask("mark")
        wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 20, 30, "twenty more messages on each")
        assert all(shunt.ask("flow", "count", *LIVE, f"backend={address}")["total"] == 0 for address in addresses)
        del shares["b1"]
        assert live.finish()["tcp"]["per_backend"] == shares
    finally:
        for address in addresses:
            shunt.cli("backend", "ready", f"live/[{address}]" if ":" in address else f"live/{address}")
    texts = [event["text"] for event in shunt.ask("events")["events"] if event["kind"] == "audit"]
    assert f"uid 0 kills flows: {' '.join(LIVE)} backend={addresses[0]}" in texts


def test_without_a_data_plane_nothing_is_killed_and_flows_can_still_be_read(lab, live):
    shunt = lab.shunt
    shunt.kill("dataplane")
    failed = refused(shunt, "flow", "kill", "all", "--yes")
    assert failed.code == 1 and "no data plane runs" in failed.answer["error"]["message"]
    assert shunt.ask("flow", "count", *LIVE)["total"] == CONNECTIONS
    shunt.start_dataplane()
    shunt.wait_serving()
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 5, 30, "five more messages on each")
    assert shunt.ask("flow", "kill", *LIVE, "--yes")["flows"] == CONNECTIONS
