"""Experiments with a single balancer: its processes die, its link flaps, its neighbours change their link addresses."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Iterable, Iterator

from .config import lab_config, live_service, web_service
from .experiment import LoadExperiment, Promise, Stage, Wish
from .laboratory import Lab
from .modes import answer_directly, in_way, own_the_vips, prepare, way_of
from .namespace import Namespace
from .network import BALANCER_INSIDE, backend_address
from .shunt import Shunt
from .waiting import wait_until

CHECKED_SECONDS = 1.5  # longer than an interval of the checks: the first verdicts of a new process are in
LINK_DOWN_SECONDS = 0.1


@contextmanager
def one_balancer(wish: Wish, *options: str) -> Iterator[Stage]:
    """One balancer that serves `web` (HTTP, checked) and `live` in the wished mode, with three backends. `options` are
    of its data plane."""
    way = way_of(wish.mode)
    with Lab(queues=wish.most_workers) as lab:
        lab.start_echo()
        ready_backends(lab, way)
        config = lab_config(in_way(way, web_service()), in_way(way, live_service()), workers=wish.workers)
        config["node"]["source"] = list(BALANCER_INSIDE)
        shunt = Shunt(lab, config)
        shunt.options["dataplane"] = options
        shunt.start()
        yield Stage(lab, [shunt], {"wish": wish})


def one_supervised_balancer(wish: Wish) -> AbstractContextManager[Stage]:
    """The same, and if its data plane ends, or hands over to another, its supervisor sees to it."""
    return one_balancer(wish, "--supervise")


def ready_backends(lab: Lab, way: Any, sources: tuple[str, ...] = BALANCER_INSIDE) -> None:
    """What the way needs of the backends; where they answer clients themselves, they have the VIPs."""
    for name, backend in lab.network.backends.items():
        if way.mode != "nat":
            own_the_vips(backend)
            answer_directly(backend)
            prepare(backend, way, backend_address(name), sources=sources)


def status(shunt: Shunt) -> dict[str, Any]:
    """What must not change by a restart: the generation and every hash of a table."""
    said = shunt.status()
    return {"generation": said["generation"], **{service["name"]: service["table_hash"] for service in said["services"]}}


class KillControlPlane(LoadExperiment):
    name = "kill-control-plane"
    release_repeats = 100
    promises = (*LoadExperiment.loses_nothing, Promise("lost_packets", 0), Promise("api_back_ms_max", 1000),
                Promise("table_hash_same"))
    stage = staticmethod(one_balancer)

    def strike(self, stage: Stage) -> dict[str, Any]:
        shunt, before = stage.shunt, status(stage.shunt)
        killed = time.monotonic()
        shunt.kill("controlplane")
        shunt.start_controlplane()
        seen = [status(shunt)]
        back = time.monotonic()
        wait_until(lambda: seen.append(status(shunt)) or time.monotonic() > back + CHECKED_SECONDS, 10,
                   "the checks to speak", every=0.1)
        return {"api_back_ms": round((back - killed) * 1000), "table_hash_same": all(one == before for one in seen)}


class KillDataPlane(LoadExperiment):
    name = "kill-data-plane"
    modes = ("nat", "direct", "ipip")
    release_repeats = 50
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 500))
    stage = staticmethod(one_balancer)

    def promises_of(self, wish: Wish) -> tuple[Promise, ...]:
        """How fast a successor of another shape serves again is measured, not promised."""
        return self.promises if wish.workers_after == wish.workers else self.loses_nothing

    def prepare(self, stage: Stage) -> None:
        pin_flows(stage)

    def strike(self, stage: Stage) -> dict[str, Any]:
        wish, shunt = stage.notes["wish"], stage.shunt
        shunt.kill("dataplane")
        if wish.workers_after != wish.workers:
            before = shunt.config["dataplane"]["workers"]
            set_workers(stage, wish.workers if before == wish.workers_after else wish.workers_after)
        shunt.start_dataplane()
        return {}


def pin_flows(stage: Stage) -> None:
    """Makes flows that the tables would no longer choose: only who remembers them can serve them."""
    heavy = stage.notes["heavy"] = not stage.notes.get("heavy", True)
    set_weights(stage.shunt, "live", backend_address("b1"), 100 if heavy else 10)


def set_weights(shunt: Shunt, service: str, addresses: Iterable[str], weight: int) -> None:
    """Of those of the addresses that are backends of the service."""
    (backends,) = (one["backend"] for one in shunt.config["service"] if one["name"] == service)
    for address in {backend["address"] for backend in backends} & set(addresses):
        shunt.cli("backend", "set", f"{service}/{address}", "--weight", str(weight))


def set_workers(stage: Stage, workers: int) -> None:
    """Of the next data plane, and as many queues of its interface, which packets are dealt to. What sends into queues
    never has more of them than there are."""
    shunt, switch = stage.shunt, stage.lab.network.switch
    ends = [(shunt.balancer, "lan0", "rx"), (switch, "to-balancer", "tx")]
    if workers < shunt.config["dataplane"]["workers"]:
        ends.reverse()
    for namespace, device, direction in ends:
        namespace.run("ethtool", "-L", device, direction, str(workers))
    config = shunt.config
    config["dataplane"]["workers"] = config["dataplane"]["port"][0]["queues"] = workers
    shunt.write_config(config)


class Upgrade(LoadExperiment):
    """A planned replacement of the data plane, under a supervisor that follows it."""

    name = "upgrade"
    modes = ("nat", "direct")
    promises = (*LoadExperiment.loses_nothing, Promise("gap_ms_max", 50), Promise("replaced"))
    stage = staticmethod(one_supervised_balancer)

    def prepare(self, stage: Stage) -> None:
        pin_flows(stage)

    def strike(self, stage: Stage) -> dict[str, Any]:
        before = stage.shunt.status()["dataplane"]["pid"]
        answer = stage.shunt.ask("upgrade")
        after = stage.shunt.status()["dataplane"]["pid"]
        return {"gap_ms": answer["gap_ms"], "replaced": before != after == answer["pid"]}


class LinkFlap(LoadExperiment):
    """The cable is out for a moment: everything that the kernel knew of its neighbours is gone."""

    name = "link-flap"
    modes = ("nat", "direct")
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 1000))
    stage = staticmethod(one_balancer)

    def strike(self, stage: Stage) -> dict[str, Any]:
        switch = stage.lab.network.switch
        switch.ip("link", "set", "to-balancer", "down")
        down = time.monotonic()
        wait_until(lambda: time.monotonic() - down > LINK_DOWN_SECONDS, 5, "the link to be down")
        switch.ip("link", "set", "to-balancer", "up")
        return {}


class NextHopChange(LoadExperiment):
    """A backend and the gateway towards clients are replaced: the same addresses, on other link addresses."""

    name = "next-hop-change"
    modes = ("nat", "direct")
    promises = (*LoadExperiment.loses_nothing, Promise("outage_ms_max", 1000), Promise("stale_packets", 0))
    stage = staticmethod(one_balancer)

    def strike(self, stage: Stage) -> dict[str, Any]:
        number = stage.notes["changes"] = stage.notes.get("changes", 0) + 1
        changed = (stage.lab.network.backends["b1"], stage.lab.client)
        old = [link_address(namespace) for namespace in changed]
        for place, namespace in enumerate(changed):
            change_link_address(namespace, f"02:00:00:{place:02x}:{number >> 8:02x}:{number & 255:02x}")
        at = time.monotonic()
        wait_until(lambda: time.monotonic() - at > 1, 5, "a second, until which packets may go to the old addresses")
        count_frames_to(stage.lab.network.switch, old)
        return {}

    def settled(self, stage: Stage) -> dict[str, Any]:
        return {"stale_packets": stage.lab.network.switch.counters("bridge")["stale"]}


def link_address(namespace: Namespace) -> str:
    return json.loads(namespace.ip("-json", "link", "show", "eth0"))[0]["address"]


def change_link_address(namespace: Namespace, mac: str) -> None:
    """As a machine does that takes over an address: it says so, by gratuitous ARP and unsolicited advertisement."""
    namespace.sysctl(net__ipv4__conf__eth0__arp_notify=1, net__ipv6__conf__eth0__ndisc_notify=1)
    namespace.ip("link", "set", "eth0", "address", mac)


def count_frames_to(switch: Namespace, link_addresses: list[str]) -> None:
    """From now on the switch counts, as `stale`, what is sent there."""
    switch.nft(f"""table bridge lab
        delete table bridge lab
        table bridge lab {{
            counter stale {{ }}
            chain through {{
                type filter hook prerouting priority 0
                ether daddr {{ {", ".join(link_addresses)} }} counter name stale
            }}
        }}""")


EXPERIMENTS = (KillControlPlane(), KillDataPlane(), Upgrade(), LinkFlap(), NextHopChange())
