"""A data plane that starts with other workers or room, or over damage: flows go on where they can be found, and where
nothing can be believed it begins anew and says so."""

from random import Random

import pytest
from conftest import opened, repeats
from lab.config import lab_config, live_service, web_service
from lab.damage import cut_short, flip_bit, flip_body, state_file
from lab.experiment import Stage
from lab.laboratory import Lab
from lab.network import VIP
from lab.restarts import set_workers
from lab.shunt import Shunt, unbalanced
from lab.waiting import wait_until

CONNECTIONS = 100
ROUNDS = repeats(1, 10)
SHAPES = ((1, 65536), (2, 65536), (2, 20000), (1, 100000), (2, 65536))


@pytest.fixture(scope="module")
def two_queues():
    for lab in opened(Lab(queues=2)):
        lab.start_echo()
        lab.shunt = Shunt(lab, lab_config(web_service(), live_service(), workers=2))
        lab.shunt.start()
        yield lab


@pytest.fixture
def lab(two_queues):
    yield two_queues
    two_queues.stop_loads()


def restart_with(lab, workers, flows):
    """Kills the data plane and starts one of another shape on the same run directory."""
    shunt = lab.shunt
    shunt.kill("dataplane")
    shunt.config["dataplane"]["flows"] = flows
    set_workers(Stage(lab, [shunt]), workers)
    shunt.start_dataplane()


def more_exchanges(live, least=20, timeout=60):
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= least, timeout, f"{least} more messages on each")


def dataplane_log(lab):
    return lab.log("shunt-dataplane").read_text()


def test_flows_outlive_another_number_of_workers_and_another_size(lab):
    shunt = lab.shunt
    live = lab.live(VIP, connections=CONNECTIONS, udp_rate=200, patience=30)
    wait_until(lambda: live.report()["tcp"]["live"] == CONNECTIONS, 30, f"{CONNECTIONS} live connections")
    more_exchanges(live)
    backends = live.report()["tcp"]["per_backend"]
    received = shunt.totals()["received"]
    for workers, flows in SHAPES * ROUNDS:
        # What the table says is not what it said: who is not known goes elsewhere.
        weight = "50" if shunt.table("live", 4)["backends"][0]["weight"] == 100 else "100"
        shunt.cli("backend", "set", f"live/{shunt.config['service'][1]['backend'][0]['address']}", "--weight", weight)
        restart_with(lab, workers, flows)
        more_exchanges(live)
        counted = shunt.workers()
        assert len(counted) == workers
        assert sum(worker["received"] for worker in counted) > received, "counters go on"
        received = sum(worker["received"] for worker in counted)
    known = shunt.ask("flow", "count", "service=live", "protocol=tcp", "idle<5s")["total"]
    last = live.finish(60)
    assert last["troubles"] == {}, last
    assert last["tcp"]["live"] == CONNECTIONS
    assert last["tcp"]["per_backend"] == backends
    assert known == CONNECTIONS, "each is listed once, whoever remembers it"
    assert not unbalanced(shunt.settled_workers())


@pytest.mark.parametrize("damage", ["header", "cut", "flips"])
def test_a_damaged_state_region_is_given_up_or_harmless(lab, damage):
    shunt = lab.shunt
    state = state_file(shunt)
    for seed in range(repeats(2, 10)):
        said = dataplane_log(lab).count("are given up")
        shunt.kill("dataplane")
        if damage == "header":
            flip_bit(state, seed * 131 % (64 * 8))
        elif damage == "cut":
            cut_short(state, (seed + 1) / 20)
        else:
            flip_body(state, 10_000, Random(seed))
        shunt.start_dataplane()
        shunt.wait_serving()
        opener = lab.opener(VIP, count=60)
        wait_until(lambda: opener.report()["answered"] == 60, 20, "60 answers")
        opener.stop()
        assert dataplane_log(lab).count("are given up") == said + (damage != "flips")
        assert shunt.running("controlplane") and shunt.running("dataplane")
        assert not unbalanced(shunt.settled_workers())
