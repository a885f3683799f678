"""Balancers as equals behind a router, one with BIRD and one with FRR: what is announced, when, and what is left behind."""

import json
import subprocess

import pytest
from lab.ecmp import DEVICE, ecmp
from lab.experiment import Wish
from lab.network import VIP
from lab.waiting import wait_until


@pytest.fixture(scope="module")
def stage():
    with ecmp(Wish("direct", 1, 20, 1, 1), daemons=("bird", "frr")) as made:
        yield made


@pytest.fixture(params=[0, 1], ids=["bird", "frr"])
def node(stage, request):
    """Announced, whatever happened before."""
    node = stage.group[request.param]
    node.wait_in()
    return node


def on_device(node):
    (device,) = json.loads(node.balancer.ip("-json", "address", "show", "dev", DEVICE))
    return {entry["local"] for entry in device["addr_info"] if entry["scope"] == "global"}


def status_of(node):
    return json.loads(node.shunt.call("status", "--json").stdout)  # it may well be bad


def announced(node):
    return {entry["address"]: entry["reason"] for entry in status_of(node)["announce"]["addresses"]}


def test_a_drained_node_is_left_by_the_router_and_its_connections_go_on(stage, node):
    live = stage.lab.live(VIP, connections=20, message_rate=10, udp=False)
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 5, 20, "five messages on every connection")
    drained = node.shunt.call("--json", "--timeout", "30", "ha", "drain-node", "--wait", "--reason", "a test")
    assert drained.returncode == 0, drained.stderr
    change = json.loads(drained.stdout)
    assert change["changed"] and change["packets_per_second"] <= 10
    assert not any(node.is_next_hop()) and on_device(node) == set()
    assert announced(node) == dict.fromkeys(VIP, "the node is drained")
    assert "a test" in node.shunt.cli("override", "list")
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 5, 20, "five more messages on every connection")

    node.shunt.kill("controlplane")
    node.shunt.start_controlplane()
    assert announced(node) == dict.fromkeys(VIP, "the node is drained"), "it survives a restart"
    node.shunt.cli("ha", "undrain-node")
    node.wait_in()
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 5, 20, "five more messages on every connection")
    assert live.finish()["troubles"] == {}


def test_a_lost_quorum_withdraws_until_it_is_there_again(stage):
    node = stage.group[0]
    for service in node.shunt.services:
        node.shunt.cli("service", "set", service, "--set", "quorum.up=4")
    node.wait_out()
    status = status_of(node)
    assert status["verdict"] == "bad"
    assert any("no quorum over IPv4: 3 backends are up, wanted are 4" in text for text in status["reasons"]), status
    assert announced(node) == dict.fromkeys(VIP, "no quorum")
    node.shunt.cli("service", "set", node.shunt.services[0], "--set", "quorum.up=3")
    node.wait_in()
    node.shunt.cli("service", "set", node.shunt.services[1], "--set", "quorum.up=1")
    node.shunt.cli("service", "set", node.shunt.services[0], "--set", "quorum.up=1")


def test_what_is_announced_outlives_the_control_plane_whose_successor_sees_a_dead_data_plane(stage):
    node = stage.group[0]
    before = on_device(node)
    assert before == set(VIP)
    node.shunt.kill("controlplane")
    node.shunt.kill("dataplane")
    assert on_device(node) == before and all(node.is_next_hop())
    node.shunt.start_controlplane()
    node.wait_out(timeout=2)
    assert announced(node) == dict.fromkeys(VIP, "the data plane does not move")
    node.shunt.start_dataplane()
    node.wait_in()


def test_an_orderly_end_leaves_the_addresses_and_detach_takes_them(stage):
    node = stage.group[0]
    node.balancer.ip("address", "add", "198.18.0.77/32", "dev", DEVICE)
    assert node.shunt.daemons["controlplane"].stop() == 0
    assert on_device(node) == {*VIP, "198.18.0.77"}
    command = [*node.balancer.prefix, *map(str, node.shunt.command("controlplane")), "--detach"]
    subprocess.run(command, check=True, timeout=20)
    assert on_device(node) == {"198.18.0.77"}
    node.balancer.ip("address", "delete", "198.18.0.77/32", "dev", DEVICE)
    node.shunt.start_controlplane()
    node.wait_in()
