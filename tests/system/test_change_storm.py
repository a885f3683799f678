"""A storm of random changes over live flows: none changes its backend, or breaks, while its backend is there."""

import time
from collections import Counter

import pytest
from conftest import opened, repeats
from lab.api import UnixConnection
from lab.config import lab_config, live_service
from lab.laboratory import Lab
from lab.network import VIP
from lab.shunt import Shunt, unbalanced
from lab.storm import Storm
from lab.waiting import at_rate, wait_until

CHANGES, PER_SECOND = repeats(100, 1000), 10
SEED = 4
BACKENDS, STAY = ("b1", "b2", "b3", "b4", "b5"), ("b1", "b2")
LASTING, PASSING = 200, 40  # connections that stay as long as they can, and such that end and begin anew all the time
UDP_FLOWS = 40
GRACE = 1.0  # seconds that a datagram may be on its way
# What becomes of packets of backends that were removed, and of those they left behind; senders repeat the second.
EXPECTED_DROPS = {"return_unknown", "look_aside_busy"}


@pytest.fixture(scope="module")
def storm_lab():
    for lab in opened(Lab(backends=BACKENDS, queues=2)):
        lab.start_echo()
        lab.shunt = Shunt(lab, lab_config(live_service(BACKENDS), workers=2))
        lab.shunt.start()
        yield lab


def unexplained(storm, report):
    """What broke though its backend stayed."""
    assert sum(report["troubles"].values()) == len(report["first_troubles"]), "more troubles than are described"
    broken = [trouble for trouble in report["first_troubles"]
              if not storm.explains(trouble.get("before", trouble["backend"]), trouble["target"], trouble["since"],
                                    trouble["at"])]
    lost = [datagram for datagram in report["udp"]["first_lost"]
            if not storm.explains(datagram["backend"], datagram["target"], datagram["sent_at"] - GRACE,
                                  datagram["sent_at"] + GRACE)]
    return broken + lost


def drops_of(shunt, worker):
    drops = Counter()
    for entry in shunt.ask("drops")["drops"]:
        if entry["worker"] == worker:
            drops[entry["reason"]] += entry["total"]
    return drops


def assert_conserved(shunt):
    workers = shunt.settled_workers()
    assert not unbalanced(workers)
    assert len(workers) == 2 and all(worker["received"] for worker in workers)
    assert sum(worker["received"] for worker in workers) == shunt.driver_count()
    for worker in workers:
        drops = drops_of(shunt, worker["id"])
        assert sum(drops.values()) == worker["dropped"] and set(drops) <= EXPECTED_DROPS, drops


def test_no_flow_changes_its_backend_while_it_is_there(storm_lab):
    shunt = storm_lab.shunt
    storm = Storm(UnixConnection(shunt.run_dir / "api.sock"), SEED, BACKENDS, STAY)
    described = {"named_troubles": 1_000_000, "message_rate": 7}
    lasting = storm_lab.live(VIP, connections=LASTING, lifetime=1e6, udp_rate=10 * UDP_FLOWS, udp_flows=UDP_FLOWS,
                             **described)
    passing = storm_lab.live(VIP, connections=PASSING, lifetime=1, udp=False, **described)
    wait_until(lambda: lasting.report()["tcp"]["live"] == LASTING, 30, "live connections")
    started, exchanges = time.monotonic(), lasting.report()["tcp"]["exchanges"]
    for _ in at_rate(PER_SECOND, CHANGES):
        storm.change()
    took = time.monotonic() - started
    during = lasting.report()
    lasting.ask("mark")
    wait_until(lambda: lasting.report()["tcp"]["least_since_mark"] >= 20, 30, "twenty more messages on each")
    reports = [lasting.finish(), passing.finish()]

    faults = [fault for report in reports for fault in unexplained(storm, report)]
    assert faults == [], f"seed {SEED}, {len(faults)} of them"
    assert took <= CHANGES / PER_SECOND * 1.2, f"{CHANGES} changes took {took:.1f} s"
    assert set(storm.made) == set(storm.ways), storm.made
    assert during["tcp"]["exchanges"] - exchanges >= 5 * LASTING * took * 0.9, "not live by the definition"
    assert reports[0]["troubles"] and reports[1]["tcp"]["opened"] > PASSING * took / 4, "nothing was at stake"
    assert_conserved(shunt)
