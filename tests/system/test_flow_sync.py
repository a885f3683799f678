"""Two balancers tell each other of flows that the tables would not choose, and go on with each other's."""

import os
import time

import pytest

from conftest import opened
from lab.config import lab_config, live_service
from lab.laboratory import Lab
from lab.loop import as_target
from lab.network import BALANCER, BALANCER_INSIDE, VIP, add_addresses, backend_address
from lab.pair import PairNetwork, own_address, own_address_inside, virtual_addresses
from lab.shunt import CliFailed, Shunt
from lab.waiting import wait_until

CONNECTIONS, DATAGRAM_FLOWS = 60, 30
MESSAGES = 20
PORT = 7946
VIRTUAL = (*((address, 32) for address in (BALANCER[0], BALANCER_INSIDE[0], VIP[0])),
           *((address, 128) for address in (BALANCER[1], BALANCER_INSIDE[1], VIP[1])))


@pytest.fixture(scope="module")
def pair():
    """Two nodes of a group; `pair.give(n)` lets one of them have what clients and backends know."""
    for lab in opened(Lab(topology=PairNetwork)):
        lab.start_echo()
        seed, key = lab.directory / "hash.seed", lab.directory / "sync.key"
        for secret in (seed, key, lab.directory / "other.key"):
            secret.write_bytes(os.urandom(32))
        ends = [as_target(own_address(number)[0], PORT) for number in range(2)]
        lab.nodes = []
        for number in range(2):
            config = lab_config(live_service())
            config["node"] |= {"name": f"lb{number + 1}", "source": list(own_address_inside(number)),
                               "hash_seed_file": str(seed)}
            config["sync"] = {"group": "edge", "listen": ends[number], "peers": [ends[1 - number]],
                              "key_file": str(key)}
            lab.nodes.append(Shunt(lab, config, f"lb{number + 1}", lab.network.balancers[number]))
            lab.nodes[-1].start()
        give(lab, 0)
        yield lab


def give(lab, number):
    """The virtual addresses to one node, by hand: what VRRP does, without saying so to anybody in between."""
    for other in lab.network.balancers:
        for address in virtual_addresses(other):
            other.ip("address", "delete", address, "dev", "lan0")
    for address, length in VIRTUAL:
        add_addresses(lab.network.balancers[number], "lan0", (address,), (length,))
    for host in (lab.client, *lab.network.backends.values()):
        host.ip("neighbour", "flush", "all", "nud", "all")


def sync(node):
    return node.ask("ha", "show")["sync"]


def peer(node):
    return sync(node)["peers"][0]


def set_weight(lab, address, weight):
    for node in lab.nodes:
        node.cli("backend", "set", f"live/{address}", "--weight", str(weight))


def wait_usable(lab):
    wait_until(lambda: all(peer(node)["state"] == "usable" and sync(node)["in_sync"] for node in lab.nodes), 20,
               "the nodes to believe each other")


def apply(node, **sync_keys):
    config = {**node.config, "sync": {**node.config["sync"], **sync_keys}}
    node.write_config(config)
    node.cli("config", "apply", str(node.config_file), "--yes")


def test_no_flow_breaks_when_the_other_node_goes_on(pair):
    first, second = pair.nodes
    wait_usable(pair)
    live = pair.live(VIP, connections=CONNECTIONS, message_rate=10.0, patience=30.0, udp_rate=200,
                     udp_flows=DATAGRAM_FLOWS)
    wait_until(lambda: live.report()["tcp"]["live"] == CONNECTIONS, 30, f"{CONNECTIONS} live connections", 0.1)

    for address in backend_address("b1"):
        set_weight(pair, address, 0)
    wait_until(lambda: sync(first)["flows_to_tell"] > 10 and sync(first)["coverage"] == 1.0, 10, "the flows to be told")
    told = sync(first)["flows_to_tell"]
    wait_until(lambda: sync(second)["flows_of_peers"] >= told, 10, "the flows to arrive")
    assert peer(second)["records"]["unresolved"] == 0 and peer(second)["tables_same"]

    for holder in (1, 0):  # and back: what the first still knows is its own
        give(pair, holder)
        live.ask("mark")
        wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= MESSAGES, 40, "messages on every connection", 0.1)
    last = live.finish(60)
    assert last["troubles"] == {}, last["first_troubles"]
    pair.stop_loads()
    for address in backend_address("b1"):
        set_weight(pair, address, 100)


def test_what_was_told_outlives_both_processes(pair):
    first, second = pair.nodes
    before = sync(second)["flows_of_peers"]
    assert before > 0
    first.daemons["controlplane"].stop()  # nobody tells it again
    second.kill("controlplane")
    second.kill("dataplane")
    second.start_dataplane()
    second.start_controlplane()
    assert sync(second)["flows_of_peers"] == pytest.approx(before, rel=0.2)
    first.start_controlplane()
    wait_usable(pair)


@pytest.mark.parametrize(("change", "state"), [("key", "wrong_key"), ("configuration", "other_configuration"),
                                               ("group", "other_group")])
def test_a_peer_that_is_not_believed_is_named(pair, change, state):
    first, second = pair.nodes
    wait_usable(pair)
    kept = second.config
    if change == "configuration":
        second.cli("backend", "add", "live", "198.18.2.19")
    else:
        apply(second, **{"key": {"key_file": str(pair.directory / "other.key")}, "group": {"group": "other"}}[change])
    wait_until(lambda: peer(first)["state"] == state, 10, f"{state} to be said of the peer")
    shown = first.cli("ha", "show")
    assert state in shown and as_target(own_address(1)[0], PORT) in shown
    with pytest.raises(CliFailed) as failed:
        first.ask("status")
    assert any("peer" in reason for reason in failed.value.answer["reasons"])
    second.write_config(kept)
    second.cli("config", "apply", str(second.config_file), "--yes")
    wait_usable(pair)
    assert any("flows are exchanged" in event["text"] for event in first.ask("events")["events"])


def test_a_key_file_that_cannot_be_read_is_a_problem_and_no_end(pair):
    first = pair.nodes[0]
    began = time.monotonic()
    kept = first.config
    apply(first, key_file="/nowhere/sync.key")
    wait_until(lambda: sync(first)["problem"], 10, "the problem to be said")
    assert "/nowhere/sync.key" in sync(first)["problem"] and not sync(first)["peers"]
    first.write_config(kept)
    first.cli("config", "apply", str(first.config_file), "--yes")
    wait_usable(pair)
    assert time.monotonic() - began < 40
