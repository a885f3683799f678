"""Program: opens many short HTTP connections, one request each, and counts who answered.

    python3 -m lab.opener --target 198.18.0.10:80 --target '[2001:db8::10]:80' --count 3000 --rate 1000

It answers words on standard input with a JSON document: `report`; `finish` (open no more, wait for those under way,
report, end). Times are seconds of CLOCK_MONOTONIC, the same in every process of this machine.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections import Counter, deque
from functools import partial
from typing import Any

from .loop import READ, WRITE, Loop, as_target, failure_name, family_of, split_target

TICK_SECONDS = 0.005
NAMED_FAILURES = 20_000


class Fetch:
    """One connection: open, ask, read to the end."""

    __slots__ = ("sock", "target", "opened", "reply")

    def __init__(self, sock: socket.socket, target: tuple[str, int], opened: float):
        self.sock, self.target, self.opened, self.reply = sock, target, opened, bytearray()


class Opener:
    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.targets = [split_target(text) for text in options.target]
        self.requests = [
            f"GET {options.path} HTTP/1.1\r\nHost: {as_target(*target)}\r\nConnection: close\r\n\r\n".encode()
            for target in self.targets]
        self.loop = Loop(self.tick, TICK_SECONDS, self.answer)
        self.under_way: deque[Fetch] = deque()  # in the order of opening; closed ones leave when they are oldest
        self.open_now = 0
        self.opened = 0
        self.due = 0.0
        self.last_tick = time.monotonic()
        self.finishing = False
        self.per_backend: Counter[str] = Counter()
        self.per_backend_ipv6: Counter[str] = Counter()
        self.last_byte: dict[str, float] = {}
        self.failures: list[dict[str, Any]] = []
        self.failed: Counter[str] = Counter()

    def tick(self, now: float) -> None:
        allowance = self.options.rate / 10 if self.options.rate else 1e9  # after a stall, at most 0.1 s is made up for
        self.due = min(self.due + (now - self.last_tick) * (self.options.rate or 1e9), allowance)
        self.last_tick = now
        while self.due >= 1 and not self.done_opening() and self.open_now < self.options.concurrency:
            self.due -= 1
            self.open(now)
        while self.under_way and (self.under_way[0].sock.fileno() < 0
                                  or now - self.under_way[0].opened > self.options.timeout):
            fetch = self.under_way.popleft()
            if fetch.sock.fileno() >= 0:
                self.fail(fetch, "timed_out")

    def done_opening(self) -> bool:
        return self.finishing or (self.options.count and self.opened >= self.options.count)

    def open(self, now: float) -> None:
        which = self.opened % len(self.targets)
        sock = socket.socket(family_of(self.targets[which][0]), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        fetch = Fetch(sock, self.targets[which], now)
        self.opened += 1
        self.open_now += 1
        self.under_way.append(fetch)
        self.loop.watch(sock, WRITE, partial(self.on_connected, fetch, self.requests[which]))
        try:
            sock.connect(self.targets[which])
        except BlockingIOError:
            pass
        except OSError as error:
            self.fail(fetch, failure_name(error))

    def on_connected(self, fetch: Fetch, request: bytes, _events: int) -> None:
        try:
            fetch.sock.send(request)  # says, too, why the connection was not made
            self.loop.change(fetch.sock, READ, partial(self.on_reply, fetch))
        except OSError as error:
            self.fail(fetch, failure_name(error))

    def on_reply(self, fetch: Fetch, _events: int) -> None:
        try:
            received = fetch.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self.fail(fetch, failure_name(error))
            return
        if received:
            fetch.reply += received
        else:
            self.on_end(fetch)

    def on_end(self, fetch: Fetch) -> None:
        head, complete, _body = bytes(fetch.reply).partition(b"\r\n\r\n")
        if not complete or not head.startswith(b"HTTP/1.1 200 "):
            self.fail(fetch, "not_200" if complete else "cut_short")
            return
        lines = (line.partition(b": ") for line in head.split(b"\r\n"))
        backend = next((value.decode() for key, _, value in lines if key.lower() == b"x-backend"), "nobody")
        self.per_backend[backend] += 1
        if ":" in fetch.target[0]:
            self.per_backend_ipv6[backend] += 1
        self.last_byte[backend] = time.monotonic()
        self.close(fetch)

    def fail(self, fetch: Fetch, what: str) -> None:
        self.failed[what] += 1
        if len(self.failures) < NAMED_FAILURES:
            self.failures.append({"what": what, "opened": fetch.opened, "failed": time.monotonic(),
                                  "target": fetch.target[0], "port": fetch.sock.getsockname()[1]})
        self.close(fetch)

    def close(self, fetch: Fetch) -> None:
        self.open_now -= 1
        self.loop.close(fetch.sock)

    def answer(self, word: str) -> dict[str, Any] | None:
        if word == "finish":
            self.finishing = True
            if self.open_now:
                return None
        return {"requests": self.opened, "open": self.open_now, "answered": sum(self.per_backend.values()),
                "failed": sum(self.failed.values()), "failed_by": dict(self.failed), "failures": self.failures,
                "per_backend": dict(self.per_backend), "ipv6_requests": sum(self.per_backend_ipv6.values()),
                "per_backend_ipv6": dict(self.per_backend_ipv6), "last_byte": self.last_byte}


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.opener")
    parser.add_argument("--target", action="append", required=True, metavar="ADDRESS:PORT")
    parser.add_argument("--path", default="/")
    parser.add_argument("--count", type=int, default=0, help="so many connections; 0: until told to finish")
    parser.add_argument("--rate", type=float, default=0, help="connections opened a second; 0: as fast as they end")
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds from opening to the last byte")
    Opener(parser.parse_args()).loop.run()


if __name__ == "__main__":
    main()
