"""Program: keeps many connections alive and says what breaks.

Every TCP connection exchanges a numbered message in both directions at a steady rate, and every reply must carry the
number that was asked, the conversation it belongs to, and the name of the backend that answered first. Beside them a
stream of numbered datagrams, spread over a few sockets, of which every one must be answered exactly once.

    python3 -m lab.live --tcp 198.18.0.10:7000 --tcp '[2001:db8::10]:7000' --connections 1000 \
        --udp 198.18.0.10:7000 --udp-rate 1000

It answers words on standard input with a JSON document: `report`; `mark` (start counting "since the mark" anew);
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

TICK_SECONDS = 0.01
CONNECTS_PER_TICK = 20
BATCH = 64
NAMED_TROUBLES = 20  # so many are described; all are counted


@dataclass(slots=True)
class Connection:
    conversation: int
    target: tuple[str, int]
    sock: socket.socket
    number: int = 0  # of the last message sent
    answered: int = 0  # of the last message answered
    sent_at: float = 0.0  # until it is connected: when that was asked
    connected: bool = False
    since_mark: int = 0
    backend: str = ""
    pending: bytearray = field(default_factory=bytearray)


class Troubles:
    """What went wrong: all of it counted, the first few described."""

    def __init__(self, started: float):
        self.started = started
        self.counts: Counter[str] = Counter()
        self.first: list[dict[str, Any]] = []

    def add(self, what: str, **details: Any) -> None:
        self.counts[what] += 1
        if len(self.first) < NAMED_TROUBLES:
            self.first.append({"what": what, "after_seconds": round(time.monotonic() - self.started, 3), **details})


class TcpLoad:
    """`wanted` connections, each asked once per `period`; they take turns, a slice of them at every tick."""

    def __init__(self, loop: Loop, targets: list[tuple[str, int]], wanted: int, period: float, patience: float,
                 troubles: Troubles):
        self.loop, self.targets, self.wanted, self.patience, self.troubles = loop, targets, wanted, patience, troubles
        self.slices: list[list[Connection]] = [[] for _ in range(max(1, round(period / TICK_SECONDS)))]
        self.turn = 0
        self.opened = 0
        self.exchanges = 0
        self.longest_wait = 0.0
        self.finishing = False

    def tick(self, now: float) -> None:
        for _ in range(min(CONNECTS_PER_TICK, self.wanted - self.opened)):
            self.connect(now)
        turn = self.slices[self.turn]
        self.turn = (self.turn + 1) % len(self.slices)
        for connection in list(turn):
            if connection.answered < connection.number or not connection.connected:
                if now - connection.sent_at > self.patience:
                    self.lose(connection, "timed_out")
            elif not self.finishing:
                self.send(connection, now)

    def connect(self, now: float) -> None:
        target = self.targets[self.opened % len(self.targets)]
        sock = socket.socket(family_of(target[0]), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self.opened, target, sock, sent_at=now)
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
            connection.since_mark += 1
            self.exchanges += 1
            self.longest_wait = max(self.longest_wait, time.monotonic() - connection.sent_at)
            return True
        return False

    def lose(self, connection: Connection, what: str, **details: Any) -> None:
        self.troubles.add(what, connection=connection.conversation, target=connection.target[0],
                          port=connection.sock.getsockname()[1], backend=connection.backend,
                          answered=connection.answered, **details)
        self.slices[connection.conversation % len(self.slices)].remove(connection)
        self.loop.close(connection.sock)

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
        return {"wanted": self.wanted, "live": len(live), "exchanges": self.exchanges,
                "least_since_mark": min((connection.since_mark for connection in live), default=0),
                "longest_wait_ms": round(self.longest_wait * 1000),
                "per_backend": dict(Counter(connection.backend for connection in live)),
                "ipv6": sum(":" in connection.target[0] for connection in live)}


class UdpLoad:
    """`rate` numbered datagrams a second, in turn from `flows` sockets; every one is to be answered once."""

    def __init__(self, loop: Loop, targets: list[tuple[str, int]], rate: float, flows: int, patience: float,
                 troubles: Troubles):
        self.rate, self.patience, self.troubles = rate, patience, troubles
        self.sockets: list[socket.socket] = []
        self.backends: list[str] = [""] * flows
        self.waiting: dict[int, float] = {}  # number: when it was sent
        self.due = 0.0
        self.sent = self.answered = 0
        self.finishing = False
        self.last_tick = time.monotonic()
        for flow in range(flows if rate else 0):
            target = targets[flow % len(targets)]
            sock = large_buffers(socket.socket(family_of(target[0]), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
            sock.connect(target)
            self.sockets.append(sock)
            loop.watch(sock, READ, partial(self.on_replies, flow, sock))

    def tick(self, now: float) -> None:
        self.due += (now - self.last_tick) * self.rate
        self.last_tick = now
        while self.due >= 1.0:
            self.due -= 1.0
            if not self.finishing:
                self.send(now)

    def send(self, now: float) -> None:
        flow = self.sent % len(self.sockets)
        self.sent += 1
        self.waiting[self.sent] = now
        try:
            self.sockets[flow].send(REQUEST.pack(flow, self.sent))
        except OSError as error:  # refused: an ICMP error came back for an earlier one; this one is not answered
            self.troubles.add("datagram_" + failure_name(error), flow=flow, number=self.sent)

    def on_replies(self, flow: int, sock: socket.socket, _events: int) -> None:
        for _ in range(BATCH):
            try:
                reply = sock.recv(4096)
            except BlockingIOError:
                return
            except OSError as error:
                self.troubles.add("datagram_" + failure_name(error), flow=flow)
                continue
            self.judge(flow, *REPLY.unpack(reply))

    def judge(self, flow: int, conversation: int, number: int, name: bytes) -> None:
        backend = name.rstrip(b"\0").decode(errors="replace")
        before = self.backends[flow] or backend
        self.backends[flow] = backend
        if conversation != flow or number % len(self.sockets) != (flow + 1) % len(self.sockets):
            self.troubles.add("datagram_of_another_flow", flow=flow, number=number)
        elif self.waiting.pop(number, None) is None:
            self.troubles.add("datagram_duplicated", flow=flow, number=number, backend=backend)
        else:
            self.answered += 1
        if backend != before:
            self.troubles.add("datagram_changed_backend", flow=flow, number=number, backend=before, now=backend)

    def settled(self) -> bool:
        now = time.monotonic()
        return all(now - sent_at > self.patience for sent_at in self.waiting.values())

    def report(self) -> dict[str, Any]:
        now = time.monotonic()
        late = [number for number, sent_at in self.waiting.items() if now - sent_at > self.patience]
        return {"sent": self.sent, "answered": self.answered, "waiting": len(self.waiting) - len(late),
                "lost": len(late), "first_lost": late[:NAMED_TROUBLES],
                "per_backend": dict(Counter(self.backends) if self.sent else {})}


class Live:
    def __init__(self, options: argparse.Namespace):
        self.started = self.marked = time.monotonic()
        self.troubles = Troubles(self.started)
        self.loop = Loop(self.tick, TICK_SECONDS, self.answer)
        self.tcp = TcpLoad(self.loop, [split_target(text) for text in options.tcp],
                           options.connections if options.tcp else 0, 1 / options.message_rate, options.patience,
                           self.troubles)
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
    parser.add_argument("--udp", action="append", default=[], metavar="ADDRESS:PORT")
    parser.add_argument("--udp-rate", type=float, default=1000.0)
    parser.add_argument("--udp-flows", type=int, default=8)
    parser.add_argument("--udp-patience", type=float, default=3.0, help="seconds until an unanswered datagram is lost")
    Live(parser.parse_args()).loop.run()


if __name__ == "__main__":
    main()
