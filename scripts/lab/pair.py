"""Two balancers that share virtual addresses by VRRP, on the switch of network.py.

        client ──┐            ┌── lb1   198.18.1.11, 198.18.2.2   ┐ whoever is master has 198.18.1.1, 198.18.2.1
                 ├── switch ──┤                                   │ and the VIPs; the same of IPv6
      b1 b2 b3 ──┘            └── lb2   198.18.1.12, 198.18.2.3   ┘

Clients and backends know only the virtual addresses, so they need not be told who is master.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Iterator

from .api import UnixConnection
from .config import Config, lab_config, live_service, web_service
from .experiment import LoadExperiment, Promise, Stage, Wish
from .keepalived import Keepalived
from .laboratory import Lab
from .loop import as_target
from .modes import in_way, way_of
from .namespace import Namespace
from .network import BACKENDS, BALANCER, BALANCER_INSIDE, VIP, Network, backend_address
from .node import Machine
from .restarts import ready_backends, set_weights
from .shunt import Shunt
from .track_file import TrackFile
from .waiting import NotInTime, wait_until

NAMES = ("lb1", "lb2")
PROGRAMS = ("keepalived",)
FIVE = ("b1", "b2", "b3", "b4", "b5")
SYNC_PORT = 7946
TOLD_SECONDS = 1.0  # from a change to the death of who made it
HOLD_MS = 500
WEDGED_MS, STALL_MS, STALLS = 1500, 90, 3  # a worker that stands still for good, as far as a client can tell; and hiccups
VIRTUAL = {*BALANCER, *BALANCER_INSIDE, *VIP}  # what the samples have VRRP own


def own_address(number: int) -> tuple[str, str]:
    """Towards clients, of the balancer with this number, from 0."""
    return f"198.18.1.{11 + number}", f"2001:db8:1::{11 + number}"


def own_address_inside(number: int) -> tuple[str, str]:
    return f"198.18.2.{2 + number}", f"2001:db8:2::{2 + number}"


class PairNetwork(Network):
    def set_up_balancers(self) -> list[Namespace]:
        return [self.balancer_host(name, own_address(number), own_address_inside(number))
                for number, name in enumerate(NAMES)]


class Node(Machine):
    """A balancer of a pair: Shunt and keepalived."""

    def __init__(self, lab: Lab, number: int, config: dict[str, Any]):
        balancer = lab.network.balancers[number]
        super().__init__(lab, NAMES[number], balancer, Shunt(lab, config, NAMES[number], balancer))
        self.keepalived = Keepalived(self.shunt)

    @property
    def is_master(self) -> bool:
        """It has all virtual addresses, of both families."""
        return len(virtual_addresses(self.balancer)) == len(VIRTUAL)

    @property
    def role(self) -> str:
        """What Shunt has been told by keepalived."""
        return self.shunt.ask("ha", "show")["role"]

    @property
    def track_files(self) -> list[Path]:
        return [self.shunt.run_dir / f"ha.{daemon}" for daemon in ("dataplane", "controlplane")]

    def start(self) -> None:
        self.shunt.start_dataplane()
        self.shunt.start_controlplane()
        self.keepalived.start()

    def boot(self) -> None:
        """After die(): everything starts anew."""
        self.keepalived.stop()
        self.lose_memory()
        for address in virtual_addresses(self.balancer):
            self.balancer.ip("address", "delete", address, "dev", "lan0")
        self.plug_in()
        self.start()


def virtual_addresses(balancer: Namespace) -> list[str]:
    """Those that are on the interface, with their length."""
    (device,) = json.loads(balancer.ip("-json", "address", "show", "dev", "lan0"))
    return [f"{entry['local']}/{entry['prefixlen']}" for entry in device["addr_info"] if entry["local"] in VIRTUAL]


@contextmanager
def pair(wish: Wish, backends: tuple[str, ...] = BACKENDS, sync: bool = False) -> Iterator[PairStage]:
    """Two balancers with the same services and seed; lb1, which has the higher priority, is master."""
    os.environ["SHUNT_TEST_HOOKS"] = "1"  # of the daemons
    way = way_of(wish.mode)
    with Lab(backends, queues=wish.most_workers, topology=PairNetwork) as lab:
        lab.start_echo()
        sources = [own_address_inside(number) for number in range(len(NAMES))]
        ready_backends(lab, way, tuple(address for source in sources for address in source))
        seed, key = lab.directory / "hash.seed", lab.directory / "sync.key"
        for secret in (seed, key):
            secret.write_bytes(os.urandom(32))
        nodes = []
        for number, source in enumerate(sources):
            services = (in_way(way, web_service(backends)), in_way(way, live_service(backends)))
            config = lab_config(*services, workers=wish.workers)
            config["ha"] = {"hold": f"{HOLD_MS}ms"}
            config["node"] |= {"name": NAMES[number], "source": list(source), "hash_seed_file": str(seed)}
            if sync:
                config["sync"] = sync_with(sources, number, key)
            nodes.append(Node(lab, number, config))
        stage = PairStage(lab, [node.shunt for node in nodes], {"wish": wish}, nodes)
        for node in nodes:
            node.start()
            node.shunt.wait_serving()
        stage.wait_master(stage.first)
        yield stage


def sync_with(sources: list[tuple[str, str]], number: int, key: Path) -> Config:
    """Flow sync of one node, by its own address inside, with all others."""
    ends = [as_target(source[0], SYNC_PORT) for source in sources]
    return {"listen": ends[number], "peers": ends[:number] + ends[number + 1:], "key_file": str(key)}


def pair_in_sync(wish: Wish) -> AbstractContextManager[PairStage]:
    """With enough backends that a change concerns a fifth of them."""
    return pair(wish, FIVE, sync=True)


class PairStage(Stage):
    def __init__(self, lab: Lab, shunts: list[Shunt], notes: dict[str, Any], pair: list[Node]):
        super().__init__(lab, shunts, notes)
        self.first, self.second = pair

    def wait_master(self, node: Node) -> None:
        """Until it is, and the other is not."""
        other = self.second if node is self.first else self.first
        wait_until(lambda: node.is_master and not other.is_master, 20, f"{node.name} to be master")


class Failover(LoadExperiment):
    """From lb1, which is master, to lb2; and back, which is not measured here."""

    modes = ("nat", "direct", "ipip")
    stage = staticmethod(pair)

    def prepare(self, stage: PairStage) -> None:
        wait_until(lambda: stage.first.shunt.hashes() == stage.second.shunt.hashes(), 10, "both nodes to have the same tables")
        stage.notes["forwarded"] = stage.second.shunt.totals()["forwarded"]

    def settled(self, stage: PairStage) -> dict[str, Any]:
        """It was lb2 indeed that went on, and it knows."""
        wait_until(lambda: stage.second.is_master and stage.second.role == "master", 10, "lb2 to be master")
        wait_until(lambda: stage.second.shunt.totals()["forwarded"] > stage.notes["forwarded"], 10, "lb2 to forward")
        return {}


class HostDeath(Failover):
    name = "failover-host-death"
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 500))

    def strike(self, stage: PairStage) -> dict[str, Any]:
        stage.first.die()
        return {}

    def recover(self, stage: PairStage) -> None:
        stage.first.boot()
        stage.wait_master(stage.first)


class Fault(Failover):
    """The data plane is told to end; the last that it does is to say that this node is not healthy."""

    name = "failover-fault"
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 200))

    def strike(self, stage: PairStage) -> dict[str, Any]:
        stage.first.shunt.daemons["dataplane"].stop()
        return {}

    def recover(self, stage: PairStage) -> None:
        stage.first.shunt.start_dataplane()
        stage.wait_master(stage.first)


class Graceful(Failover):
    """An operator stops keepalived; the data plane goes on with what still comes."""

    name = "failover-graceful"
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 100))

    def strike(self, stage: PairStage) -> dict[str, Any]:
        stage.first.keepalived.stop()
        return {}

    def recover(self, stage: PairStage) -> None:
        stage.first.keepalived.start()
        stage.wait_master(stage.first)


class Failback(Failover):
    """The preferred node is there again and takes the addresses back."""

    name = "failback"
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 100))

    def prepare(self, stage: PairStage) -> None:
        super().prepare(stage)
        stage.first.keepalived.stop()
        stage.wait_master(stage.second)

    def strike(self, stage: PairStage) -> dict[str, Any]:
        stage.first.keepalived.start()
        stage.wait_master(stage.first)
        return {}

    def settled(self, stage: PairStage) -> dict[str, Any]:
        return {}


class WedgeWorker(Failover):
    """All workers of lb1 stand still; its main thread lives, says so, and lb2 takes over. Shorter stalls are no fault."""

    name = "wedge-worker"
    modes = ("nat",)
    promises = (*LoadExperiment.loses_nothing, Promise("detected_ms_max", 250), Promise("outage_ms_max", 500),
                Promise("faults_by_stalls", 0))

    def prepare(self, stage: PairStage) -> None:
        super().prepare(stage)
        dataplane, _ = stage.first.track_files
        stage.notes["track_file"] = followed = TrackFile(dataplane)
        for _ in range(STALLS):
            over = self.wedge(stage, STALL_MS) + (STALL_MS + 100) / 1000
            wait_until(lambda: time.monotonic() > over, 5, "a stall to be over")
        stage.notes["faults_by_stalls"] = sum(written.says != "0" for written in followed.written)

    def strike(self, stage: PairStage) -> dict[str, Any]:
        began = time.monotonic()
        self.wedge(stage, WEDGED_MS)
        told = stage.notes["track_file"].wait_for("1", began)
        super().settled(stage)  # before lb1 is well again and takes over
        return {"detected_ms": round((told - began) * 1000), "faults_by_stalls": stage.notes["faults_by_stalls"]}

    def settled(self, stage: PairStage) -> dict[str, Any]:
        return {}

    @staticmethod
    def wedge(stage: PairStage, milliseconds: int) -> float:
        api = UnixConnection(stage.first.shunt.run_dir / "api.sock")
        for worker in range(stage.notes["wish"].workers):
            status, answer = api.ask("POST", f"workers/{worker}:wedge", {"for_ms": milliseconds})
            if status != 200:
                raise NotInTime(f"worker {worker} is not wedged: {answer}")
        return time.monotonic()

    def recover(self, stage: PairStage) -> None:
        stage.wait_master(stage.first)
        stage.notes.pop("track_file").close()


class AfterChange(HostDeath):
    """A fifth of the backends is drained and another fifth comes back, and then the node dies that remembers who was
    served by whom. What the other knows of that, it was told in time."""

    name = "failover-after-change"
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 500))
    stage = staticmethod(pair_in_sync)

    def prepare(self, stage: PairStage) -> None:
        changes = stage.notes["changes"] = stage.notes.get("changes", -1) + 1
        for place, weight in ((changes - 1, 100), (changes, 0)):
            addresses = backend_address(FIVE[place % len(FIVE)])
            for shunt in stage.nodes:
                for service in shunt.services:
                    set_weights(shunt, service, addresses, weight)
        super().prepare(stage)
        changed = time.monotonic()
        wait_until(lambda: time.monotonic() - changed > TOLD_SECONDS, 10, "the peer to be told")


EXPERIMENTS = (HostDeath(), Fault(), Graceful(), Failback(), WedgeWorker(), AfterChange())
