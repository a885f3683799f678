"""How long a stream of numbered datagrams went unanswered, part by part."""

from __future__ import annotations

import socket
import struct
import time
from collections import deque

SO_TIMESTAMPNS = 35  # of <asm-generic/socket.h>; also the type of the message that brings the time
TIMESPEC = struct.Struct("@qq")
Part = tuple[str, str]  # the flows of one address and one backend: they come and go together


class Outages:
    """A datagram is waited for until its part answers it or one sent later; the longest wait is the outage. So one that
    is lost among others that are answered counts as the pause between two of them, and a part that keeps datagrams
    and answers late has been away for as long."""

    def __init__(self) -> None:
        self.waiting: dict[Part, deque[tuple[int, float]]] = {}
        self.longest = 0.0

    def sent(self, part: Part, number: int, now: float) -> None:
        self.waiting.setdefault(part, deque()).append((number, now))

    def answered(self, part: Part, number: int, now: float) -> None:
        waiting = self.waiting.get(part)
        if not waiting or waiting[0][0] > number:  # overtaken by the answer to a later one
            return
        self.longest = max(self.longest, now - waiting[0][1])
        while waiting and waiting[0][0] <= number:
            waiting.popleft()

    def mark(self) -> None:
        self.longest = 0.0

    def longest_until(self, now: float) -> float:
        """The longest since the mark, one that lasts included."""
        return max([self.longest, *(now - waiting[0][1] for waiting in self.waiting.values() if waiting)])


class Arrivals:
    """Datagrams with the time at which the kernel got them: a stall of this process is no outage."""

    def __init__(self) -> None:
        self.since_epoch = time.time() - time.monotonic()

    @staticmethod
    def timed(sock: socket.socket) -> socket.socket:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        return sock

    def receive(self, sock: socket.socket) -> tuple[bytes, float]:
        """A datagram and when it came, by time.monotonic(); errors as recv()."""
        datagram, messages, _flags, _peer = sock.recvmsg(4096, 64)
        for level, kind, data in messages:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, nanoseconds = TIMESPEC.unpack(data)
                return datagram, seconds + nanoseconds / 1e9 - self.since_epoch
        return datagram, time.monotonic()
