"""The death of either daemon is nobody's business but its own. What it costs under load: test_resilience.py."""

import time

import pytest
from lab.config import DETECTION_LIMIT_MS
from lab.namespace import run
from lab.network import VIP, backend_address
from lab.shunt import unbalanced
from lab.waiting import wait_until

LIVE_CONNECTIONS = 200
WATCH_SECONDS = 1.5  # longer than one interval of the checks: the first verdicts of the new process are in


def wait_until_live(live, connections):
    wait_until(lambda: live.report()["tcp"]["live"] == connections, 30, f"{connections} live connections")


def more_exchanges(live, least=20, timeout=30):
    """Every connection still alive exchanges `least` messages from now on."""
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= least, timeout, f"{least} more messages on each")


def test_the_hash_of_a_table_is_of_its_weights(shunt):
    before = shunt.hashes()
    shunt.cli("backend", "set", "web/198.18.2.11", "--weight", "50")
    changed = shunt.hashes()
    assert {name for name in before if before[name] != changed[name]} == {"web/4"}
    shunt.kill("controlplane")
    shunt.start_controlplane()
    assert shunt.hashes() == changed
    shunt.cli("backend", "set", "web/198.18.2.11", "--weight", "100")
    assert shunt.hashes() == before


def test_a_backend_that_is_down_stays_out_when_the_control_plane_restarts(lab):
    shunt, addresses = lab.shunt, backend_address("b3")
    lab.nginx["b3"].freeze()
    shunt.wait_for_slots("web", addresses, present=False, timeout=DETECTION_LIMIT_MS / 1000 * 3)
    before, seen = shunt.hashes(), []
    for _ in range(2):
        shunt.kill("controlplane")
        shunt.start_controlplane()
        until = time.monotonic() + WATCH_SECONDS
        wait_until(lambda: seen.append(shunt.hashes()) or time.monotonic() > until, 10, "the checks to speak", every=0.1)
    assert all(hashes == before for hashes in seen)
    lab.nginx["b3"].thaw()
    shunt.wait_for_slots("web", addresses, present=True)


@pytest.fixture
def small_state_directory(lab):
    """The control plane's state directory is a file system of 64 KiB meanwhile."""
    shunt = lab.shunt
    shunt.kill("controlplane")
    run(["mount", "-t", "tmpfs", "-o", "size=64k", "small", str(shunt.state_dir)])
    shunt.start_controlplane()
    yield shunt.state_dir
    shunt.kill("controlplane")
    run(["umount", str(shunt.state_dir)])
    shunt.start_controlplane()


def test_a_full_disk_refuses_changes_and_touches_no_traffic(lab, small_state_directory):
    shunt, filler = lab.shunt, small_state_directory / "filler"
    live = lab.live(VIP, connections=50, udp_rate=1000)
    wait_until_live(live, 50)
    before = shunt.hashes(), shunt.passed_generation()
    with open(filler, "wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    refused = shunt.call("backend", "set", "web/198.18.2.11", "--weight", "50")
    assert refused.returncode == 1 and "No space left" in refused.stderr and "make room" in refused.stderr
    assert (shunt.hashes(), shunt.passed_generation()) == before
    more_exchanges(live)
    filler.unlink()
    for weight in "50", "100":
        shunt.cli("backend", "set", "web/198.18.2.11", "--weight", weight)
    assert shunt.hashes() == before[0]
    more_exchanges(live)
    last = live.finish()
    assert last["troubles"] == {} and last["tcp"]["live"] == 50 and last["udp"]["lost"] == 0, last


def test_clients_that_repeat_to_a_dead_data_plane_get_no_reset(lab):
    shunt = lab.shunt
    live = lab.live(VIP, connections=LIVE_CONNECTIONS, udp=False, patience=30)
    wait_until_live(live, LIVE_CONNECTIONS)
    backends = live.report()["tcp"]["per_backend"]
    assert len(backends) == 3
    more_exchanges(live)
    shunt.kill("dataplane")
    # packets that reach a kernel that owns the VIP while nobody forwards
    sent = lab.client.counters()["sent"]
    wait_until(lambda: lab.client.counters()["sent"] >= sent + 2 * LIVE_CONNECTIONS, 20, "repetitions")
    shunt.start_dataplane()
    more_exchanges(live, timeout=60)
    last = live.finish(60)
    assert last["troubles"] == {}, last
    assert last["tcp"]["live"] == LIVE_CONNECTIONS
    assert last["tcp"]["per_backend"] == backends
    assert not unbalanced(shunt.settled_workers())


def test_connections_opened_after_a_restart_of_the_data_plane_are_served(lab):
    lab.shunt.kill("dataplane")
    lab.shunt.start_dataplane()
    opener = lab.opener(VIP, count=300, rate=300)
    wait_until(lambda: opener.report()["answered"] + opener.report()["failed"] >= 300, 20, "300 connections")
    report = opener.finish()
    assert report["failed"] == 0, report["failed_by"]
    assert len(report["per_backend"]) == 3


def test_either_daemon_may_start_first(lab):
    shunt = lab.shunt
    hashes = shunt.hashes()
    for first, second in (("controlplane", "dataplane"), ("dataplane", "controlplane")):
        shunt.stop()
        shunt.daemon(first)
        shunt.daemon(second)
        shunt.wait_serving()
        assert shunt.hashes() == hashes
        opener = lab.opener(VIP, count=60)
        wait_until(lambda: opener.report()["answered"] == 60, 10, "60 answers")
        opener.stop()
