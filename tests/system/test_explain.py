"""`shunt explain` names the backend that the packet then really reaches, judged by captures at the backends."""

import random
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network

import pytest
from lab.config import lab_config, live_service
from lab.frames import ACK, SYN, Tuple, Wire, packet
from lab.laboratory import Lab
from lab.network import BACKENDS, CROWD_PREFIXES, VIP, backend_address
from lab.shunt import Shunt
from lab.waiting import wait_until

from tests.system.conftest import opened, repeats

TUPLES = repeats(1000, 5000)
PORTS = {"web": 80, "live": 7000, "names": 53}
DRAINED = "b2"
AT_ONCE = 100
OWNER = {address: name for name in BACKENDS for address in backend_address(name)}


@pytest.fixture(scope="module")
def explained_lab():
    """Three services of TCP and UDP over both families; flows of a single SYN live long enough to be asked about."""
    for lab in opened(Lab()):
        config = lab_config(*(live_service(name=name, port=port) for name, port in PORTS.items()))
        config["dataplane"]["timeouts"] = {"tcp_syn": "10m"}
        lab.shunt = Shunt(lab, config)
        lab.shunt.start()
        yield lab


class Captures:
    """The wires of the client, which sends, and of every backend, which show what arrived where."""

    def __init__(self, lab):
        self.client = Wire(lab.client)
        self.backends = {name: Wire(namespace) for name, namespace in lab.network.backends.items()}
        with_mac = Wire(lab.network.balancer, "lan0")
        self.balancer_mac = with_mac.mac
        with_mac.close()

    def send(self, flows, flags):
        """Sends one packet of each flow; returns where each arrived: {flow: [backend, …]}."""
        reached = {}
        for first in range(0, len(flows), AT_ONCE):
            part = flows[first : first + AT_ONCE]
            for flow in part:
                self.client.send(self.balancer_mac, packet(flow, flags))
            wait_until(lambda: self.collect(reached) or all(key(flow) in reached for flow in part), 10,
                       f"{len(part)} packets to reach backends")
        self.collect(reached)
        return reached

    def collect(self, reached):
        for name, wire in self.backends.items():
            for flow in wire.arrived():
                if OWNER.get(flow.target) == name:
                    reached.setdefault(key(flow), []).append(name)


def key(flow):
    """What stays the same on the way through mode nat."""
    return flow.source, flow.source_port, flow.target_port, flow.protocol


def random_flows(number, dice):
    """Different 5-tuples, evenly over services, families and protocols."""
    sources = [[str(host) for _, host in zip(range(200), ip_network(prefix).hosts())] for prefix in CROWD_PREFIXES]
    flows = set()
    while len(flows) < number:
        family = len(flows) % 2
        flows.add(Tuple(dice.choice(sources[family]), dice.randint(1024, 65535), VIP[family],
                        dice.choice(list(PORTS.values())), dice.choice(("tcp", "udp"))))
    return sorted(flows, key=repr)


def explain(shunt, flows):
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(flows, pool.map(lambda flow: shunt.ask("explain", *flow.ends), flows)))


def explained_owner(answer):
    """The name of the backend at the explained target, `198.18.2.11:443`."""
    return OWNER[answer["target"].rpartition(":")[0].strip("[]")]


def judge(captures, shunt, flows, flags, source):
    """Explains, sends, and compares; returns where each flow went."""
    said = explain(shunt, flows)
    assert {answer["source"] for answer in said.values()} == {source}
    reached = captures.send(flows, flags)
    expected = {key(flow): [explained_owner(answer)] for flow, answer in said.items()}
    assert {flow: names for flow, names in reached.items() if flow in expected} == expected
    return expected


def test_explain_names_the_backend_that_is_reached(explained_lab):
    shunt, captures, dice = explained_lab.shunt, Captures(explained_lab), random.Random(3)
    flows = random_flows(TUPLES, dice)
    dice.shuffle(flows)
    before, after = flows[: TUPLES // 2], flows[TUPLES // 2 :]
    went = judge(captures, shunt, before, SYN, "table")
    assert {names[0] for names in went.values()} == set(BACKENDS)
    assert judge(captures, shunt, before, ACK, "flow") == went
    for service in PORTS:
        for address in backend_address(DRAINED):
            shunt.cli("backend", "drain", f"{service}/[{address}]" if ":" in address else f"{service}/{address}")
    assert judge(captures, shunt, before, ACK, "flow") == went, "a drain moves no flow"
    newer = judge(captures, shunt, after, SYN, "table")
    assert {names[0] for names in newer.values()} == set(BACKENDS) - {DRAINED}
    assert judge(captures, shunt, after, ACK, "flow") == newer


def test_explain_of_what_is_no_service_names_nobody(explained_lab):
    done = explained_lab.shunt.call("explain", "203.0.113.9:40000", f"{VIP[0]}:81/tcp", "--json")
    assert '"backend":null' in done.stdout.replace(" ", "")


def test_explain_of_a_scheduler_that_goes_by_load_promises_only_what_is_settled(explained_lab):
    shunt, captures = explained_lab.shunt, Captures(explained_lab)
    for service in PORTS:
        shunt.cli("service", "set", service, "--scheduler", "least-connections")
    flows = random_flows(60, random.Random(4))
    for answer in explain(shunt, flows).values():
        assert answer["scheduler"] == "least-connections" and answer["source"] == "none"
        assert answer["slot"] is None and answer["target"] is None and answer["table_target"]
    reached = captures.send(flows, SYN)
    known = explain(shunt, flows)
    assert {answer["source"] for answer in known.values()} == {"flow"}
    assert {key(flow): [explained_owner(answer)] for flow, answer in known.items()} == {
        key(flow): reached[key(flow)] for flow in flows}
