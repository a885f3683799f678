"""What an experiment is: faults under a load that a verifier watches, and promises about what the verifier saw.

Every flow's backend is known: the backend stamps its name into each reply, and the first reply of a flow says which one
all the others must carry. A connection is *live* if it exchanges numbered messages in both directions at least five times
a second and completes twenty more after every fault. *Broken* is one that was reset, timed out or changed its backend.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Callable, Iterable

from .laboratory import Lab
from .network import VIP
from .shunt import Shunt
from .waiting import wait_until

LIVE_RATE = 5.0  # messages a second on every connection
MESSAGE_RATES = 7.0, 25.0  # more than it takes, so that a busy machine is no verdict; and, of few connections, soon done
MESSAGES_OF_ALL = 2000
MESSAGES_AFTER = 20
DATAGRAM_RATE, DATAGRAM_FLOWS = 1000, 48
NEW_CONNECTIONS_RATE = 40
PATIENCE = 30.0  # seconds; longer than any repetition of TCP takes after an outage of a few seconds
# What CONTRACTS.md names, in its order, and what is beside it.
KEYS = ("experiment", "mode", "repeats", "connections", "broken", "reset", "lost_packets", "outage_ms_median",
        "outage_ms_max", "detected_ms_max", "api_back_ms_max", "withdrawn_ms_max", "refused", "table_hash_same",
        "conservation_error", "held", "workers", "workers_after", "tcp_wait_ms_max", "messages_per_second",
        "datagrams", "new_connections", "new_connections_failed", "gap_ms_max", "replaced", "stale_packets",
        "faults_by_stalls", "flips", "crashes", "loud", "refused_by_reason", "first_troubles", "broken_promises", "failure")
Row = dict[str, Any]


@dataclass(frozen=True)
class Wish:
    """What is asked of an experiment."""

    mode: str
    repeats: int
    connections: int
    workers: int
    workers_after: int

    @property
    def most_workers(self) -> int:
        return max(self.workers, self.workers_after)


@dataclass(frozen=True)
class Promise:
    """That a value of the row is at most so much, or at least, or, of a yes and no, that it is yes."""

    key: str
    most: float | None = None
    least: float | None = None

    def broken(self, row: Row) -> str:
        """A sentence, or nothing if it was held. What was not measured was not held."""
        value = row[self.key]
        if self.most is not None:
            held = value is not None and value <= self.most
            return "" if held else f"{self.key} is {value}, promised at most {self.most:g}"
        if self.least is not None:
            held = value is not None and value >= self.least
            return "" if held else f"{self.key} is {value}, promised at least {self.least:g}"
        return "" if value is True else f"{self.key} is {value}"


class Load:
    """Live connections, a stream of numbered datagrams, and new connections all the while."""

    def __init__(self, lab: Lab, connections: int):
        self.connections = connections
        rate = min(max(MESSAGES_OF_ALL / connections, MESSAGE_RATES[0]), MESSAGE_RATES[1])
        self.live = lab.live(VIP, connections=connections, message_rate=rate, patience=PATIENCE,
                             udp_rate=DATAGRAM_RATE, udp_flows=DATAGRAM_FLOWS)
        self.opener = lab.opener(VIP, rate=NEW_CONNECTIONS_RATE, timeout=PATIENCE)
        wait_until(lambda: self.live.report()["tcp"]["live"] == connections, 60, f"{connections} live connections", 0.1)
        self.go_on()
        self.started, self.exchanges = time.monotonic(), self.live.report()["tcp"]["exchanges"]
        self.paused = 0.0

    def mark(self) -> None:
        self.live.ask("mark")

    def go_on(self) -> dict[str, float]:
        """Every connection exchanges twenty more messages; then the longest outage and wait since the mark."""
        before = self.live.report()
        self.mark()
        wait_until(lambda: self.live.report()["tcp"]["least_since_mark"] >= MESSAGES_AFTER, PATIENCE + 30,
                   f"{MESSAGES_AFTER} more messages on every connection", 0.1)
        after = self.live.report()
        return {"outage_ms": max(report["udp"]["outage_ms"] for report in (before, after)),
                "tcp_wait_ms": max(report["tcp"]["longest_wait_ms"] for report in (before, after))}

    def finish(self) -> Row:
        """What the verifier counted over all repeats. `paused`: seconds of outages, when nobody could be live."""
        took = time.monotonic() - self.started - self.paused
        exchanges = self.live.report()["tcp"]["exchanges"] - self.exchanges
        new, last = self.opener.finish(60), self.live.finish(60)
        troubles = last["troubles"]
        of_connections = sum(number for what, number in troubles.items() if not what.startswith("datagram_"))
        resets = [troubles, new["failed_by"]]
        return {"connections": self.connections, "messages_per_second": round(exchanges / self.connections / took, 1),
                "broken": of_connections + troubles.get("datagram_changed_backend", 0),
                "reset": sum(where.get(what, 0) for where in resets for what in ("reset", "refused", "datagram_refused")),
                "lost_packets": last["udp"]["lost"], "datagrams": last["udp"]["sent"],
                "new_connections": new["requests"], "new_connections_failed": new["failed"],
                "first_troubles": last["first_troubles"][:5] + new["failures"][:5]}


@dataclass
class Stage:
    """Where an experiment takes place: the laboratory and its balancers, in the order of their preference."""

    lab: Lab
    nodes: list[Shunt]
    notes: dict[str, Any] = field(default_factory=dict)  # what an experiment remembers between its steps

    @property
    def shunt(self) -> Shunt:
        return self.nodes[0]

    def conservation_error(self) -> int:
        """By how many packets received differs from forwarded + punted + dropped, over all workers of all nodes."""
        return sum(abs(worker["received"] - worker["forwarded"] - worker["punted"] - worker["dropped"])
                   for node in self.nodes for worker in node.settled_workers())


class Stages:
    """The stage of the last experiment, which left it as it found it: the next may want the same."""

    def __init__(self) -> None:
        self.wanted: tuple[Any, ...] = ()
        self.undo = ExitStack()

    def of(self, build: Callable[[Wish], AbstractContextManager[Stage]], wish: Wish) -> Stage:
        wanted = build, wish.mode, wish.workers, wish.workers_after
        if wanted != self.wanted:
            self.close()
            self.stage = self.undo.enter_context(build(wish))
            self.wanted = wanted
        return self.stage

    def close(self) -> None:
        self.wanted = ()
        self.undo.close()

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *_what: object) -> None:
        self.close()


class Experiment(ABC):
    """One row of the table: its name, what it promises, and how it is done."""

    name: str
    modes: tuple[str, ...] = ("nat",)  # those of a release; the first is the usual one
    release_repeats = 20
    promises: tuple[Promise, ...] = ()

    def promises_of(self, _wish: Wish) -> tuple[Promise, ...]:
        return self.promises

    @abstractmethod
    def run(self, wish: Wish, stages: Stages, progress: Callable[[str], None]) -> Row:
        """Everything measured, by the keys of KEYS; what is left out was not."""

    def judged(self, wish: Wish, measured: Row) -> Row:
        """The whole row, and what became of the promises."""
        known = {"experiment": self.name, "mode": wish.mode, "repeats": wish.repeats, **measured}
        row = {key: known.get(key) for key in KEYS}
        broken = [sentence for promise in self.promises_of(wish) if (sentence := promise.broken(row))]
        return {**row, "broken_promises": broken, "held": not broken and not row["failure"]}


class LoadExperiment(Experiment):
    """The same fault again and again, under load."""

    loses_nothing = (Promise("broken", 0), Promise("reset", 0), Promise("new_connections_failed", 0),
                     Promise("conservation_error", 0), Promise("messages_per_second", least=LIVE_RATE))

    @abstractmethod
    def stage(self, wish: Wish) -> AbstractContextManager[Stage]:
        """Everything up and serving."""

    def prepare(self, stage: Stage) -> None:
        """Before each fault: what is not measured."""

    @abstractmethod
    def strike(self, stage: Stage) -> dict[str, Any]:
        """The fault. Returns what it measured itself, by keys without `_max`, for example `api_back_ms`."""

    def settled(self, _stage: Stage) -> dict[str, Any]:
        """What is to be measured when every connection has exchanged more messages."""
        return {}

    def recover(self, stage: Stage) -> None:
        """After each fault: everything as it was."""

    def run(self, wish: Wish, stages: Stages, progress: Callable[[str], None]) -> Row:
        observed: list[dict[str, Any]] = []
        stage = stages.of(self.stage, wish)
        load = Load(stage.lab, wish.connections)
        for number in range(1, wish.repeats + 1):
            self.prepare(stage)
            load.mark()
            observation = self.strike(stage)
            observed.append({**load.go_on(), **observation, **self.settled(stage)})
            self.recover(stage)
            load.paused += observed[-1]["tcp_wait_ms"] / 1000
            progress(f"{self.name} {wish.mode} {number}/{wish.repeats}: "
                     + ", ".join(f"{key} {value}" for key, value in observed[-1].items()))
        row = load.finish()
        return {**row, **summary(observed), "workers": wish.workers, "workers_after": wish.workers_after,
                "conservation_error": stage.conservation_error()}


def summary(observed: Iterable[dict[str, Any]]) -> Row:
    """Medians and maxima of what was measured in milliseconds; of a yes and no, whether all said yes; sums of counts."""
    observed = list(observed)
    row: Row = {}
    for key in observed[0]:
        values = [observation[key] for observation in observed]
        if key.endswith("_ms"):
            row[f"{key}_max"], row[f"{key}_median"] = round(max(values)), round(median(values))
        elif isinstance(values[0], bool):
            row[key] = all(values)
        elif isinstance(values[0], Counter):
            row[key] = dict(sum(values, Counter()))
        else:
            row[key] = sum(values)
    return row
