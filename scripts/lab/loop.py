"""The loop that every instrument runs: sockets, a tick, and questions on standard input."""

from __future__ import annotations

import json
import os
import resource
import select
import socket
import time
from typing import Any, Callable

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
LARGE_BUFFER = 4 << 20


class Loop:
    def __init__(self, tick: Callable[[float], None], tick_seconds: float,
                 answer: Callable[[str], dict[str, Any] | None]):
        """`tick(now)` is called every `tick_seconds`; `answer(word)` may return None: then it is asked again."""
        self.tick = tick
        self.tick_seconds = tick_seconds
        self.answer = answer
        self.epoll = select.epoll()
        self.handlers: dict[int, Callable[[int], None]] = {}
        self.words: list[str] = []
        self.ended = False
        allow_many_sockets()
        os.set_blocking(0, False)
        self.handlers[0] = self.on_words
        self.epoll.register(0, READ)

    def watch(self, sock: socket.socket, events: int, handler: Callable[[int], None]) -> None:
        self.handlers[sock.fileno()] = handler
        self.epoll.register(sock.fileno(), events)

    def change(self, sock: socket.socket, events: int, handler: Callable[[int], None]) -> None:
        self.handlers[sock.fileno()] = handler
        self.epoll.modify(sock.fileno(), events)

    def close(self, sock: socket.socket) -> None:
        self.handlers.pop(sock.fileno(), None)
        sock.close()  # takes it out of the epoll set, too

    def on_words(self, _events: int) -> None:
        text = os.read(0, 4096)
        self.words += text.decode().split()
        self.ended = self.ended or not text  # nobody asks any more

    def answer_words(self) -> None:
        while self.words:
            answer = self.answer(self.words[0])
            if answer is None:
                return
            os.write(1, json.dumps(answer).encode() + b"\n")
            self.ended = self.words.pop(0) == "finish"

    def run(self) -> None:
        next_tick = time.monotonic()
        while not self.ended:
            now = time.monotonic()
            if now >= next_tick:
                self.tick(now)
                next_tick = max(next_tick + self.tick_seconds, now - 10 * self.tick_seconds)
            self.answer_words()
            for descriptor, events in self.epoll.poll(max(0.0, next_tick - time.monotonic())):
                handler = self.handlers.get(descriptor)  # an earlier handler of this round may have closed it
                if handler:
                    handler(events)


def allow_many_sockets() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def split_target(text: str) -> tuple[str, int]:
    """`198.18.0.10:80` or `[2001:db8::10]:80`."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


def as_target(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def failure_name(error: BaseException) -> str:
    """One word for what happened to a socket."""
    names = {ConnectionRefusedError: "refused", ConnectionResetError: "reset", BrokenPipeError: "reset",
             TimeoutError: "timed_out"}
    return next((name for kind, name in names.items() if isinstance(error, kind)), "unreachable")


def large_buffers(sock: socket.socket) -> socket.socket:
    """A stall of this process must not look like a loss: SO_*BUFFORCE where allowed."""
    for forced, plain in ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF)):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, LARGE_BUFFER)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, LARGE_BUFFER)
    return sock
