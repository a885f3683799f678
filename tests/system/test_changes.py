"""Changes of other backends move no live connection."""

import itertools
import random

from lab.network import VIP, backend_address
from lab.waiting import wait_until

from tests.system.conftest import repeats

CONNECTIONS = 1000
ROUNDS = repeats(3, 20)
# Backends that nobody is: they take slots from the real ones, and nothing new is opened while they are in.
STRANGERS = [address for number in range(50, 54) for address in (f"198.18.2.{number}", f"2001:db8:2::{number}")]


def named(address):
    return f"live/[{address}]" if ":" in address else f"live/{address}"


def change_others(shunt, dice):
    """One round: strangers come with some weight, get another one, and go; the real ones are reweighted, too."""
    for address in STRANGERS:
        shunt.cli("backend", "add", "live", f"[{address}]" if ":" in address else address,
                  "--weight", str(dice.randint(1, 1000)))
    for address in dice.sample(STRANGERS, 4):
        shunt.cli("backend", "set", named(address), "--weight", str(dice.randint(0, 1000)))
    for address in itertools.chain.from_iterable(map(backend_address, ("b1", "b2", "b3"))):
        shunt.cli("backend", "set", named(address), "--weight", str(dice.choice((1, 50, 300))))
    for address in STRANGERS:
        shunt.cli("backend", "delete", named(address), "--yes")
    for address in itertools.chain.from_iterable(map(backend_address, ("b1", "b2", "b3"))):
        shunt.cli("backend", "set", named(address), "--weight", "100")


def test_adding_removing_and_reweighting_others_breaks_no_live_connection(lab):
    shunt, dice = lab.shunt, random.Random(2)
    hashes = shunt.hashes()
    live = lab.live(VIP, connections=CONNECTIONS, udp=False)
    wait_until(lambda: live.report()["tcp"]["live"] == CONNECTIONS, 60, "1,000 live connections")
    live.ask("mark")
    for _ in range(ROUNDS):
        change_others(shunt, dice)
    during = live.report()
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 20, 30, "twenty more messages on each")
    last = live.finish()
    assert last["troubles"] == {} and last["tcp"]["live"] == CONNECTIONS
    assert len(last["tcp"]["per_backend"]) == 3 and last["tcp"]["ipv6"] == CONNECTIONS // 2
    assert during["tcp"]["least_since_mark"] >= 5 * during["seconds_since_mark"], "not live by the definition"
    assert shunt.hashes() == hashes


def test_a_drained_backend_keeps_its_connections_and_gets_no_new_ones(lab):
    shunt = lab.shunt
    live = lab.live(VIP, connections=100, udp=False)
    wait_until(lambda: live.report()["tcp"]["live"] == 100, 20, "100 live connections")
    backends = live.report()["tcp"]["per_backend"]
    for address in backend_address("b1"):
        shunt.cli("backend", "drain", named(address))
    opened = lab.network.backends["b1"].counters()["opened"]
    newer = lab.live(VIP, connections=100, udp=False)
    wait_until(lambda: newer.report()["tcp"]["live"] == 100, 20, "100 newer connections")
    assert "b1" not in newer.finish()["tcp"]["per_backend"]
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 20, 30, "twenty more messages on each")
    last = live.finish()
    for address in backend_address("b1"):
        shunt.cli("backend", "ready", named(address))
    assert last["troubles"] == {} and last["tcp"]["per_backend"] == backends
    assert lab.network.backends["b1"].counters()["opened"] == opened
