"""Three balancers as equals behind a router that shares out packets among them, on the switch of network.py.

        client ──┐              ┌── router  198.18.1.1: the clients' default route, BIRD with an equal route to every
                 ├── switch ────┤           balancer that announces the VIPs
      b1 b2 b3 ──┘              └── lb1 lb2 lb3   198.18.1.11 … and 198.18.2.2 …: Shunt and BIRD or FRR

Backends answer clients themselves, so the modes are those in which they may.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from itertools import cycle
from typing import Any, Callable, Iterator

from .config import lab_config, live_service, web_service
from .experiment import LoadExperiment, Promise, Stage, Wish
from .laboratory import Lab
from .modes import in_way, way_of
from .namespace import Namespace
from .network import BALANCER, VIP, Network, add_addresses
from .node import Machine
from .pair import own_address, own_address_inside
from .restarts import ready_backends
from .routing import Bird, Frr
from .shunt import Shunt
from .waiting import NotInTime, wait_until

NAMES = ("lb1", "lb2", "lb3")
PROGRAMS = ("bird",)
DEVICE = "shunt-vip"
EVERY = 0.005  # seconds between two looks at the router's routes


class EcmpNetwork(Network):
    router: Namespace

    def set_up_balancers(self) -> list[Namespace]:
        self.router = self.host("router", "lan0")
        self.router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
                           net__ipv4__fib_multipath_hash_policy=1, net__ipv6__fib_multipath_hash_policy=1)
        add_addresses(self.router, "lan0", BALANCER, (24, 64))
        return [self.balancer_host(name, own_address(number), own_address_inside(number))
                for number, name in enumerate(NAMES)]

    def next_hops(self, vip: str) -> set[str]:
        """The balancers to which the router sends packets for `vip`."""
        routes = json.loads(self.router.ip("-6" if ":" in vip else "-4", "-json", "route", "show", vip) or "[]")
        return {hop["gateway"] for route in routes for hop in route.get("nexthops", [route]) if "gateway" in hop}


class Node(Machine):
    """Shunt and a routing daemon."""

    def __init__(self, lab: Lab, number: int, config: dict[str, Any], daemon: str = "bird"):
        balancer, name = lab.network.balancers[number], NAMES[number]
        super().__init__(lab, name, balancer, Shunt(lab, config, name, balancer))
        self.addresses = own_address(number)
        self.routing = (Bird(lab, balancer, name, "bird/node.conf", self.addresses) if daemon == "bird"
                        else Frr(lab, balancer, name, self.addresses))

    def start(self) -> None:
        self.shunt.start()
        self.routing.start()

    def is_next_hop(self) -> list[bool]:
        """Of each VIP."""
        return [address in self.lab.network.next_hops(vip) for vip, address in zip(VIP, self.addresses)]

    def wait_in(self, timeout: float = 30) -> None:
        wait_until(lambda: all(self.is_next_hop()), timeout, f"the router to send packets to {self.name}", EVERY)

    def wait_out(self, timeout: float = 10) -> None:
        wait_until(lambda: not any(self.is_next_hop()), timeout, f"the router to leave {self.name} alone", EVERY)

    def boot(self) -> None:
        """After die(): everything starts anew."""
        self.routing.stop()
        self.lose_memory()
        self.balancer.ip("link", "delete", DEVICE)
        self.plug_in()
        self.start()


@contextmanager
def ecmp(wish: Wish, daemons: tuple[str, ...] = ("bird", "bird", "bird")) -> Iterator[EcmpStage]:
    """As many balancers as `daemons`, with the same services and seed; all of them announce the VIPs."""
    way = way_of(wish.mode)
    with Lab(queues=wish.most_workers, topology=EcmpNetwork) as lab:
        lab.start_echo()
        sources = [own_address_inside(number) for number in range(len(daemons))]
        ready_backends(lab, way, tuple(address for source in sources for address in source))
        seed = lab.directory / "hash.seed"
        seed.write_bytes(os.urandom(16))
        nodes = []
        for number, (source, daemon) in enumerate(zip(sources, daemons)):
            config = lab_config(in_way(way, web_service()), in_way(way, live_service()), workers=wish.workers)
            config["node"] |= {"name": NAMES[number], "source": list(source), "hash_seed_file": str(seed)}
            config["announce"] = {"device": DEVICE}
            nodes.append(Node(lab, number, config, daemon))
        Bird(lab, lab.network.router, "router", "bird/router.conf").start()
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_in()
        yield EcmpStage(lab, [node.shunt for node in nodes], {"wish": wish}, nodes)


class EcmpStage(Stage):
    def __init__(self, lab: Lab, shunts: list[Shunt], notes: dict[str, Any], group: list[Node]):
        super().__init__(lab, shunts, notes)
        self.group = group
        self.ways_to_leave = cycle(WAYS_TO_LEAVE)


def kill_data_plane(node: Node) -> Callable[[], None]:
    node.shunt.kill("dataplane")
    return lambda: node.shunt.start_dataplane() and None


def lose_power(node: Node) -> Callable[[], None]:
    node.die()
    return node.boot


def drain(node: Node) -> Callable[[], None]:
    node.shunt.cli("ha", "drain-node", "--reason", "an experiment")
    return lambda: node.shunt.cli("ha", "undrain-node") and None


# Each returns how to come back.
WAYS_TO_LEAVE: tuple[Callable[[Node], Callable[[], None]], ...] = (lose_power, kill_data_plane, drain)


class Equals(LoadExperiment):
    """The last of three comes or goes; what was its flows goes to the others, which have the same tables."""

    modes = ("direct", "ipip")
    stage = staticmethod(ecmp)

    def prepare(self, stage: EcmpStage) -> None:
        if any(node.shunt.hashes() != stage.shunt.hashes() for node in stage.group):
            raise NotInTime("the nodes have different tables")


class Leave(Equals):
    """By turns: its power fails, its data plane is killed, an operator drains it."""

    name = "ecmp-leave"
    promises = (*LoadExperiment.loses_nothing, Promise("withdrawn_ms_max", 500))

    def strike(self, stage: EcmpStage) -> dict[str, Any]:
        leave, node = next(stage.ways_to_leave), stage.group[-1]
        left = time.monotonic()
        stage.notes["come_back"] = leave(node)
        node.wait_out()
        return {"withdrawn_ms": round((time.monotonic() - left) * 1000)}

    def recover(self, stage: EcmpStage) -> None:
        stage.notes["come_back"]()
        stage.group[-1].shunt.wait_serving()
        stage.group[-1].wait_in()


class Join(Equals):
    """A machine that was not there boots."""

    name = "ecmp-join"
    promises = LoadExperiment.loses_nothing

    def prepare(self, stage: EcmpStage) -> None:
        super().prepare(stage)
        drain(stage.group[-1])
        stage.group[-1].wait_out()
        stage.group[-1].die()

    def strike(self, stage: EcmpStage) -> dict[str, Any]:
        node = stage.group[-1]
        node.boot()
        node.shunt.cli("ha", "undrain-node")  # what an operator did survives a boot
        node.wait_in()
        return {}


EXPERIMENTS = (Leave(), Join())
