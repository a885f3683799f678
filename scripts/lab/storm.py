"""Random changes of a service through the API, from one seed, and who was away in the meantime.

A backend is away from the moment its removal or maintenance is asked for until it is back in the tables of all workers.
So what breaks on a backend that was away is explained; nothing else is.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Callable, Iterable

from .api import UnixConnection
from .config import live_service
from .network import LIVE_PORT, backend_address

SCHEDULERS = ("maglev", "maglev-bounded", "ring", "source-hash", "round-robin", "weighted-round-robin",
              "least-connections", "weighted-least-connections", "power-of-two", "random")
WEIGHTS = (0, 1, 10, 100, 300, 1000)
LEAST_TAKERS = 2  # of each family, so that there is always somebody to go to


class Refused(AssertionError):
    """A change that is allowed was not made, or not used by all workers in time."""


@dataclass
class Absence:
    asked: float
    passed: float = math.inf  # when all workers knew
    ended: float = math.inf


@dataclass
class Backend:
    name: str
    address: str
    may_leave: bool
    weight: int = 100
    state: str = "ready"
    present: bool = True
    absences: list[Absence] = field(default_factory=list)

    @property
    def takes_flows(self) -> bool:
        return self.present and self.state == "ready" and self.weight > 0

    @property
    def is_away(self) -> bool:
        return not self.present or self.state == "maint"

    @property
    def path(self) -> str:
        return f"services/live/backends/{self.address}"

    def was_away(self, since: float, until: float) -> bool:
        return any(absence.asked <= until and absence.ended >= since for absence in self.absences)

    def left(self, since: float, until: float) -> bool:
        return any(absence.asked <= until and absence.passed >= since for absence in self.absences)


class Storm:
    """Changes the service `live`, one thing at a time. Backends named in `stay` are reweighted and drained, but never
    removed or in maintenance."""

    def __init__(self, api: UnixConnection, seed: int, backends: Iterable[str], stay: Iterable[str]):
        self.api, self.dice, stay = api, random.Random(seed), set(stay)
        self.backends = {(name, ":" in address): Backend(name, address, name not in stay)
                         for name in backends for address in backend_address(name)}
        self.scheduler = "maglev"
        self.has_neighbour = False
        self.made: Counter[str] = Counter()
        self.ways = {"add": self.add, "delete": self.delete, "weight": self.reweight, "drain": self.drain,
                     "maint": self.maintain, "ready": self.make_ready, "scheduler": self.reschedule,
                     "neighbour": self.change_neighbour}

    def change(self) -> None:
        """One random change, which all workers use afterwards."""
        kind = self.dice.choice([kind for kind in self.ways for _ in range(2 if kind in ("weight", "scheduler") else 1)])
        while not self.ways[kind]():
            kind = self.dice.choice(list(self.ways))
        self.made[kind] += 1

    def ask(self, method: str, target: str, body: Any = None) -> None:
        status, answer = self.api.ask(method, target, body)
        if status != 200 or answer["timed_out"] or answer["workers"]["passed"] != answer["workers"]["total"]:
            raise Refused(f"{method} {target} {body}: {status} {answer}")

    # The ways: False where there is nothing to change in this way.

    def any_of(self, fits: Callable[[Backend], bool]) -> Backend | None:
        found = [backend for backend in self.backends.values() if fits(backend)]
        return self.dice.choice(found) if found else None

    def can_miss(self, backend: Backend) -> bool:
        family = ":" in backend.address
        takers = [b for (_, is_ipv6), b in self.backends.items() if is_ipv6 == family and b.takes_flows and b is not backend]
        return len(takers) >= LEAST_TAKERS

    def leave(self, method: str, action: str) -> Backend | None:
        backend = self.any_of(lambda b: b.may_leave and not b.is_away and self.can_miss(b))
        if backend:
            backend.absences.append(Absence(time.monotonic()))
            self.ask(method, backend.path + action)
            backend.absences[-1].passed = time.monotonic()
        return backend

    def come_back(self, backend: Backend, method: str, action: str, body: Any = None) -> None:
        self.ask(method, backend.path + action, body)
        if backend.absences:
            backend.absences[-1].ended = min(backend.absences[-1].ended, time.monotonic())

    def add(self) -> bool:
        backend = self.any_of(lambda b: not b.present)
        if backend is None:
            return False
        backend.present, backend.state, backend.weight = True, "ready", self.dice.choice(WEIGHTS)
        self.come_back(backend, "PUT", "", {"weight": backend.weight})
        return True

    def delete(self) -> bool:
        backend = self.leave("DELETE", "")
        if backend:
            backend.present = False
        return backend is not None

    def maintain(self) -> bool:
        backend = self.leave("POST", ":maint")
        if backend:
            backend.state = "maint"
        return backend is not None

    def make_ready(self) -> bool:
        backend = self.any_of(lambda b: b.present and b.state != "ready")
        if backend is None:
            return False
        backend.state = "ready"
        self.come_back(backend, "POST", ":ready")
        return True

    def drain(self) -> bool:
        backend = self.any_of(lambda b: not b.is_away and b.state == "ready" and self.can_miss(b))
        if backend is None:
            return False
        backend.state = "drain"
        self.ask("POST", f"{backend.path}:drain")
        return True

    def reweight(self) -> bool:
        backend = self.any_of(lambda b: b.present)
        weight = self.dice.choice([w for w in WEIGHTS if w != backend.weight])
        if weight == 0 and not self.can_miss(backend):
            return False
        backend.weight = weight
        self.ask("PATCH", backend.path, {"weight": weight})
        return True

    def reschedule(self) -> bool:
        self.scheduler = self.dice.choice([name for name in SCHEDULERS if name != self.scheduler])
        self.ask("PATCH", "services/live", {"scheduler": self.scheduler})
        return True

    def change_neighbour(self) -> bool:
        """A service at other ports of the same addresses comes or goes."""
        self.has_neighbour = not self.has_neighbour
        body = live_service(self.dice.sample(("b1", "b2", "b3"), 2), "neighbour", LIVE_PORT + 1)
        self.ask(*("PUT", "services/neighbour", body) if self.has_neighbour else ("DELETE", "services/neighbour"))
        return True

    # What is explained

    def explains(self, name: str, target: str, since: float, until: float) -> bool:
        """Was the backend that answers as `name`, at the family of `target`, away in between? Where nobody has answered
        yet, did any backend leave?"""
        is_ipv6 = ":" in target
        if name:
            return self.backends[name, is_ipv6].was_away(since, until)
        return any(b.left(since, until) for (_, family), b in self.backends.items() if family == is_ipv6)
