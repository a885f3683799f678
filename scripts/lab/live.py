"""Program: keeps many connections alive and says what breaks.

Every TCP connection exchanges a numbered message in both directions at a steady rate, and every reply must carry the
number that was asked, the conversation it belongs to, and the name of the backend that answered first. Beside them a
stream of numbered datagrams, spread over a few sockets, of which every one must be answered exactly once.

    python3 -m lab.live --tcp 198.18.0.10:7000 --tcp '[2001:db8::10]:7000' --connections 1000 \
        --udp 198.18.0.10:7000 --udp-rate 1000

With `--lifetime` a connection ends after so long, and one that ended or broke is replaced by another. Every trouble says
between which moments it happened: `since`, when all was still well, and `at`, both by time.monotonic().

It answers words on standard input with a JSON document: `report`; `mark` (start counting "since the mark" anew: messages, the longest wait, `outage_ms` of outages.py);
`finish` (wait for what is under way, report, end).
"""

from __future__ import annotations

import argparse
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .loop import READ, WRITE, Loop, failure_name, family_of, large_buffers, split_target
from .message import REPLY, REQUEST
from .outages import Arrivals, Outages

TICK_SECONDS = 0.01
CONNECTS_PER_TICK = 20
BATCH = 64
NAMED_TROUBLES = 20  # so many are described unless more are asked for; all are counted


@dataclass(slots=True)
class Connection:
    conversation: int
    target: tuple[str, int]
    sock: socket.socket
    number: int = 0  # of the last message sent
    answered: int = 0  # of the last message answered
    opened_at: float = 0.0
    sent_at: float = 0.0  # until it is connected: when that was asked
    heard_at: float = 0.0  # until the first answer: when it was opened
    connected: bool = False
    since_mark: int = 0
    backend: str = ""
    pending: bytearray = field(default_factory=bytearray)


class Troubles:
    """What went wrong: all of it counted, the first few described."""

    def __init__(self, started: float, named: int):
        self.started = started
        self.named = named
        self.counts: Counter[str] = Counter()
        self.first: list[dict[str, Any]] = []

    def add(self, what: str, since: float, **details: Any) -> None:
        self.counts[what] += 1
        if len(self.first) < self.named:
            now = time.monotonic()
            self.first.append({"what": what, "since": since, "at": now, "after_seconds": round(now - self.started, 3),
                               **details})


class TcpLoad:
    """`wanted` connections, each asked once per `period`; they take turns, a slice of them at every tick."""

    def __init__(self, loop: Loop, targets: list[tuple[str, int]], wanted: int, period: float, patience: float,
                 lifetime: float, troubles: Troubles):
        self.loop, self.targets, self.wanted, self.patience, self.troubles = loop, targets, wanted, patience, troubles
        self.lifetime = lifetime  # 0: for good
        self.slices: list[list[Connection]] = [[] for _ in range(max(1, round(period / TICK_SECONDS)))]
        self.turn = 0
        self.opened = 0
        self.replaced = 0
        self.exchanges = 0
        self.longest_wait = 0.0
        self.finishing = False

    def tick(self, now: float) -> None:
        missing = 0 if self.finishing else self.wanted + self.replaced - self.opened
        for _ in range(min(CONNECTS_PER_TICK, missing)):
            self.connect(now)
        turn = self.slices[self.turn]
        self.turn = (self.turn + 1) % len(self.slices)
        for connection in list(turn):
            if connection.answered < connection.number or not connection.connected:
                if now - connection.sent_at > self.patience:
                    self.lose(connection, "timed_out")
            elif self.finishing:
                continue
            elif self.lifetime and now - connection.opened_at > self.lifetime:
                self.close(connection)
            else:
                self.send(connection, now)

    def connect(self, now: float) -> None:
        target = self.targets[self.opened % len(self.targets)]
        sock = socket.socket(family_of(target[0]), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self.opened, target, sock, opened_at=now, sent_at=now, heard_at=now)
        self.slices[self.opened % len(self.slices)].append(connection)
        self.opened += 1
        self.loop.watch(sock, WRITE, partial(self.on_connected, connection))
        try:
            sock.connect(target)
        except BlockingIOError:
            pass
        except OSError as error:
            self.lose(connection, failure_name(error))

    def on_connected(self, connection: Connection, _events: int) -> None:
        error = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self.lose(connection, failure_name(OSError(error, "connect")))
            return
        connection.connected = True
        self.loop.change(connection.sock, READ, partial(self.on_reply, connection))
        self.send(connection, time.monotonic())

    def send(self, connection: Connection, now: float) -> None:
        connection.number += 1
        connection.sent_at = now
        try:
            connection.sock.send(REQUEST.pack(connection.conversation, connection.number))
        except OSError as error:
            self.lose(connection, failure_name(error))

    def on_reply(self, connection: Connection, _events: int) -> None:
        try:
            received = connection.sock.recv(4096)
        except BlockingIOError:
            return
        except OSError as error:
            self.lose(connection, failure_name(error))
            return
        if not received:
            self.lose(connection, "closed")
            return
        connection.pending += received
        while len(connection.pending) >= REPLY.size:
            reply = REPLY.unpack_from(connection.pending)
            del connection.pending[: REPLY.size]
            if not self.judge(connection, *reply):
                return

    def judge(self, connection: Connection, conversation: int, number: int, name: bytes) -> bool:
        backend = name.rstrip(b"\0").decode(errors="replace")
        connection.backend = connection.backend or backend
        if conversation != connection.conversation or number != connection.answered + 1:
            self.lose(connection, "wrong_number", got=[conversation, number])
        elif backend != connection.backend:
            self.lose(connection, "changed_backend", now=backend)
        else:
            connection.answered = number
            connection.heard_at = time.monotonic()
            connection.since_mark += 1
            self.exchanges += 1
            self.longest_wait = max(self.longest_wait, connection.heard_at - connection.sent_at)
            return True
        return False

    def lose(self, connection: Connection, what: str, **details: Any) -> None:
        self.troubles.add(what, connection.heard_at, connection=connection.conversation, target=connection.target[0],
                          port=connection.sock.getsockname()[1], backend=connection.backend,
                          answered=connection.answered, **details)
        self.close(connection)

    def close(self, connection: Connection) -> None:
        self.slices[connection.conversation % len(self.slices)].remove(connection)
        self.loop.close(connection.sock)
        self.replaced += 1 if self.lifetime else 0

    def all(self) -> list[Connection]:
        return [connection for part in self.slices for connection in part]

    def mark(self) -> None:
        self.longest_wait = 0.0
        for connection in self.all():
            connection.since_mark = 0

    def settled(self) -> bool:
        return all(connection.connected and connection.answered == connection.number for connection in self.all())

    def report(self) -> dict[str, Any]:
        live = [connection for connection in self.all() if connection.answered]
        return {"wanted": self.wanted, "opened": self.opened, "live": len(live), "exchanges": self.exchanges,
                "least_since_mark": min((connection.since_mark for connection in live), default=0),
                "longest_wait_ms": round(self.longest_wait * 1000),
                "per_backend": dict(Counter(connection.backend for connection in live)),
                "ipv6": sum(":" in connection.target[0] for connection in live)}


class UdpLoad:
    """`rate` numbered datagrams a second, in turn from `flows` sockets; every one is to be answered once."""

    def __init__(self, loop: Loop, targets: list[tuple[str, int]], rate: float, flows: int, patience: float,
                 troubles: Troubles):
        self.targets, self.rate, self.patience, self.troubles = targets, rate, patience, troubles
        self.sockets: list[socket.socket] = []
        self.backends: list[str] = [""] * flows
        self.heard_at: list[float] = [time.monotonic()] * flows
        self.waiting: dict[int, tuple[float, str]] = {}  # number: when it was sent, and who had answered before
        self.arrivals = Arrivals()
        self.outages = Outages()
        self.due = 0.0
        self.sent = self.answered = 0
        self.finishing = False
        self.last_tick = time.monotonic()
        for flow in range(flows if rate else 0):
            target = targets[flow % len(targets)]
            sock = large_buffers(socket.socket(family_of(target[0]), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            self.arrivals.timed(sock).connect(target)
            self.sockets.append(sock)
            loop.watch(sock, READ, partial(self.on_replies, flow, sock))

    def tick(self, now: float) -> None:
        self.due += (now - self.last_tick) * self.rate
        self.last_tick = now
        while self.due >= 1.0:
            self.due -= 1.0
            if not self.finishing:
                self.send()

    def send(self) -> None:
        flow = self.sent % len(self.sockets)
        self.sent += 1
        self.waiting[self.sent] = now, backend = time.monotonic(), self.backends[flow]
        self.outages.sent((self.target_of(flow), backend), self.sent, now)
        try:
            self.sockets[flow].send(REQUEST.pack(flow, self.sent))
        except OSError as error:  # refused: an ICMP error came back for an earlier one; this one is not answered
            self.datagram_trouble(failure_name(error), flow, number=self.sent)

    def on_replies(self, flow: int, sock: socket.socket, _events: int) -> None:
        for _ in range(BATCH):
            try:
                reply, came = self.arrivals.receive(sock)
            except BlockingIOError:
                return
            except OSError as error:
                self.datagram_trouble(failure_name(error), flow)
                continue
            self.judge(flow, came, *REPLY.unpack(reply))

    def judge(self, flow: int, came: float, conversation: int, number: int, name: bytes) -> None:
        backend = name.rstrip(b"\0").decode(errors="replace")
        before = self.backends[flow] or backend
        self.backends[flow] = backend
        if conversation != flow or number % len(self.sockets) != (flow + 1) % len(self.sockets):
            self.datagram_trouble("of_another_flow", flow, number=number)
        elif (asked := self.waiting.pop(number, None)) is None:
            self.datagram_trouble("duplicated", flow, number=number)
        else:
            self.answered += 1
            self.outages.answered((self.target_of(flow), asked[1]), number, came)
        if backend != before:
            self.datagram_trouble("changed_backend", flow, number=number, before=before)
        self.heard_at[flow] = time.monotonic()

    def datagram_trouble(self, what: str, flow: int, **details: Any) -> None:
        self.troubles.add(f"datagram_{what}", self.heard_at[flow], flow=flow, target=self.target_of(flow),
                          backend=self.backends[flow], **details)

    def target_of(self, flow: int) -> str:
        return self.targets[flow % len(self.targets)][0]

    def lost(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        return [{"number": number, "sent_at": sent_at, "backend": backend,
                 "target": self.target_of((number - 1) % len(self.sockets))}
                for number, (sent_at, backend) in self.waiting.items() if now - sent_at > self.patience]

    def settled(self) -> bool:
        return len(self.lost()) == len(self.waiting)

    def report(self) -> dict[str, Any]:
        lost = self.lost()
        return {"sent": self.sent, "answered": self.answered, "waiting": len(self.waiting) - len(lost),
                "lost": len(lost), "first_lost": lost[:self.troubles.named],
                "outage_ms": round(self.outages.longest_until(time.monotonic()) * 1000, 1),
                "per_backend": dict(Counter(self.backends) if self.sent else {})}


class Live:
    def __init__(self, options: argparse.Namespace):
        self.started = self.marked = time.monotonic()
        self.troubles = Troubles(self.started, options.named_troubles)
        self.loop = Loop(self.tick, TICK_SECONDS, self.answer)
        self.tcp = TcpLoad(self.loop, [split_target(text) for text in options.tcp],
                           options.connections if options.tcp else 0, 1 / options.message_rate, options.patience,
                           options.lifetime, self.troubles)
        self.udp = UdpLoad(self.loop, [split_target(text) for text in options.udp],
                           options.udp_rate if options.udp else 0, options.udp_flows, options.udp_patience,
                           self.troubles)

    def tick(self, now: float) -> None:
        self.tcp.tick(now)
        self.udp.tick(now)

    def answer(self, word: str) -> dict[str, Any] | None:
        if word == "mark":
            self.marked = time.monotonic()
            self.tcp.mark()
            self.udp.outages.mark()
        elif word == "finish":
            self.tcp.finishing = self.udp.finishing = True
            if not (self.tcp.settled() and self.udp.settled()):
                return None
        return self.report()

    def report(self) -> dict[str, Any]:
        return {"tcp": self.tcp.report(), "udp": self.udp.report(),
                "seconds_since_mark": round(time.monotonic() - self.marked, 3),
                "troubles": dict(self.troubles.counts), "first_troubles": self.troubles.first}


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.live")
    parser.add_argument("--tcp", action="append", default=[], metavar="ADDRESS:PORT")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--message-rate", type=float, default=7.0, help="messages a second on every connection")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds until an unanswered message is a break")
    parser.add_argument("--lifetime", type=float, default=0.0, help="seconds; 0: for good, and nothing is replaced")
    parser.add_argument("--named-troubles", type=int, default=NAMED_TROUBLES, help="so many are described")
    parser.add_argument("--udp", action="append", default=[], metavar="ADDRESS:PORT")
    parser.add_argument("--udp-rate", type=float, default=1000.0)
    parser.add_argument("--udp-flows", type=int, default=8)
    parser.add_argument("--udp-patience", type=float, default=3.0, help="seconds until an unanswered datagram is lost")
    Live(parser.parse_args()).loop.run()


if __name__ == "__main__":
    main()
